// A fetch for MCP transports that are not ours, which keeps them from doing harm: alive, their
// reconnects, bodies and cancelled calls are held within bounds; armed, nothing new leaves; after
// `abortAll` nothing is left. A connector gives it to its transport. It knows no transport, no
// client and no pool, and what it fetches with belongs to the caller.

// First, so that undici finds the host's dispatcher in place.
import '../host-fetch-guard.ts';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import { fetch as undiciFetch } from 'undici';
import { AbortFanout } from '../abort-fanout.ts';
import { type Clock, systemClock } from '../clock.ts';
import { SessionLostError } from '../errors.ts';
import { ExpiryList } from '../http/expiry-list.ts';
import { asksForEvents } from '../http/request-headers.ts';
import { FencedRequest, type RequestObserver, type StreamEnd } from './fenced-request.ts';
import { readPostedMessage } from './posted-message.ts';
import { type Chain, StreamChains } from './stream-chains.ts';

/** What `createFence` takes. */
export interface FenceOptions {
  /**
   * Does the work. Default: undici's own `fetch`, on the process's global dispatcher. Give one that
   * carries a dispatcher of yours to decide about sockets, TLS and `bodyTimeout`.
   */
  readonly fetch?: FetchLike | undefined;
  /**
   * Bytes that one message (a body, or one event of an event stream) may have, minimum 1. Over it
   * the body errors with `MESSAGE_TOO_LARGE`. Default: 16 MiB.
   */
  readonly maxMessageBytes?: number | undefined;
  /**
   * Told of each GET event stream that its peer ended, or that broke a bound; not of those that the
   * transport, `arm` or `abortAll` ended. `livedMs` counts from the stream's headers, `retryMs` is
   * clamped to [1 s, 5 min]. What it throws is ignored: it is an observer.
   */
  readonly onStreamEnd?: ((stream: StreamEnd) => void) | undefined;
  /** Default: the process's clock. */
  readonly clock?: Clock | undefined;
  /** Numbers in [0, 1), for jitter. Default: `Math.random`. */
  readonly random?: (() => number) | undefined;
}

/**
 * Teardown: `arm()`, then the transport's `close()`, then `abortAll()`. Another order feeds the
 * retry loops of the transport (hazard 20), which then end at the armed fence.
 *
 * @example
 * ```ts
 * const fence = createFence();
 * const transport = new StreamableHTTPClientTransport(url, { fetch: fence.fetch });
 * await client.connect(transport);
 * // … and when the session is over:
 * fence.arm();
 * await client.close();
 * fence.abortAll();
 * ```
 */
export interface Fence {
  /** Give this to the transport. */
  readonly fetch: FetchLike;
  /** Whether `arm` or `abortAll` was called. */
  readonly armed: boolean;
  /**
   * The same fetch, open also while the fence is armed: for the DELETE and the cancels that a
   * teardown sends. Its GETs are not governed. After `abortAll` it rejects.
   */
  readonly passThrough: FetchLike;
  /**
   * The call with this JSON-RPC id has been answered. If its server holds the request open for
   * another 100 ms, it is aborted then, and the reader of its stream is not told, which would take
   * that for a reason to resume. Ended before, its connection is kept. A no-op for a call whose
   * request is over, and once armed.
   */
  endCall(requestId: RequestId): void;
  /**
   * Nothing new leaves: GETs park (a promise that never settles, since a rejection would feed a
   * retry loop), everything else rejects with `reason`. Bodies already handed out stay readable.
   * Idempotent. Default reason: `SessionLostError`, not executed.
   */
  arm(reason?: Error): void;
  /**
   * Aborts every request and ends every body with `reason`, in this turn, whatever the fetch below
   * does about it. Arms first. Idempotent. Default reason: the one that `arm` was given, else
   * `SessionLostError`, execution unknown.
   */
  abortAll(reason?: Error): void;
}

const MAX_MESSAGE_BYTES_DEFAULT = 16 * 1024 * 1024;
/** Long enough for an end that follows its answer, short for a socket that nobody reads. */
const ANSWERED_GRACE_MS = 100;

/** Creates the fence of one session. */
export function createFence(options: FenceOptions = {}): Fence {
  return new SessionFence(options);
}

class SessionFence implements Fence {
  readonly #fetch: FetchLike;
  readonly #maxMessageBytes: number;
  readonly #onStreamEnd: ((stream: StreamEnd) => unknown) | undefined;
  readonly #clock: Clock;
  readonly #aborts = new AbortFanout();
  readonly #chains: StreamChains;
  /** Every request from its sending to the end of its body. */
  readonly #open = new Set<FencedRequest>();
  /** Of these, those that serve a call: its POST, or the GET that resumes its stream. */
  readonly #calls = new Map<RequestId, FencedRequest>();
  /** Of these, those that were answered. */
  readonly #answered: ExpiryList<RequestId>;
  /** What `arm` was given, if anything. */
  #armReason: Error | undefined;
  /** What new requests reject with; defined once armed. */
  #refusal: Error | undefined;
  /** What `passThrough` rejects with; defined once everything was aborted. */
  #severedWith: Error | undefined;

  constructor(options: FenceOptions) {
    const { maxMessageBytes = MAX_MESSAGE_BYTES_DEFAULT } = options;
    if (!(maxMessageBytes >= 1)) {
      const got = `${String(maxMessageBytes)} (${typeof maxMessageBytes})`;
      throw new RangeError(`Expected \`maxMessageBytes\` to be a number ≥ 1, got ${got}`);
    }
    this.#maxMessageBytes = maxMessageBytes;
    this.#fetch = options.fetch ?? defaultFetch;
    this.#onStreamEnd = options.onStreamEnd;
    this.#clock = options.clock ?? systemClock;
    this.#chains = new StreamChains(this.#clock, options.random ?? Math.random, this.#aborts);
    this.#answered = new ExpiryList(this.#clock, ANSWERED_GRACE_MS, (id) =>
      this.#cutCall(id, 'answered'),
    );
  }

  readonly fetch: FetchLike = (url, init) => {
    const isGet = methodOf(init) === 'GET';
    if (this.#refusal !== undefined) return isGet ? park() : Promise.reject(this.#refusal);
    const headers = isGet ? new Headers(init?.headers) : undefined;
    if (headers === undefined || !asksForEvents(headers)) return this.#carry(url, init);
    return this.#follow(this.#chains.chainOf(headers.get('last-event-id')), url, init);
  };

  readonly passThrough: FetchLike = (url, init) => {
    if (this.#severedWith !== undefined) return Promise.reject(this.#severedWith);
    return this.#carry(url, init);
  };

  get armed(): boolean {
    return this.#refusal !== undefined;
  }

  endCall(requestId: RequestId): void {
    if (!this.armed && this.#calls.has(requestId)) this.#answered.add(requestId);
  }

  arm(reason?: Error): void {
    if (this.#refusal !== undefined) return;
    this.#armReason = reason;
    this.#refusal = reason ?? new SessionLostError('The session is closing', 'not-executed');
    this.#chains.clear();
    this.#answered.clear();
    // Those under way are not aborted here: that would open a spare connection each (hazard 13b).
    for (const request of this.#open) if (request.asksForEvents) request.park();
  }

  abortAll(reason?: Error): void {
    this.arm(reason);
    const why = reason ?? this.#armReason ?? new SessionLostError('The session closed', 'unknown');
    this.#severedWith ??= why;
    for (const request of [...this.#open]) request.abandon(why);
  }

  /** A GET of an event stream: goes when its chain may go, and is never rejected by an abort. */
  #follow(chain: Chain, url: string | URL, init: RequestInit | undefined): Promise<Response> {
    const signal = init?.signal ?? undefined;
    if (chain.isCancelled || signal?.aborted) return park();
    const observer: RequestObserver = {
      onAnswer: (status) => {
        if (isFollowedUp(status)) this.#chains.redirected(chain);
        else if (!isStream(status)) this.#chains.failed(chain);
      },
      onFailure: () => this.#chains.failed(chain),
      onOver: (end) => {
        if (end === undefined) return;
        this.#chains.ended(chain, end);
        this.#tellStreamEnd(end);
      },
    };
    return new Promise((resolve, reject) => {
      const go = (): void => {
        const errand = { url, init, asksForEvents: true, requestId: chain.requestId, observer };
        this.#send(errand).then(resolve, reject);
      };
      this.#chains.admit(chain, signal, go);
    });
  }

  /** Anything but a GET of an event stream: goes at once. */
  #carry(url: string | URL, init: RequestInit | undefined): Promise<Response> {
    const posted = methodOf(init) === 'POST' ? readPostedMessage(init?.body) : undefined;
    const requestId = posted?.requestId;
    const onOver = (end: StreamEnd | undefined): void => {
      if (requestId === undefined || end === undefined) return;
      this.#chains.callStreamEnded(requestId, end);
    };
    const errand = { url, init, asksForEvents: false, requestId, observer: { onOver } };
    const answer = this.#send(errand);
    // Order: after the cancel was handed to fetch, so that the server is told before it is cut off.
    if (posted?.cancels !== undefined) this.#cutCall(posted.cancels, 'cancelled');
    return answer;
  }

  #send(errand: Errand): Promise<Response> {
    const { url, init, asksForEvents, requestId, observer } = errand;
    if (init?.signal?.aborted) return Promise.reject(init.signal.reason);
    return new Promise((resolve, reject) => {
      const onOver = (end: StreamEnd | undefined): void => {
        this.#open.delete(request);
        if (requestId !== undefined && this.#calls.get(requestId) === request) {
          this.#calls.delete(requestId);
          this.#answered.delete(requestId);
        }
        observer.onOver(end);
      };
      const request = new FencedRequest(
        {
          fetch: this.#fetch,
          url,
          init,
          asksForEvents,
          maxMessageBytes: this.#maxMessageBytes,
          clock: this.#clock,
          aborts: this.#aborts,
          observer: { ...observer, onOver },
        },
        { resolve, reject },
      );
      this.#open.add(request);
      if (requestId !== undefined) this.#calls.set(requestId, request);
      request.send();
    });
  }

  /** Nobody waits for the call any more: ends what serves it, and what would resume it. */
  #cutCall(requestId: RequestId, how: 'cancelled' | 'answered'): void {
    this.#chains.cancelCall(requestId);
    this.#calls.get(requestId)?.cutCall(new DOMException(`The call was ${how}`, 'AbortError'));
  }

  #tellStreamEnd(end: StreamEnd): void {
    const tell = this.#onStreamEnd;
    if (tell === undefined) return;
    // Async, so that a throw and a rejected promise end the same way: an observer changes nothing,
    // and `FenceOptions.onStreamEnd` says that what it throws is ignored.
    (async () => tell(end))().catch(() => {});
  }
}

interface Errand {
  readonly url: string | URL;
  readonly init: RequestInit | undefined;
  readonly asksForEvents: boolean;
  /** The call that the request serves. */
  readonly requestId: RequestId | undefined;
  readonly observer: RequestObserver;
}

/** Undici declares types of its own for what is the same at run time. */
const defaultFetch: FetchLike = (url, init) =>
  undiciFetch(url, init as Parameters<typeof undiciFetch>[1]) as unknown as Promise<Response>;

/** Never settles; nothing holds it but who waits for it. */
function park(): Promise<never> {
  return new Promise(() => {});
}

function methodOf(init: RequestInit | undefined): string {
  return init?.method?.toUpperCase() ?? 'GET';
}

/** Redirects and 401 are answered by another GET, which is no reconnect. */
function isFollowedUp(status: number): boolean {
  return status === 401 || (status >= 300 && status <= 399 && status !== 304);
}

/** Whether the answer has a body that the transport reads as a stream. */
function isStream(status: number): boolean {
  return status >= 200 && status <= 299 && ![202, 204, 205].includes(status);
}
