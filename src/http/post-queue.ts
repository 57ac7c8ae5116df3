// The messages that get no response: notifications, and the answers to what the server asked. Sends
// them in order, few at a time, and gives each a deadline: a server that takes none of them costs a
// fixed number of sockets, however many it asks for.

import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import type { AskHeaders, HeaderRecord } from '../target.ts';
import type { AnswerHead, AnswerReader } from './answer-reader.ts';
import { ExpiryList } from './expiry-list.ts';
import { HttpRequest } from './http-request.ts';
import { HttpRequestError } from './http-request-error.ts';
import type { Wire } from './wire.ts';

/** POSTs of one session under way at once. */
const RUNNING_MAX = 16;
/** POSTs of one session that wait for their turn, and as many last words. */
const WAITING_MAX = 1_024;
/** How long the empty answer to a message may stay open once its status has come. */
const LINGER_MS = 100;

const HEADERS = {
  accept: 'application/json, text/event-stream',
  'content-type': 'application/json',
} as const;

/** What a queue is made with. */
export interface PostQueueOptions {
  readonly wire: Wire;
  /** From `post` to the status of the answer. */
  readonly acceptTimeoutMs: number;
  /** Why nothing may leave any more; asked for each message but the last words. */
  readonly mayNotLeave: () => Error | undefined;
}

/** How one message is to be sent. */
export interface PostOptions {
  readonly headers?: AskHeaders | undefined;
  /** Of this message alone. */
  readonly ownHeaders?: HeaderRecord | undefined;
  /** Sent also when nothing else may leave any more, and before what waits. */
  readonly isLastWord?: boolean | undefined;
}

/** See the file header. */
export class PostQueue {
  readonly #options: PostQueueOptions;
  readonly #running = new Set<Post>();
  /** Oldest first. */
  #waiting: Post[] = [];
  /** Last words that wait, before everything else. Oldest first. */
  #lastWords: Post[] = [];
  readonly #unaccepted: ExpiryList<Post>;
  readonly #lingering: ExpiryList<Post>;

  constructor(options: PostQueueOptions) {
    this.#options = options;
    const { wire, acceptTimeoutMs } = options;
    this.#unaccepted = new ExpiryList(wire.clock, acceptTimeoutMs, (post) => post.fail(notTaken()));
    this.#lingering = new ExpiryList(wire.clock, LINGER_MS, (post) => post.end());
  }

  /** How many messages are on their way or wait. */
  get size(): number {
    return this.#running.size + this.#waiting.length + this.#lastWords.length;
  }

  /**
   * Resolves when the server has taken the message. Rejects when it refuses, or doesn't in time.
   */
  post(message: JSONRPCMessage, options: PostOptions = {}): Promise<void> {
    const { headers, ownHeaders, isLastWord = false } = options;
    const queue = isLastWord ? this.#lastWords : this.#waiting;
    if (queue.length >= WAITING_MAX) return Promise.reject(saturated());
    const { wire, mayNotLeave } = this.#options;
    return new Promise((resolve, reject) => {
      const post: Post = new Post({
        resolve,
        reject,
        onAccepted: () => {
          this.#unaccepted.delete(post);
          this.#lingering.add(post);
        },
        onOver: () => this.#onOver(post),
      });
      post.request = new HttpRequest(
        wire,
        {
          method: 'POST',
          body: JSON.stringify(message),
          own: ownHeaders === undefined ? HEADERS : { ...ownHeaders, ...HEADERS },
          headers,
          mayNotLeave: isLastWord ? undefined : mayNotLeave,
        },
        post,
      );
      this.#unaccepted.add(post);
      queue.push(post);
      this.#startWaiting();
    });
  }

  /** Rejects everything that waits or is on its way, and frees its sockets. */
  abort(reason: unknown): void {
    const posts = [...this.#running, ...this.#lastWords, ...this.#waiting];
    this.#waiting = [];
    this.#lastWords = [];
    for (const post of posts) post.fail(reason);
    this.#unaccepted.clear();
    this.#lingering.clear();
  }

  /** Bound: a message leaves the queues with each turn of the loop. */
  #startWaiting(): void {
    while (this.#running.size < RUNNING_MAX) {
      const next = this.#lastWords.shift() ?? this.#waiting.shift();
      if (next === undefined) return;
      this.#running.add(next);
      next.request?.send();
    }
  }

  #onOver(post: Post): void {
    this.#unaccepted.delete(post);
    this.#lingering.delete(post);
    if (!this.#running.delete(post)) {
      this.#waiting = this.#waiting.filter((each) => each !== post);
      this.#lastWords = this.#lastWords.filter((each) => each !== post);
      return;
    }
    // Order: a microtask later. By then the connection can take the next message, and what expires
    // in this turn is not sent first.
    queueMicrotask(() => this.#startWaiting());
  }
}

interface PostEvents {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  readonly onAccepted: () => void;
  readonly onOver: () => void;
}

/** One message under way. Over when its request is. */
class Post implements AnswerReader {
  /** Set before it is sent. */
  request: HttpRequest | undefined;
  readonly #events: PostEvents;
  #isOver = false;

  constructor(events: PostEvents) {
    this.#events = events;
  }

  onHead(_head: AnswerHead): void {
    this.#events.onAccepted();
    this.#events.resolve();
  }

  onData(): void {
    // The answer to a message without response says no more than its status.
  }

  onEnd(): void {
    this.end();
  }

  onFailure(error: unknown): void {
    this.fail(error);
  }

  /** Ends it. What it resolved or rejected with before stands. */
  fail(error: unknown): void {
    this.#events.reject(error);
    this.end();
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.request?.abort();
    this.#events.onOver();
  }
}

function notTaken(): HttpRequestError {
  const message = 'The server did not take the message in time';
  return new HttpRequestError('TIMEOUT', message, { execution: 'unknown', sessionLost: false });
}

function saturated(): HttpRequestError {
  const message = `More than ${WAITING_MAX} messages wait for the server to take them`;
  const details = { execution: 'not-executed', sessionLost: false } as const;
  return new HttpRequestError('SATURATED', message, details);
}
