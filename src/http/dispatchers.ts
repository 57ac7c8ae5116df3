// The undici dispatchers of HTTP sessions: one connection pool per origin, shared by the sessions
// that are live, gone with the last of them; or the caller's own, which is never closed here. Knows
// origins and sockets, nothing of MCP.

import '../host-fetch-guard.ts';
import type { Socket } from 'node:net';
import { buildConnector, Dispatcher, Pool } from 'undici';
import { frugalClient } from './frugal-client.ts';

/** A caller's dispatcher, or one by origin. */
export type DispatcherSource = Dispatcher | ((origin: string) => Dispatcher);

/** What one session holds of the dispatchers. */
export interface DispatcherHold {
  /** Sends each request through the dispatcher of its own origin: a redirect may lead elsewhere. */
  readonly router: Dispatcher;
  /** The dispatcher for `origin`, of which this hold keeps it alive. Throws after `release`. */
  for(origin: string): Dispatcher;
  /** A hold of its own, for what may outlive this one. */
  another(): DispatcherHold;
  /**
   * Lets go. An origin that nobody else holds loses its sockets in this turn: idle, in use or still
   * connecting. Idempotent.
   */
  release(reason: Error): void;
}

/** Where sessions take their dispatchers from. */
export interface DispatchersOptions {
  readonly source?: DispatcherSource | undefined;
  /** Longest TCP and TLS handshake of one connection, in ms. */
  readonly connectTimeoutMs: number;
}

interface SharedPool {
  readonly pool: Pool;
  readonly connecting: ReadonlySet<Socket>;
  /** Live sessions that use it. At 0 it is destroyed and dropped. */
  holders: number;
}

/** See the file header. */
export class Dispatchers {
  readonly #options: DispatchersOptions;
  /** By origin. An entry exists while it has holders. */
  readonly #pools = new Map<string, SharedPool>();

  constructor(options: DispatchersOptions) {
    this.#options = options;
  }

  /** Origins whose connections are ours to close, at the moment. */
  get origins(): readonly string[] {
    return [...this.#pools.keys()];
  }

  hold(): DispatcherHold {
    const held = new Set<string>();
    let released: Error | undefined;
    const hold: DispatcherHold = {
      router: new Router((origin) => hold.for(origin)),
      for: (origin) => {
        if (released !== undefined) throw released;
        const { source } = this.#options;
        if (source !== undefined) return typeof source === 'function' ? source(origin) : source;
        const shared = this.#pools.get(origin) ?? this.#open(origin);
        if (!held.has(origin)) {
          held.add(origin);
          shared.holders += 1;
        }
        return shared.pool;
      },
      another: () => this.hold(),
      release: (reason) => {
        if (released !== undefined) return;
        released = reason;
        for (const origin of held) this.#leave(origin, reason);
      },
    };
    return hold;
  }

  #open(origin: string): SharedPool {
    const connecting = new Set<Socket>();
    const connect = connectorThatTells(this.#options.connectTimeoutMs, connecting);
    const pool = new Pool(origin, {
      // No cap: one session's hung streams must never starve another's calls.
      connections: null,
      // Streams may be silent for longer than any timeout (row 6d). A call is bounded by its own.
      headersTimeout: 0,
      bodyTimeout: 0,
      factory: (url, options) => frugalClient(url, { ...options, connect }),
    });
    const shared = { pool, connecting, holders: 0 };
    this.#pools.set(origin, shared);
    return shared;
  }

  #leave(origin: string, reason: Error): void {
    const shared = this.#pools.get(origin);
    if (shared === undefined) return;
    shared.holders -= 1;
    if (shared.holders > 0) return;
    this.#pools.delete(origin);
    // A Pool, not an Agent, whose `destroy` can forget sockets (row 17); and no `close` before it,
    // which leaves readers of bodies pending for ever.
    // It tells when the last socket is gone, or that it was destroyed before: nobody waits for
    // that.
    shared.pool.destroy(reason).catch(() => {});
    // `destroy` waits for connections that are being made; a black hole would hold them for long.
    for (const socket of [...shared.connecting]) socket.destroy(reason);
  }
}

/**
 * A `Pool` sends whatever it is given to its own origin, also a request that was redirected to
 * another one. So requests are dispatched by the origin they name.
 */
class Router extends Dispatcher {
  readonly #dispatcherFor: (origin: string) => Dispatcher;

  constructor(dispatcherFor: (origin: string) => Dispatcher) {
    super();
    this.#dispatcherFor = dispatcherFor;
  }

  override dispatch(
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    return this.#dispatcherFor(String(options.origin)).dispatch(options, handler);
  }
}

/** Undici's own connector, which also keeps `connecting` up to date. */
function connectorThatTells(timeoutMs: number, connecting: Set<Socket>): buildConnector.connector {
  const connect = buildConnector({ timeout: timeoutMs });
  return (options, callback) => {
    let socket: Socket | undefined;
    const onSettled: buildConnector.Callback = (...result) => {
      if (socket !== undefined) connecting.delete(socket);
      callback(...result);
    };
    // It returns the socket at run time, though its types don't say so.
    socket = connect(options, onSettled) as unknown as Socket | undefined;
    if (socket !== undefined) connecting.add(socket);
    return socket;
  };
}
