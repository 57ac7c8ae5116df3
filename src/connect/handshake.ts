// Runs `initialize` and `notifications/initialized` over a link: with a client of the SDK, which
// knows the versions and checks what the server answers, and which is gone afterwards.

import { Client, type ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import type { Implementation } from '@modelcontextprotocol/sdk/types.js';
import { MAX_TIMER_MS } from '../clock.ts';
import type { Link } from './lane.ts';
import { LeaseTransport } from './lease-transport.ts';

/** Who shakes hands. */
export interface HandshakeParty {
  readonly clientInfo: Implementation;
  /** `listChanged` is left to the leases' clients. */
  readonly clientOptions: ClientOptions;
  /** Told of the version that was agreed on. */
  readonly setProtocolVersion: (version: string) => void;
}

/** Settles when the session can be used. Bound: whoever asks; nothing here has a clock. */
export async function shakeHands(link: Link, party: HandshakeParty): Promise<void> {
  const { clientInfo, clientOptions, setProtocolVersion } = party;
  const { listChanged: _, ...options } = clientOptions;
  const lane: LeaseTransport = new LeaseTransport({
    link,
    handshake: undefined,
    headers: undefined,
    endedWith: () => undefined,
    onClose: () => lane.end(),
    setProtocolVersion,
  });
  try {
    // The SDK's own timer is put out of reach, for at its end it would send
    // `notifications/cancelled` for `initialize`.
    await new Client(clientInfo, options).connect(lane, { timeout: MAX_TIMER_MS });
  } finally {
    lane.end();
  }
}
