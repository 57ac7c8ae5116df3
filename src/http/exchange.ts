// One HTTP request and its answer on an undici dispatcher: follows redirects within the origin,
// decodes the body, tells how far the request got, and frees the socket the moment nobody wants the
// answer any more. Knows nothing of MCP, sessions or credentials.

import '../host-fetch-guard.ts';
import type { Dispatcher } from 'undici';
import type { AnswerHead, AnswerHeaders, AnswerReader } from './answer-reader.ts';
import {
  type ContentDecoder,
  createContentDecoder,
  type DecodedReader,
} from './content-decoder.ts';
import { MAX_REDIRECTS, redirectToFollow } from './redirects.ts';

/** What is to be sent. */
export interface ExchangePlan {
  readonly url: URL;
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** May throw: then the exchange fails with what it threw. */
  readonly dispatcherFor: (origin: string) => Dispatcher;
}

/**
 * How far a request got. `not-written`: no byte of it can have reached the server. `written`: some
 * may have. `answered`: a final status (not 1xx, not a redirect that was followed) has come. A
 * server that redirects has executed nothing, so each hop begins at `not-written` again.
 */
export type ExchangeProgress = 'not-written' | 'written' | 'answered';

/**
 * What every request is aborted with. One for all: undici keeps the reason as long as anybody keeps
 * the request, and an error holds the functions on its stack, with all that they see.
 */
const ABANDONED = new DOMException('The request was abandoned', 'AbortError');

/** See the file header. */
export class Exchange {
  readonly #flight: Flight;

  constructor(plan: ExchangePlan, reader: AnswerReader) {
    this.#flight = new Flight(plan, reader);
  }

  get progress(): ExchangeProgress {
    return this.#flight.progress;
  }

  /** Sends. Called once. The reader may be told of a failure before this returns. */
  send(): void {
    this.#flight.send();
  }

  /** Ends it: the reader hears nothing any more, and the socket is freed. Idempotent. */
  abort(): void {
    this.#flight.end();
  }
}

/** The state of an exchange, and what its hops tell it. Apart, to keep its surface small. */
class Flight implements DecodedReader {
  progress: ExchangeProgress = 'not-written';
  /** `undefined` once nothing is to be sent any more: a stream must not hold its request. */
  #plan: ExchangePlan | undefined;
  /** `undefined` once the exchange is over: nobody is told anything any more. */
  #reader: AnswerReader | undefined;
  /** Where the request of the current hop goes. */
  #url: URL;
  /** The request under way: the last of a row of redirects. */
  #hop: Hop | undefined;
  /** Redirects so far. At most `MAX_REDIRECTS`. */
  #followed = 0;
  /** As the head names them. `undefined`: none, or `#decoder` is there. */
  #codings: string | undefined;
  /** Made with the first byte of a coded body: bodies without one are never refused. */
  #decoder: ContentDecoder | undefined;

  constructor(plan: ExchangePlan, reader: AnswerReader) {
    this.#plan = plan;
    this.#reader = reader;
    this.#url = plan.url;
  }

  send(): void {
    const plan = this.#plan;
    if (plan === undefined) return;
    const url = this.#url;
    const { origin } = url;
    const hop = new Hop(this);
    this.#hop = hop;
    try {
      const dispatcher = plan.dispatcherFor(origin);
      if (!hop.isWanted) return;
      dispatcher.dispatch(
        {
          origin,
          path: url.pathname + url.search,
          method: plan.method,
          headers: plan.headers,
          body: plan.body ?? null,
          // Streams may be silent for longer than any timeout. A call is bounded by its own.
          headersTimeout: 0,
          bodyTimeout: 0,
        },
        hop,
      );
    } catch (error) {
      if (hop.isWanted) this.onFailure(error);
    }
  }

  /** Everything is let go of, and the socket freed. Returns who is to be told of the end, once. */
  end(): AnswerReader | undefined {
    const reader = this.#reader;
    this.#reader = undefined;
    this.#plan = undefined;
    this.#decoder?.abort();
    this.#decoder = undefined;
    this.#hop?.abandon();
    this.#hop = undefined;
    return reader;
  }

  /** The first byte is about to be written. */
  onStart(): void {
    if (this.progress !== 'answered') this.progress = 'written';
    // Undici does so when a request that was pipelined behind this one is aborted.
    else this.onFailure(new Error('The dispatcher sent the request again in mid-answer'));
  }

  onHead(status: number, headers: AnswerHeaders): void {
    if (status < 200) return;
    const head = { status, headers };
    if (this.progress === 'answered') {
      this.onFailure(new Error('The dispatcher told of a second answer'));
    } else if (!this.#follow(head)) {
      this.progress = 'answered';
      this.#plan = undefined;
      this.#codings = codingsOf(headers);
      this.#reader?.onHead(head);
    }
  }

  onBody(chunk: Buffer): void {
    // A body before its head: only a dispatcher that is broken does that, here and in `onBodyEnd`.
    if (this.progress !== 'answered') return this.onFailure(bodyWithoutHead());
    if (this.#codings !== undefined && !this.#openDecoder(this.#codings)) return;
    if (this.#decoder === undefined) this.onData(chunk);
    else if (!this.#decoder.write(chunk)) this.#hop?.pause();
  }

  onBodyEnd(): void {
    if (this.progress !== 'answered') this.onFailure(bodyWithoutHead());
    else if (this.#decoder === undefined) this.onEnd();
    else this.#decoder.end();
  }

  onError(error: unknown): void {
    if (this.#decoder === undefined) this.onFailure(error);
    else this.#decoder.cut(error);
  }

  // What is left is told by the decoder too.

  onData(chunk: Buffer): void {
    this.#reader?.onData(chunk);
  }

  onEnd(): void {
    this.end()?.onEnd();
  }

  onFailure(error: unknown): void {
    this.end()?.onFailure(error);
  }

  onDrain(): void {
    this.#hop?.resume();
  }

  /** Goes where `head` redirects to. False: it is no redirect, or none to follow. */
  #follow(head: AnswerHead): boolean {
    const { method } = this.#plan ?? {};
    const hop = this.#hop;
    if (method === undefined || hop === undefined || this.#followed >= MAX_REDIRECTS) return false;
    const target = redirectToFollow(head, this.#url, method);
    if (target === undefined) return false;
    this.#followed += 1;
    this.#url = target;
    this.progress = 'not-written';
    hop.fallSilent();
    // Bound: a redirect whose end came with its head keeps its connection; any other is cut, so
    // that a body without end holds nothing.
    queueMicrotask(() => {
      hop.abandon();
      this.send();
    });
    return true;
  }

  /** False: the exchange has failed. */
  #openDecoder(codings: string): boolean {
    this.#codings = undefined;
    try {
      this.#decoder = createContentDecoder(codings, this);
      return true;
    } catch (error) {
      this.onFailure(error);
      return false;
    }
  }
}

/** What undici is given: one request of an exchange. Holds nothing of it once it is over. */
class Hop implements Dispatcher.DispatchHandler {
  /** `undefined` once nobody wants to know any more. */
  #flight: Flight | undefined;
  /** There from the first byte written until the end. */
  #controller: Dispatcher.DispatchController | undefined;

  constructor(flight: Flight) {
    this.#flight = flight;
  }

  get isWanted(): boolean {
    return this.#flight !== undefined;
  }

  /** Tells nothing any more. */
  fallSilent(): void {
    this.#flight = undefined;
  }

  /** Tells nothing any more, and frees the socket. Idempotent. */
  abandon(): void {
    const controller = this.#controller;
    this.#flight = undefined;
    this.#controller = undefined;
    // A request that is still queued can't be reached; it is aborted when its turn comes.
    controller?.abort(ABANDONED);
  }

  pause(): void {
    this.#controller?.pause();
  }

  resume(): void {
    this.#controller?.resume();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#flight === undefined) return controller.abort(ABANDONED);
    this.#controller = controller;
    this.#flight.onStart();
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: AnswerHeaders,
  ): void {
    this.#flight?.onHead(status, headers);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (chunk.length > 0) this.#flight?.onBody(chunk);
  }

  onResponseEnd(): void {
    this.#finish()?.onBodyEnd();
  }

  /** The controller of a request that never started is undefined, so none is taken here. */
  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#finish()?.onError(error);
  }

  /** Returns who is to be told of the end, once. There is nothing left to abort. */
  #finish(): Flight | undefined {
    const flight = this.#flight;
    this.#flight = undefined;
    this.#controller = undefined;
    return flight;
  }
}

/** The codings of the body; `undefined` for none, which is the common case. */
function codingsOf(headers: AnswerHeaders): string | undefined {
  const value = headers['content-encoding'];
  return typeof value === 'object' ? value.join(',') : value;
}

function bodyWithoutHead(): Error {
  return new Error('The dispatcher told of a body without an answer');
}
