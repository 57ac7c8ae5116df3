// Makes a connector of any transport of the SDK, for custom targets and for the pool's `connector`
// option: each session gets a transport of its own from the caller, and a fence of its own. Sits at
// the edge of the pool. Loads a line of the SDK with the first session, so that merely importing
// this costs nothing.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type { FetchLike, Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { fetchOn } from '../http/dispatcher-fetch.ts';
import { type DispatcherHold, type DispatcherSource, Dispatchers } from '../http/dispatchers.ts';
import { checkKnown } from '../known-members.ts';
import type { SessionTarget } from '../target.ts';
import type { ConnectContext, Connector, SessionSettings } from './connector.ts';
import { createFence } from './fence.ts';
import { cut, FencedTransport, fencedFetch, type TransportGuards } from './fenced-transport.ts';
import { LeaseHeaders } from './lease-headers.ts';
import type { LentShared } from './lent-clients.ts';
import type { TransportParts, TransportSession } from './transport-session.ts';

/** What is known when a transport is made for a session. */
export interface TransportContext
  extends Pick<ConnectContext, 'signal' | 'key' | 'headers' | 'settings'> {
  /** What the session is opened for. */
  readonly target: SessionTarget;
  /**
   * For transports that take one: goes through a fence of the session's own (see `createFence`),
   * and adds to each message the headers of the lease that sends it, to everything else those of
   * `headers`. Reserved ones are dropped, and other origins get none: with such headers, redirects
   * are followed within the origin alone.
   */
  readonly fetch: FetchLike;
}

/** A transport, with what the pool can't know of it. */
export interface SessionTransport {
  /** Not started. Made for this session alone. */
  readonly transport: Transport;
  /**
   * Whether an error that the transport reports (`onerror`) means that the session is gone. Errors
   * of sends are judged anyway, and are reported before they are thrown: not by this. Default: only
   * a broken event stream of the SDK's `SSEClientTransport` is. `onclose` always is.
   */
  readonly isLoss?: ((error: unknown) => boolean) | undefined;
  /**
   * Tells the server that the session is over, before the transport is closed. Default:
   * `terminateSession()`, where the transport has one and a session id.
   */
  readonly terminate?: ((signal: AbortSignal) => Promise<void>) | undefined;
  /**
   * Cuts what `close()` may leave, such as a socket whose peer acknowledges no close. Synchronous,
   * called last and always. Default: what went through `fetch` is cut.
   */
  readonly sever?: ((reason: Error) => void) | undefined;
}

/**
 * Makes the transport of one session, anew each time it is called. Bound: `connectTimeoutMs`, with
 * the rest of the open; what comes later is closed.
 */
export type MakeTransport = (
  context: TransportContext,
) => Transport | SessionTransport | Promise<Transport | SessionTransport>;

/** What `createTransportConnector` takes beside. */
export interface TransportConnectorOptions {
  /**
   * undici dispatcher for what goes through `fetch`, or one by origin: proxies, TLS and the like go
   * here. Never closed by us. Default: the pool's, else one undici `Pool` per origin, gone with its
   * last session.
   */
  readonly dispatcher?: DispatcherSource | undefined;
  /** Does the work below the fences, in place of undici and `dispatcher`. Default: none. */
  readonly fetch?: FetchLike | undefined;
}

const KNOWN: ReadonlySet<string> = new Set(['dispatcher', 'fetch']);

/**
 * Makes a connector of any transport of the SDK. The pool does the rest: the handshake, a client
 * for each lease, and the end of the session, in time, whatever the transport does. Make one per
 * server, not one per call: its sessions share connections and schema validators.
 *
 * A transport is closed when its `close()` has settled and it has called `onclose`; one that does
 * not is reported as abandoned. Requests of the server come without an origin: on a session that is
 * lent to one lease at a time they are that lease's, on others they go to the pool's handlers.
 *
 * With `fetch`, reconnects are held to one a second and fewer, whatever the transport's options
 * and the server's `retry` say. `maxRetries: 0` spares the SDK's timers, which outlive a close by
 * up to a second; it also gives up the notification stream when that first ends, and calls
 * that were to be resumed.
 *
 * @example
 * ```ts
 * const connect = createTransportConnector(
 *   ({ fetch }) => new StreamableHTTPClientTransport(url, { fetch }),
 * );
 * const lease = await pool.acquire({ server: 'tools', identity: user.id, connect });
 * ```
 * @throws TypeError when `make` is no function, or for an unknown option.
 */
export function createTransportConnector(
  make: MakeTransport,
  options: TransportConnectorOptions = {},
): Connector {
  return transportConnector(make, options, loadSdk1);
}

/** As `createTransportConnector`, with clients of the line that `load` gives. */
export function transportConnector<C>(
  make: MakeTransport,
  options: TransportConnectorOptions,
  load: () => Promise<Loaded<C>>,
): Connector<C> {
  if (typeof make !== 'function') {
    throw new TypeError(`Expected a function that makes a transport, got ${typeof make}`);
  }
  checkKnown('connector option', options, KNOWN);
  const given = new WeakSet<Transport>();
  const { fetch } = options;
  const dispatchersOf = dispatchersBySource(options.dispatcher);
  let loading: Promise<Loaded<C>> | undefined;
  return async (target, context) => {
    loading ??= load();
    const { Session, sharedFor } = await loading;
    context.signal.throwIfAborted();
    const { onTrouble } = context.settings;
    const guards = guardsOf(context, fetch, dispatchersOf(context.settings).hold());
    const { signal } = context;
    // What the caller's function fetches must not outlive the open, though the function may.
    const onAbort = (): void => cut(guards, notOpened(signal.reason));
    try {
      signal.addEventListener('abort', onAbort, { once: true });
      const made = await make(contextFor(target, context, guards));
      signal.removeEventListener('abort', onAbort);
      const parts = partsOf(made, guards, { given, onTrouble });
      const session = new Session(parts, context, sharedFor(context));
      await session.open(signal);
      return session;
    } catch (error) {
      signal.removeEventListener('abort', onAbort);
      cut(guards, notOpened(error));
      throw error;
    }
  };
}

/** Dispatchers of `own`, or of the pool that asks: pools with the same one share them. */
function dispatchersBySource(
  own: DispatcherSource | undefined,
): (settings: SessionSettings) => Dispatchers {
  const known = new WeakMap<object, Dispatchers>();
  const none = {};
  return ({ dispatcher, connectTimeoutMs }) => {
    const source = own ?? dispatcher;
    const key = source ?? none;
    const dispatchers = known.get(key) ?? new Dispatchers({ source, connectTimeoutMs });
    known.set(key, dispatchers);
    return dispatchers;
  };
}

const notOpened = (cause: unknown): Error =>
  new Error('The session could not be opened', { cause });

/** What is loaded with the first session. */
export interface Loaded<C> {
  readonly Session: typeof TransportSession;
  /** What a session shares with the others. Asked for each, when it is sure to come to be. */
  readonly sharedFor: (context: ConnectContext) => LentShared<C>;
}

async function loadSdk1(): Promise<Loaded<Client>> {
  const [session, line] = await Promise.all([
    import('./transport-session.ts'),
    import('./sdk-1.ts'),
  ]);
  const shared = line.lentShared();
  return { Session: session.TransportSession, sharedFor: () => shared };
}

function guardsOf(
  { headers: own, settings }: ConnectContext,
  fetch: FetchLike | undefined,
  hold: DispatcherHold,
): TransportGuards {
  const { clock, random, maxMessageBytes } = settings;
  const headers = new LeaseHeaders(own);
  const below = headers.over(fetch ?? fetchOn(hold));
  const fence = createFence({ fetch: below, clock, random, maxMessageBytes });
  return { fence, headers, hold };
}

function contextFor(
  target: SessionTarget,
  { signal, key, headers, settings }: ConnectContext,
  { fence }: TransportGuards,
): TransportContext {
  return { target, signal, key, headers, settings, fetch: fencedFetch(fence) };
}

interface MadeBefore {
  /** The transports of all sessions so far. */
  readonly given: WeakSet<Transport>;
  readonly onTrouble: (error: unknown) => void;
}

/** @throws TypeError when `made` is no transport, or served a session already. */
function partsOf(
  made: Transport | SessionTransport,
  guards: TransportGuards,
  { given, onTrouble }: MadeBefore,
): TransportParts {
  const own: SessionTransport = isTransport(made) ? { transport: made } : Object(made);
  const transport = new FencedTransport(own.transport, guards);
  if (given.has(own.transport)) {
    throw new TypeError('Expected a transport of its own for each session: this one had another');
  }
  given.add(own.transport);
  return {
    transport,
    isLoss: (error) => {
      try {
        return (own.isLoss ?? isBrokenStream)(error);
      } catch (trouble) {
        // Thrown on, it would end up in the transport, which has no use for it.
        onTrouble(trouble);
        return false;
      }
    },
    fence: (reason) => guards.fence.arm(reason),
    sendLastWord: (message) => transport.sendLastWord(message),
    terminate: own.terminate ?? ((signal) => transport.terminate(signal)),
    sever: (reason) => {
      transport.sever(reason);
      own.sever?.(reason);
    },
  };
}

const isTransport = (made: Transport | SessionTransport): made is Transport =>
  typeof (made as Partial<Transport> | undefined)?.start === 'function';

/**
 * The SDK's `SseError`, by its structure. Its EventSource comes back by itself, to a session that
 * knows nothing of `initialize`.
 */
const isBrokenStream = (error: unknown): boolean =>
  (error as { event?: { type?: unknown } } | null)?.event?.type === 'error';
