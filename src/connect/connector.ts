// The port through which the pool opens sessions. Tests, custom transports and other SDKs plug in
// here. The heart of the pool knows sessions only as `Connection`s: no SDK, no sockets.

import type { Client, ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import type {
  ClientCapabilities,
  Implementation,
  JSONRPCNotification,
  JSONRPCRequest,
  Result,
} from '@modelcontextprotocol/sdk/types.js';
import type { Clock } from '../clock.ts';
import type { HeaderRecord, SessionTarget } from '../target.ts';

/** What the handler of a server's request is told beside it. */
export interface ServerRequestContext {
  /** Aborts when nobody waits for the answer: the server took it back, or the session ended. */
  readonly signal: AbortSignal;
}

/** Answers a request of the server that no handler of the lease's client takes. */
export type ServerRequestHandler = (
  request: JSONRPCRequest,
  context: ServerRequestContext,
) => Result | Promise<Result>;
/** Receives a notification of the server that no handler of the lease's client takes. */
export type ServerNotificationHandler = (notification: JSONRPCNotification) => void | Promise<void>;

/** An answer to a request of the server, but for its id. */
export type ServerAnswer =
  | { readonly result: Result }
  | {
      readonly error: {
        readonly code: number;
        readonly message: string;
        readonly data?: unknown;
      };
    };

/** Who takes what the server sends to no lease in particular. */
export interface SessionHandlers {
  /**
   * Requests that can't be attributed to a lease, or that come while nobody leases; pings aside,
   * which are to be answered always. Gives what is to be sent; neither throws nor rejects, but may
   * never settle: abort the signal when the server takes the request back and when the session
   * ends, and put a bound on how many wait. `undefined`: answer "method not found" (-32601).
   */
  readonly onRequest?:
    | ((request: JSONRPCRequest, context: ServerRequestContext) => Promise<ServerAnswer>)
    | undefined;
  /**
   * Notifications of the same kind, and `list_changed` and `resources/updated` always, beside the
   * leases. Never throws. `undefined`: drop them.
   */
  readonly onNotification?: ((notification: JSONRPCNotification) => void) | undefined;
}

/**
 * What the pool's options and the target make of every session of one key. Durations are in ms;
 * `SessionPoolOptions` says what each means.
 */
export interface SessionSettings {
  /** To be sent with `initialize`: the target's, else the pool's. */
  readonly clientInfo: Implementation;
  /** To be sent with `initialize`: the target's, else the pool's. */
  readonly capabilities: ClientCapabilities;
  /** For the clients of leases. */
  readonly clientOptions: Omit<ClientOptions, 'capabilities'>;
  /** A session of the key is lent to one lease at a time. */
  readonly exclusive: boolean;
  /** There is one session, of one downstream session. */
  readonly affine: boolean;
  readonly maxMessageBytes: number;
  readonly connectTimeoutMs: number;
  readonly closeTimeoutMs: number;
  readonly probeTimeoutMs: number;
  /** The pool's own time and chance, which tests control. */
  readonly clock: Clock;
  readonly random: () => number;
  /** Tells of trouble out of band: transport errors, and what handlers threw. Never throws. */
  readonly onTrouble: (error: unknown) => void;
}

/**
 * What a connector is told beside the target. The handlers in it are the pool's own: where there is
 * one, somebody listens, and a session that needs a stream for what the server sends opens it.
 */
export interface ConnectContext extends SessionHandlers {
  /**
   * Aborts when the open is no longer wanted: `connectTimeoutMs` after the connector was called, or
   * when the pool closes. A connection that arrives later is torn down.
   */
  readonly signal: AbortSignal;
  /** Opaque id of the session's key, safe to log. Equal keys may share caches. */
  readonly key: string;
  readonly settings: SessionSettings;
  /**
   * The newest target headers seen for this key: what traffic without a lease (initialize, probe,
   * DELETE, stream reopening) carries. Ask anew for every request: tokens rotate.
   */
  readonly headers: () => HeaderRecord | Promise<HeaderRecord>;
  /**
   * To be called when the session should be lent no more, though what goes on over it may go on: it
   * is taken down when its last lease ends. What is over at once is told by `Connection.lost`.
   */
  readonly worn?: () => void;
  /** To be called when the server asks to be left alone, for so long (`Retry-After`). */
  readonly throttled?: (retryAfterMs: number) => void;
  /**
   * To be called when the caller's own credentials could not be had: what its `authProvider` threw,
   * or its authorization server. An open that fails with that error, or with one whose cause it is,
   * says nothing of the server, and holds nobody's opens back.
   */
  readonly credentialsFailed?: (error: unknown) => void;
}

/**
 * Opens one session: settles when the session can be lent (`initialize` and
 * `notifications/initialized` done), rejects when it can't. Clients whose calls need not be typed
 * are covered by `C = Client`.
 */
export type Connector<C = Client> = (
  target: SessionTarget,
  context: ConnectContext,
) => Promise<Connection<C>>;

/** What a connection is told of the lease it lends a client for. */
export interface LeaseContext {
  /**
   * The headers of this lease: its target's, then those given to `acquire`. Ask anew for every
   * request.
   */
  readonly headers: () => HeaderRecord | Promise<HeaderRecord>;
  readonly onRequest?: ServerRequestHandler | undefined;
  readonly onNotification?: ServerNotificationHandler | undefined;
  /** Ends the lease; for `client.close()`. A no-op once ended. */
  readonly end: () => void;
  /** Once the lease has ended: what its calls reject with. Before: `undefined`. */
  readonly endedWith: () => Error | undefined;
}

/**
 * An open session, as the pool holds it. The pool calls each of `fence`, `terminate`,
 * `client.close`, `transport.close` and `sever` exactly once, in this order, within one deadline.
 */
export interface Connection<C = Client> {
  /** The session's own client. Lent to leases unless `lend` gives each a client of its own. */
  readonly client: C & { close(): Promise<void> };
  readonly transport: { close(): Promise<void> };
  /** The `Mcp-Session-Id`, where there is one. A secret: never logged. */
  readonly sessionId?: string | undefined;
  /** Aborts when the session is gone under us, with the reason. */
  readonly lost?: AbortSignal | undefined;
  /** A fresh client for one lease, usable at once. Default: `client` itself. */
  lend?(lease: LeaseContext): C;
  /**
   * Takes a lent client back: cancels what it has in flight; its later calls reject with
   * `lease.endedWith()`. `'tainted'`: the lease changed state on the server that the next one would
   * see. Default: `'clean'`.
   */
  giveBack?(client: C): 'clean' | 'tainted';
  /**
   * Whether work with `client` may run again after `cause`: an error of a call of it, or the cause
   * of one. `'never'` unless `cause` tells that the session is gone and nothing that `client` sent
   * can have been executed. `'once-if-reused'`: the server could not be reached, which is worth
   * another try only if the session had worked before. May be asked after `giveBack`. Default:
   * `'never'`.
   */
  replayOf?(client: C, cause: unknown): 'never' | 'once' | 'once-if-reused';
  /** Settles when the server answers, rejects when it doesn't. Bounded by the pool. */
  probe?(signal: AbortSignal): Promise<void>;
  /** Rung 1, synchronous: nothing new leaves, calls in flight reject with `reason`. */
  fence?(reason: Error): void;
  /** Rung 2: tells the server that the session is over (HTTP DELETE). */
  terminate?(signal: AbortSignal): Promise<void>;
  /** Rung 4, synchronous: cuts every socket, kills the process, drops every handler. */
  sever?(reason: Error): void;
}
