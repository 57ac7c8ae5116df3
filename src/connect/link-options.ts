// What a session's link is told beside its transport. Types only.

import type { ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import type { Implementation } from '@modelcontextprotocol/sdk/types.js';
import type { SessionHandlers } from './connector.ts';
import type { SdkLine } from './sdk-line.ts';
import type { OriginOf } from './server-messages.ts';
import type { SessionFateOptions } from './session-fate.ts';

/** What a link needs to know beside the transport. */
export interface SessionLinkOptions extends SessionFateOptions, SessionHandlers {
  readonly clientInfo: Implementation;
  /** For the handshake. */
  readonly clientOptions: ClientOptions;
  readonly line: Pick<SdkLine<unknown>, 'shakeHands' | 'sendOptions'>;
  readonly originOf?: OriginOf;
  /** Whether an error that the transport reports on its own means that the session is gone. */
  readonly isLoss?: (error: unknown) => boolean;
  /**
   * More than the idle budget came while nobody leased the session. Called for each message over.
   */
  readonly onFlood?: () => void;
  /** Out-of-band trouble: transport errors, and what handlers threw. What it throws is dropped. */
  readonly onTrouble?: (error: unknown) => void;
}
