// Calls that have been answered while their request is still open: a server may end it by itself
// within a short grace, which keeps the connection; then it is ended for it. One timer for all of
// them. Sits under the fence; knows no request, only ids.

import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { Clock, Timer } from '../clock.ts';

/** Long enough for an end that follows its answer, short for a socket that nobody reads. */
const GRACE_MS = 100;

/** See the file header. */
export class AnsweredCalls {
  readonly #clock: Clock;
  readonly #end: (requestId: RequestId) => void;
  /** By id, the instant at which the grace is over. Oldest first: the grace of all is the same. */
  readonly #dueAt = new Map<RequestId, number>();
  /** Runs only while there is something to end. Holds no process. */
  #timer: Timer | undefined;

  /** `end` is called once for each call whose grace ended. */
  constructor(clock: Clock, end: (requestId: RequestId) => void) {
    this.#clock = clock;
    this.#end = end;
  }

  /** Begins the grace of a call. */
  add(requestId: RequestId): void {
    if (this.#dueAt.has(requestId)) return;
    this.#dueAt.set(requestId, this.#clock.now() + GRACE_MS);
    if (this.#timer === undefined) this.#startTimer(GRACE_MS);
  }

  /**
   * The request of a call is over by itself. The timer stays, for the next call to use: on a busy
   * session one would be set and cleared per call otherwise.
   */
  delete(requestId: RequestId): void {
    this.#dueAt.delete(requestId);
  }

  /** Forgets every call. */
  clear(): void {
    this.#dueAt.clear();
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #startTimer(delayMs: number): void {
    // Rounded up: a timer that fires a fraction too early would have to be set once more.
    this.#timer = this.#clock.setTimeout(() => this.#onTimer(), Math.ceil(delayMs));
    this.#timer.unref();
  }

  #onTimer(): void {
    this.#timer = undefined;
    const now = this.#clock.now();
    for (const [requestId, dueAt] of this.#dueAt) {
      if (dueAt > now) {
        this.#startTimer(dueAt - now);
        return;
      }
      this.#dueAt.delete(requestId);
      this.#end(requestId);
    }
  }
}
