// What `StreamableHttpTransport` takes, and its checks at the door.

import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import type { TransportSendOptions } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { MessageExtraInfo, RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { Dispatcher } from 'undici';
import type { Clock } from '../clock.ts';
import { checkKnown } from '../known-members.ts';
import type { AskHeaders, HeaderRecord, HeaderSource } from '../target.ts';
import { checkHeaderSource, checkUrl } from '../target-check.ts';
import type { LoadOAuth } from './authorization-flow.ts';
import type { DispatcherHold, DispatcherSource } from './dispatchers.ts';
import type { ProviderFlowsMap } from './provider-flows.ts';

/** Durations are in milliseconds. Every option may be left out. */
export interface StreamableHttpTransportOptions {
  /**
   * Sent with every request; a function is asked anew for each. Headers that belong to the protocol
   * (`mcp-session-id`, `mcp-protocol-version`, `content-type` and the like) are dropped.
   */
  readonly headers?: HeaderSource | undefined;
  /** Supplies OAuth tokens, through the SDK's `auth()`. */
  readonly authProvider?: OAuthClientProvider | undefined;
  /**
   * undici dispatcher, or one by origin: proxies, TLS, unix sockets and HTTP/2 go here. Never
   * closed by the transport. Default: an undici `Pool` per origin, gone with the transport.
   */
  readonly dispatcher?: DispatcherSource | undefined;
  /**
   * Opens the notification stream (GET) as soon as the session is initialized, as the SDK's
   * transport does. `false`: only `listen()` does. Default: `true`.
   */
  readonly notifications?: boolean | undefined;
  /**
   * Goes on with this session instead of opening one: the SDK's `Client` then skips `initialize`,
   * and `notifications` means nothing. Call `listen` for its stream.
   */
  readonly sessionId?: string | undefined;
  /** The version that was negotiated for `sessionId`. */
  readonly protocolVersion?: string | undefined;
  /** Bytes of one message of the server. Over it the call fails. Minimum 1. Default: 16 MiB. */
  readonly maxMessageBytes?: number | undefined;
  /** TCP and TLS handshake of one connection. Minimum 1. Default: 10,000. */
  readonly connectTimeoutMs?: number | undefined;
  /**
   * How long the server may take to accept a notification or a response, from its `send`; over it
   * the `send` rejects. Calls have no timeout here: the SDK's client gives each its own. Minimum 1.
   * Default: 30,000.
   */
  readonly acceptTimeoutMs?: number | undefined;
  /**
   * The notification stream is opened again more slowly than every second, because it neither
   * brought messages nor lasted. Called when that begins, and each time the wait has doubled.
   */
  readonly onStreamSlowed?: ((waitMs: number) => void) | undefined;
  /** Default: the process's clock. */
  readonly clock?: Clock | undefined;
  /** Numbers in [0, 1), for jitter. Default: `Math.random`. */
  readonly random?: (() => number) | undefined;
}

/** How a message is to be sent. */
export interface HttpSendOptions extends TransportSendOptions {
  /** Headers of this message's request, instead of the transport's. Asked when it is sent. */
  readonly headers?: AskHeaders | undefined;
  /**
   * Headers of this message alone, over all others. Names in lower case. None that belong to the
   * transport or carry credentials.
   */
  readonly ownHeaders?: HeaderRecord | undefined;
  /**
   * The request stands for itself (2026-07-28): no session answers for it. It is cancelled by the
   * end of its stream, never resumed, and its response may come with a status of 400 to 499.
   * Default: false.
   */
  readonly standsAlone?: boolean | undefined;
}

/** What a message that was received says beside itself. */
export interface HttpMessageExtra extends MessageExtraInfo {
  /** The id of the call on whose response it came; `undefined` on the notification stream. */
  readonly relatedRequestId?: RequestId | undefined;
}

/** What the connector of the pool wires differently. Not for others. */
export interface TransportWiring {
  /** Shared with other sessions. Default: the transport's own. */
  readonly dispatchers?: DispatcherHold | undefined;
  /** OAuth flows, shared with other sessions of the same provider. Default: its own. */
  readonly flows?: ProviderFlowsMap | undefined;
  /** Runs OAuth flows. Default: SDK 1, loaded when it is first needed. */
  readonly oauth?: LoadOAuth | undefined;
  /** The provider threw `error`, or a flow failed with it that asks for no sign-in. */
  readonly onCredentialsFailed?: ((error: unknown) => void) | undefined;
  /** Whether nobody uses the session at the moment: see `NotificationStream`. Default: never. */
  readonly isIdle?: (() => boolean) | undefined;
  /**
   * The notification stream found out that the session is gone. Default: told to `onerror` alone.
   */
  readonly onLost?: ((error: unknown) => void) | undefined;
  /** Whoever sends clears its own tables of failed calls. Default: false. */
  readonly clearsFailedCalls?: boolean | undefined;
}

type NumberName = 'maxMessageBytes' | 'connectTimeoutMs' | 'acceptTimeoutMs';

const DEFAULTS: Readonly<Record<NumberName, number>> = {
  maxMessageBytes: 16 * 1024 * 1024,
  connectTimeoutMs: 10_000,
  acceptTimeoutMs: 30_000,
};

/** The numbers among the options, with every default filled in. */
export function transportDefaults(
  options: StreamableHttpTransportOptions,
): Readonly<Record<NumberName, number>> {
  const { maxMessageBytes, connectTimeoutMs, acceptTimeoutMs } = options;
  return {
    maxMessageBytes: maxMessageBytes ?? DEFAULTS.maxMessageBytes,
    connectTimeoutMs: connectTimeoutMs ?? DEFAULTS.connectTimeoutMs,
    acceptTimeoutMs: acceptTimeoutMs ?? DEFAULTS.acceptTimeoutMs,
  };
}

/** @throws TypeError or RangeError naming what was expected of which option. */
export function checkTransportOptions(
  url: URL | string,
  options: StreamableHttpTransportOptions,
): void {
  checkUrl(url);
  checkKnown('option', options, KNOWN);
  checkHeaderSource(options.headers);
  checkDispatcher(options.dispatcher);
  for (const [name, expected] of Object.entries(OTHERS)) {
    const value: unknown = options[name as keyof StreamableHttpTransportOptions];
    if (value !== undefined && !expected.holds(value)) {
      throw new TypeError(`Expected \`${name}\` to be ${expected.what}, got a ${typeof value}`);
    }
  }
  for (const name of Object.keys(DEFAULTS) as NumberName[]) {
    const value = options[name];
    if (value === undefined || (typeof value === 'number' && value >= 1)) continue;
    const got = `\`${String(value)}\` (${typeof value})`;
    throw new RangeError(`Expected \`${name}\` to be a number ≥ 1, got ${got}`);
  }
}

function checkDispatcher(dispatcher: DispatcherSource | undefined): void {
  if (dispatcher === undefined || typeof dispatcher === 'function') return;
  if (typeof (dispatcher as Partial<Dispatcher> | null)?.dispatch === 'function') return;
  throw new TypeError('Expected `dispatcher` to have a method `dispatch`, or to be a function');
}

interface Expected {
  readonly what: string;
  readonly holds: (value: unknown) => boolean;
}

const OBJECT: Expected = {
  what: 'an object',
  holds: (value) => typeof value === 'object' && value !== null,
};
const FUNCTION: Expected = {
  what: 'a function',
  holds: (value) => typeof value === 'function',
};
/** What it holds must not be shown: a session id is a secret. */
const HEADER_TEXT: Expected = {
  what: 'a string that is not empty and has no line breaks or other characters than ASCII',
  holds: (value) => typeof value === 'string' && /^[\x20-\x7e]+$/.test(value),
};

/** The options with checks of no other kind. */
const OTHERS: Readonly<Record<string, Expected>> = {
  authProvider: OBJECT,
  notifications: { what: 'a boolean', holds: (value) => typeof value === 'boolean' },
  sessionId: HEADER_TEXT,
  protocolVersion: HEADER_TEXT,
  onStreamSlowed: FUNCTION,
  clock: OBJECT,
  random: FUNCTION,
};

const KNOWN: ReadonlySet<string> = new Set([
  ...['headers', 'dispatcher'],
  ...Object.keys(DEFAULTS),
  ...Object.keys(OTHERS),
]);
