// One major line of the SDK, as sessions use it: what shakes hands, what a lease lends, and what
// both are made of. Types only: a line is loaded by the connector that is made for it, and never
// beside the other one.

import type { ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import type {
  FetchLike,
  Transport,
  TransportSendOptions,
} from '@modelcontextprotocol/sdk/shared/transport.js';
import type {
  Implementation,
  JSONRPCMessage,
  JSONRPCRequest,
} from '@modelcontextprotocol/sdk/types.js';
import type { AbortFanout } from '../abort-fanout.ts';
import type { LoadOAuth } from '../http/authorization-flow.ts';
import type { ServerNotificationHandler, ServerRequestHandler } from './connector.ts';
import type { LaneSendOptions, Link } from './lane.ts';
import type { LeaseTransport } from './lease-transport.ts';

/** Who shakes hands. */
export interface HandshakeParty {
  readonly clientInfo: Implementation;
  /** `listChanged` is left to the leases' clients. */
  readonly clientOptions: ClientOptions;
  /** Told of the version that was agreed on. */
  readonly setProtocolVersion: (version: string) => void;
}

/** What a handshake led to. */
export interface Handshake {
  /** What the server said of itself, frozen, for all leases see the same object. */
  readonly result: Readonly<Record<string, unknown>>;
  /**
   * The server keeps no session (2026-07-28): every request stands for itself. What is called a
   * session then is a slot for requests, which no failure of one of them can end.
   */
  readonly isSessionless: boolean;
  /** The revision that was agreed on, where `result` does not say. */
  readonly version?: string;
  /** Asked for a sign of life. Default: a ping, which a server without sessions does not know. */
  readonly question?: Question;
}

/** A request without its id. */
export type Question = Pick<JSONRPCRequest, 'method' | 'params'>;

/** Settles when the session can be used. Bound: whoever asks; nothing in it has a clock. */
export type ShakeHands = (link: Link, party: HandshakeParty) => Promise<Handshake>;

/** What the client of a lease is made of. */
export interface LeaseClientOptions {
  readonly transport: LeaseTransport;
  readonly clientInfo: Implementation;
  /**
   * `capabilities` and a `jsonSchemaValidator` included: the SDK's default one costs 200-800 µs.
   */
  readonly clientOptions: ClientOptions;
  /** `Handshake.result` of the session. */
  readonly handshake: Readonly<Record<string, unknown>>;
  /** `Handshake.isSessionless` of the session. Default: false. */
  readonly isSessionless?: boolean;
  /** `Handshake.version` of the session. */
  readonly version?: string | undefined;
  /** Follows the signals of calls; one for many clients, which may be given the same signal. */
  readonly aborts: AbortFanout;
  readonly onRequest?: ServerRequestHandler | undefined;
  readonly onNotification?: ServerNotificationHandler | undefined;
}

/** What the pool asks of the client of a lease. */
export interface LentClient {
  /** Whether the server can have acted on anything that was sent. Told also after the lease. */
  readonly mayHaveExecuted: boolean;
}

/** Makes the line's own transport of HTTP+SSE, which fetches with `fetch` alone. */
export type NewSseTransport = (url: URL, fetch: FetchLike) => Transport;

/** See the file header. */
export interface SdkLine<C> {
  readonly shakeHands: ShakeHands;
  createClient(options: LeaseClientOptions): C & LentClient;
  readonly loadOAuth: LoadOAuth;
  readonly loadSse: () => Promise<NewSseTransport>;
  /** For clients of leases, over the pool's. */
  readonly clientOptions?: ClientOptions;
  /** The session that the line was made for is over. Idempotent. */
  readonly release?: () => void;
  /**
   * What the SDK says beside a message, in the words of our own transports. Default: as it is.
   */
  readonly sendOptions?: (
    message: JSONRPCMessage,
    options: TransportSendOptions | undefined,
  ) => LaneSendOptions | undefined;
}
