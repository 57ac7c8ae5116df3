// One request behind the fence, from the moment it leaves until its body is over. It has an abort
// of its own, and whoever waits for it can be let go at once even if the fetch below ignores
// aborts. It tells its owner how it went; it knows neither the fence nor the governor.

import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { AbortFanout } from '../abort-fanout.ts';
import type { Clock } from '../clock.ts';
import { MessageTooLargeError } from '../http/message-too-large.ts';
import { EventStreamScanner } from './event-stream-scanner.ts';
import { type BodyEnd, type BodyGuard, discardBody, FencedBody } from './fenced-body.ts';

/** How an event stream went that its peer ended, or that broke a bound. */
export interface StreamEnd {
  readonly livedMs: number;
  readonly broughtMessage: boolean;
  readonly retryMs: number | undefined;
  readonly lastEventId: string | undefined;
}

/** What the owner is told, in this order. */
export interface RequestObserver {
  /** The status has come. */
  onAnswer?(status: number): void;
  /** No status will come: the peer could not be reached. */
  onFailure?(): void;
  /** Nothing of the request is left. `end`: it was an event stream, and its peer ended it. */
  onOver(end: StreamEnd | undefined): void;
}

/** What is to be sent, and under which bounds. */
export interface RequestPlan {
  readonly fetch: FetchLike;
  readonly url: string | URL;
  readonly init: RequestInit | undefined;
  /** Whether it is a GET for an event stream: the transport asks again when such a one rejects. */
  readonly asksForEvents: boolean;
  readonly maxMessageBytes: number;
  readonly clock: Clock;
  /** Follows `init.signal`. Shared by the requests of a fence. */
  readonly aborts: AbortFanout;
  readonly observer: RequestObserver;
}

interface Waiter {
  readonly resolve: (response: Response) => void;
  readonly reject: (reason: unknown) => void;
}

/** All that the pending fetch holds. Emptied when the request is over. */
interface Link {
  request: FencedRequest | undefined;
}

/**
 * What the fetch below is aborted with, whatever the caller is told. One for all, because whoever
 * ignores the abort keeps the signal, the signal its reason, and an error whose stack nobody read
 * the functions on it, with all that they see. Measured with a reason of its own for each session:
 * 400 of 400 clients and transports were never collected; with this one, 2 of them.
 */
const ABANDONED = new DOMException('The request was abandoned', 'AbortError');

/** Statuses whose answer we hand out without a body. The first three can't have one by law. */
const BODILESS: ReadonlySet<number> = new Set([204, 205, 304, 202]);

/** One request under way. */
export class FencedRequest {
  /** Whether a rejection would make the transport ask again: then an abort never rejects it. */
  readonly asksForEvents: boolean;

  readonly #plan: RequestPlan;
  readonly #controller = new AbortController();
  readonly #link: Link = { request: this };
  /** Who waits for the status; undefined once told, or let down. */
  #waiter: Waiter | undefined;
  #body: FencedBody | undefined;
  #scanner: EventStreamScanner | undefined;
  #bodyBeganAt = 0;

  readonly #onCallerAbort = (): void => this.abandon(this.#plan.init?.signal?.reason);

  constructor(plan: RequestPlan, waiter: Waiter) {
    this.#plan = plan;
    this.#waiter = waiter;
    this.asksForEvents = plan.asksForEvents;
  }

  /** Hands the request to fetch, in this turn. Called once. */
  send(): void {
    const { fetch, url, init } = this.#plan;
    // No AbortSignal.any: on Node 20 and 22 it leaks on a long-lived signal.
    this.#plan.aborts.follow(init?.signal, this.#onCallerAbort);
    const own = { ...init, signal: this.#controller.signal };
    FencedRequest.#follow(invoke(fetch, url, own), this.#link);
  }

  /** Static, so that the closures hold the link and not the request. */
  static #follow(sent: Promise<Response>, link: Link): void {
    sent.then(
      (response) => {
        if (link.request === undefined) discardBody(response.body);
        else link.request.#onResponse(response);
      },
      (error: unknown) => {
        if (link.request !== undefined) link.request.#onError(error);
      },
    );
  }

  /** Ends the request now. Whoever waits for its status or reads its body gets `reason`. */
  abandon(reason: unknown): void {
    if (this.#isOver) return;
    const waiter = this.asksForEvents ? undefined : this.#waiter;
    const body = this.#body;
    this.#end(undefined);
    this.#controller.abort(ABANDONED);
    body?.fail(reason);
    waiter?.reject(reason);
  }

  /**
   * Ends the request now, because the call that it serves was cancelled, or answered. The reader of
   * an event stream is not told: the SDK would take it as a reason to resume the stream.
   */
  cutCall(reason: unknown): void {
    if (this.#scanner === undefined) this.abandon(reason);
    else this.#body?.fallSilent();
  }

  /** From now on nobody is told the status, should it still come. What is read stays readable. */
  park(): void {
    this.#waiter = undefined;
  }

  get #isOver(): boolean {
    return this.#link.request === undefined;
  }

  #onError(error: unknown): void {
    const waiter = this.#waiter;
    this.#plan.observer.onFailure?.();
    this.#end(undefined);
    waiter?.reject(error);
  }

  #onResponse(response: Response): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter === undefined) {
      discardBody(response.body);
      this.abandon(undefined);
      return;
    }
    this.#plan.observer.onAnswer?.(response.status);
    try {
      waiter.resolve(this.#wrap(response));
    } catch (error) {
      discardBody(response.body);
      this.abandon(error);
      waiter.reject(error);
    }
  }

  #wrap(response: Response): Response {
    if (response.body === null || BODILESS.has(response.status)) {
      discardBody(response.body);
      this.#end(undefined);
      this.#controller.abort(ABANDONED);
      return copyOf(response, null);
    }
    const body = new FencedBody(response.body, this.#guardOf(response), (end) =>
      this.#onBodyOver(end),
    );
    this.#body = body;
    this.#bodyBeganAt = this.#plan.clock.now();
    return copyOf(response, body.stream);
  }

  #guardOf(response: Response): BodyGuard {
    const { asksForEvents, maxMessageBytes } = this.#plan;
    const type = response.headers.get('content-type') ?? '';
    // The SDK reads whatever a GET brings as an event stream, so its type does not decide there.
    if ((asksForEvents && response.ok) || /^\s*text\/event-stream\b/i.test(type)) {
      this.#scanner = new EventStreamScanner(maxMessageBytes);
      return this.#scanner;
    }
    return new LengthGuard(maxMessageBytes);
  }

  #onBodyOver(end: BodyEnd): void {
    if (this.#isOver) return;
    this.#end(this.#streamEnd(end));
    // An aborted fetch frees its socket at once; a cancelled body need not.
    if (end !== 'ended' && end !== 'failed') this.#controller.abort(ABANDONED);
  }

  #streamEnd(end: BodyEnd): StreamEnd | undefined {
    const scanner = this.#scanner;
    if (scanner === undefined || end === 'cut' || end === 'cancelled') return undefined;
    return {
      livedMs: this.#plan.clock.now() - this.#bodyBeganAt,
      // A stream that breaks a bound must not come back at once, whatever it brought before.
      broughtMessage: scanner.broughtMessage && end !== 'refused',
      retryMs: scanner.retryMs,
      lastEventId: scanner.lastEventId,
    };
  }

  /** The one way to be over: nothing below and no signal reaches us any more. */
  #end(end: StreamEnd | undefined): void {
    this.#link.request = undefined;
    this.#waiter = undefined;
    const { aborts, init, observer } = this.#plan;
    aborts.unfollow(init?.signal, this.#onCallerAbort);
    observer.onOver(end);
  }
}

/** Bounds a body that is one message. */
class LengthGuard implements BodyGuard {
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  take(chunk: Uint8Array): Uint8Array {
    this.#bytes += chunk.byteLength;
    if (this.#bytes > this.#maxBytes) throw new MessageTooLargeError(this.#maxBytes);
    return chunk;
  }
}

/** Calls `fetch` in this turn; what it throws becomes a rejection. */
async function invoke(fetch: FetchLike, url: string | URL, init: RequestInit): Promise<Response> {
  return fetch(url, init);
}

/** An answer like `response` but for its body, with what a constructor can't set set as well. */
function copyOf(response: Response, body: ReadableStream<Uint8Array> | null): Response {
  const { status, statusText, headers } = response;
  const copy = new Response(body, { status, statusText, headers });
  for (const name of ['url', 'redirected', 'type'] as const) {
    Object.defineProperty(copy, name, { value: response[name] });
  }
  return copy;
}
