// Hands messages on in the order they came, and lets each notification be handled before the next
// message: the SDK runs notification handlers a microtask late but takes responses at once, so a
// response in the same packet would overtake the progress before it.

import type { JSONRPCMessage, RequestId } from '@modelcontextprotocol/sdk/types.js';
import { isResponse } from './json-rpc.ts';

/** Takes one message. May not throw. */
export type Deliver = (message: JSONRPCMessage, relatedRequestId: RequestId | undefined) => void;

/** See the file header. */
export class Inbox {
  readonly #deliver: Deliver;
  /** What came while a notification was being handled. Oldest first. */
  #waiting: { message: JSONRPCMessage; relatedRequestId: RequestId | undefined }[] = [];
  /**
   * The place of the next of them. Not `shift`: of 400,000, which is what a batch may hold, that
   * takes a minute.
   */
  #next = 0;
  /** A notification or request was handed on in this turn. */
  #isPaused = false;
  /** Runs once nothing waits any more. */
  #onEmpty: (() => void) | undefined;

  constructor(deliver: Deliver) {
    this.#deliver = deliver;
  }

  push(message: JSONRPCMessage, relatedRequestId: RequestId | undefined): void {
    if (this.#isPaused) this.#waiting.push({ message, relatedRequestId });
    else this.#hand(message, relatedRequestId);
  }

  /** Runs `run`, in this turn or soon, when all that came before has been handed on. Once. */
  afterAll(run: () => void): void {
    if (this.#isPaused) this.#onEmpty = run;
    else run();
  }

  /** Drops what waits. */
  clear(): void {
    this.#waiting = [];
    this.#next = 0;
    this.#onEmpty = undefined;
  }

  #hand(message: JSONRPCMessage, relatedRequestId: RequestId | undefined): void {
    this.#isPaused = !isResponse(message);
    this.#deliver(message, relatedRequestId);
    // Order: after the microtask in which the handler runs has been queued.
    if (this.#isPaused) queueMicrotask(() => this.#resume());
  }

  #resume(): void {
    this.#isPaused = false;
    // Bound: what has come. Each notification ends the loop, and goes on a microtask later.
    while (!this.#isPaused) {
      const next = this.#waiting[this.#next];
      if (next === undefined) return this.#empty();
      this.#next += 1;
      this.#hand(next.message, next.relatedRequestId);
    }
  }

  #empty(): void {
    const run = this.#onEmpty;
    this.clear();
    run?.();
  }
}
