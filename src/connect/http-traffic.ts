// What happens to every HTTP request of one session between the SDK's transport and undici: it goes
// through the fence, gets the headers of the lease it belongs to and the dispatcher of its origin.
// Also tells on which call's response stream a message came. Knows no leases, keys or JSON-RPC.

import '../host-fetch-guard.ts';
import type { AsyncLocalStorage } from 'node:async_hooks';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import { fetch as undiciFetch } from 'undici';
import { AbortFanout } from '../abort-fanout.ts';
import type { Clock } from '../clock.ts';
import { SessionLostError } from '../errors.ts';
import type { DispatcherHold } from './dispatchers.ts';
import type { Fence, FenceOptions } from './fence.ts';
import { createFence } from './fence.ts';
import type { AskHeaders, SendOrigin } from './lane.ts';
import { mergeHeaders } from './request-headers.ts';

/** What travels with a request through the SDK's transport, in its async context. */
export interface Errand {
  /**
   * Whose it is: one process has many sessions, and a handler of one may call another. An empty
   * object, for Node keeps the context of whatever it makes in it: sockets and timers of undici
   * that live on must not hold a session.
   */
  readonly owner: object;
  /**
   * `stream`: our own GET of the notification stream. `teardown`: allowed behind an armed fence.
   */
  readonly purpose: 'send' | 'stream' | 'teardown';
  readonly callId: number | undefined;
  readonly headers: AskHeaders | undefined;
}

/** What a session's traffic needs. */
export interface HttpTrafficOptions {
  readonly endpoint: URL;
  /** What the URL's user info stands for; beneath every other header. */
  readonly authorization: string | undefined;
  /** Headers of requests that belong to no lease. */
  readonly sessionHeaders: AskHeaders;
  readonly dispatchers: DispatcherHold;
  /** One for all sessions: each costs every async operation of the process a little. */
  readonly context: AsyncLocalStorage<Errand>;
  readonly clock: Clock;
  readonly fence: Omit<FenceOptions, 'fetch' | 'clock'>;
  /** Carries the GET of the notification stream on to `fetch`. */
  readonly carryStream: (
    fetch: FetchLike,
    url: string | URL,
    init?: RequestInit,
  ) => Promise<Response>;
}

/**
 * Longest wait for the answer to a notification or a response. They get an empty one, so a server
 * that takes longer would only collect sockets.
 */
const NOTIFY_TIMEOUT_MS = 30_000;

/** See the file header. */
export class HttpTraffic {
  readonly fence: Fence;
  readonly #owner = {};
  readonly #options: HttpTrafficOptions;
  readonly #aborts = new AbortFanout();

  constructor(options: HttpTrafficOptions) {
    this.#options = options;
    this.fence = createFence({ ...options.fence, fetch: this.#carry, clock: options.clock });
  }

  /** For the SDK's transport. */
  readonly fetch: FetchLike = (url, init) => {
    const errand = this.#errand();
    if (!asksForEvents(init) || init?.method === 'POST') return this.#post(errand, url, init);
    // A GET that resumes the stream of one call.
    if (errand?.callId !== undefined) return this.fence.fetch(url, init);
    if (errand?.purpose === 'stream') {
      return this.#options.carryStream(this.fence.fetch, url, init);
    }
    // The SDK asks for a notification stream after each handshake. Whether there is to be one is
    // not its to decide: answered on the spot, as by a server that has none.
    return Promise.resolve(new Response(null, { status: 405 }));
  };

  /** Runs a send of the link, so that its requests and its response stream are known by it. */
  carry<T>(origin: SendOrigin, send: () => T): T {
    const { callId, headers } = origin;
    return this.run({ purpose: 'send', callId, headers }, send);
  }

  /** Runs what sends requests for another purpose. */
  run<T>(errand: Omit<Errand, 'owner'>, work: () => T): T {
    return this.#options.context.run({ owner: this.#owner, ...errand }, work);
  }

  /** The call on whose response stream a message comes that is received right now. */
  originOf(): number | undefined {
    return this.#errand()?.callId;
  }

  #errand(): Errand | undefined {
    const errand = this.#options.context.getStore();
    return errand?.owner === this.#owner ? errand : undefined;
  }

  /** A POST, or a request of the authorization flow. */
  async #post(
    errand: Errand | undefined,
    url: string | URL,
    init: RequestInit | undefined,
  ): Promise<Response> {
    if (errand === undefined || errand.callId !== undefined) return this.fence.fetch(url, init);
    const { clock } = this.#options;
    const own = new AbortController();
    const outer = init?.signal;
    const onAbort = (): void => own.abort(outer?.reason);
    if (outer?.aborted) onAbort();
    this.#aborts.follow(outer, onAbort);
    const timer = clock.setTimeout(() => {
      own.abort(new DOMException('The server did not take the message', 'TimeoutError'));
    }, NOTIFY_TIMEOUT_MS);
    timer.unref();
    try {
      return await this.fence.fetch(url, { ...init, signal: own.signal });
    } finally {
      clock.clearTimeout(timer);
      this.#aborts.unfollow(outer, onAbort);
    }
  }

  /** Beneath the fence: sends for real. */
  readonly #carry: FetchLike = async (url, init) => {
    const target = new URL(url);
    const errand = this.#errand();
    const headers = this.#isForEndpoint(target, init)
      ? mergeHeaders(await this.#headersOf(errand), init?.headers)
      : init?.headers;
    init?.signal?.throwIfAborted();
    // The fence may have been armed while the headers were asked for.
    if (this.fence.armed && errand?.purpose !== 'teardown') {
      throw new SessionLostError('The session is closing', 'not-executed');
    }
    const dispatcher = this.#options.dispatchers.router;
    const sent = undiciFetch(target, { ...init, headers, dispatcher } as Parameters<
      typeof undiciFetch
    >[1]);
    // Undici declares types of its own for what is the same at run time.
    return sent as unknown as Promise<Response>;
  };

  async #headersOf(errand: Errand | undefined): Promise<Record<string, string>> {
    const { authorization, sessionHeaders } = this.#options;
    const headers = await (errand?.headers ?? sessionHeaders)();
    if (authorization === undefined) return { ...headers };
    const hasOwn = Object.keys(headers).some((name) => name.toLowerCase() === 'authorization');
    return hasOwn ? { ...headers } : { ...headers, authorization };
  }

  /**
   * Whether a request speaks MCP to our endpoint. The SDK sends the requests of OAuth through the
   * same fetch: those must not carry the caller's headers, least of all to another origin.
   */
  #isForEndpoint(target: URL, init: RequestInit | undefined): boolean {
    const { endpoint } = this.#options;
    if (!isSameOrigin(endpoint, target)) return false;
    return asksForEvents(init) || init?.method === 'DELETE';
  }
}

function asksForEvents(init: RequestInit | undefined): boolean {
  return new Headers(init?.headers).get('accept')?.includes('text/event-stream') ?? false;
}

/** As the SDK sees it: a redirect from http to https of one host, on default ports, is the same. */
function isSameOrigin(from: URL, to: URL): boolean {
  if (from.origin === to.origin) return true;
  const isUpgrade = from.protocol === 'http:' && to.protocol === 'https:';
  return isUpgrade && from.hostname === to.hostname && from.port === '' && to.port === '';
}
