// A `fetch` over our own requests, for a transport that speaks no other language: the SDK's one of
// the older HTTP+SSE protocol. It takes the URL, the method, the body and the signal; headers,
// credentials, redirects and the meaning of failures are ours. Knows no fence and no session.

import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { AskHeaders } from '../target.ts';
import type { AnswerHead, AnswerReader } from './answer-reader.ts';
import { ExpiryList } from './expiry-list.ts';
import { HttpRequest, mediaTypeOf } from './http-request.ts';
import { cutShort, noResponse } from './request-failure.ts';
import type { Wire } from './wire.ts';

/** What the requests are made with. */
export interface WireFetchOptions {
  /** GETs go over it, each for an event stream. */
  readonly streams: Wire;
  /** POSTs go over it. */
  readonly posts: Wire;
  /** The headers of the POST with this body. `undefined`: the session's. */
  readonly headersOf: (body: string) => AskHeaders | undefined;
  /** Asked just before a request leaves: the reason why it may not, any more. */
  readonly mayNotLeave: () => Error | undefined;
  /**
   * An event stream is over, whoever ended it but its reader, who sees it end, after this, as if
   * all had gone well: nothing that came before gets lost.
   */
  readonly onStreamOver: (error: unknown) => void;
  /** Asked for each piece of an event stream: why it is too much. The stream is over then. */
  readonly tooMuch: (chunk: Buffer) => Error | undefined;
}

/** How long the answer to a message may stay open once its status has come. */
const LINGER_MS = 100;

const STREAM_HEADERS = { accept: 'text/event-stream' } as const;
const POST_HEADERS = {
  accept: 'application/json, text/event-stream',
  'content-type': 'application/json',
} as const;

/** See the file header. Rejects with an `HttpRequestError` for whatever is no success. */
export function createWireFetch(options: WireFetchOptions): FetchLike {
  const { streams, posts, headersOf, mayNotLeave } = options;
  const lingering = new ExpiryList<Posted>(posts.clock, LINGER_MS, (posted) => posted.onEnd());
  return (_url, init) =>
    new Promise((resolve, reject) => {
      const waiter: Waiter = { resolve, reject };
      const body = init?.body;
      const isPost = typeof body === 'string';
      const reader = isPost ? new Posted(waiter, lingering) : new Streamed(waiter, options);
      const plan = isPost
        ? { method: 'POST' as const, body, own: POST_HEADERS, headers: headersOf(body) }
        : { method: 'GET' as const, own: STREAM_HEADERS };
      const request = new HttpRequest(isPost ? posts : streams, { ...plan, mayNotLeave }, reader);
      reader.request = request;
      // The fence's own signal, one for each request: nothing stays behind on it.
      init?.signal?.addEventListener('abort', () => request.abort(), { once: true });
      request.send();
    });
}

interface Waiter {
  readonly resolve: (response: Response) => void;
  readonly reject: (error: unknown) => void;
}

/** The answer to a message: no more than its status matters. */
class Posted implements AnswerReader {
  /** Set before it is sent. */
  request: HttpRequest | undefined;
  readonly #waiter: Waiter;
  readonly #lingering: ExpiryList<Posted>;
  #isTaken = false;

  constructor(waiter: Waiter, lingering: ExpiryList<Posted>) {
    this.#waiter = waiter;
    this.#lingering = lingering;
  }

  // Told at the end of the answer, because whoever is told cuts what is left of it.
  onHead(): void {
    this.#isTaken = true;
    this.#lingering.add(this);
  }

  onData(): void {
    // The response comes on the event stream.
  }

  onEnd(): void {
    this.#lingering.delete(this);
    this.request?.abort();
    this.#waiter.resolve(new Response(null, { status: 202 }));
  }

  onFailure(error: unknown): void {
    if (this.#isTaken) this.onEnd();
    else this.#waiter.reject(error);
  }
}

/** The answer to a GET, as a body that is fed from it. */
class Streamed implements AnswerReader {
  /** Set before it is sent. */
  request: HttpRequest | undefined;
  readonly #waiter: Waiter;
  readonly #options: WireFetchOptions;
  /** Defined from the head on. */
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(waiter: Waiter, options: WireFetchOptions) {
    this.#waiter = waiter;
    this.#options = options;
  }

  onHead(head: AnswerHead): void {
    const type = mediaTypeOf(head);
    if (head.status !== 200 || type !== 'text/event-stream') {
      this.request?.abort();
      const what = `HTTP ${head.status} with ${type ?? 'no content'} to a GET`;
      this.onFailure(noResponse('UNEXPECTED_CONTENT', what));
      return;
    }
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#body = controller;
      },
      cancel: () => this.request?.abort(),
    });
    this.#waiter.resolve(new Response(body, { headers: { 'content-type': type } }));
  }

  onData(chunk: Buffer): void {
    const error = this.#options.tooMuch(chunk);
    if (error === undefined) {
      this.#body?.enqueue(chunk);
    } else {
      this.request?.abort();
      this.onFailure(error);
    }
  }

  onEnd(): void {
    this.onFailure(cutShort('the server ended it'));
  }

  onFailure(error: unknown): void {
    this.#options.onStreamOver(error);
    if (this.#body === undefined) this.#waiter.reject(error);
    else this.#body.close();
  }
}
