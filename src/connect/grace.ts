// The moment that calls in flight have once their session is lost: a server that forgot it answers
// each of them, and each answer tells that one call was not executed. Sits in the session's fate;
// knows no calls.

import type { Clock, Timer } from '../clock.ts';

/** The moment is waited for in this many steps. */
const STEPS = 10;
/** A server that goes on answering is heard out, but not for longer than this many moments. */
const MOMENTS_MAX = 5;

/**
 * Runs `onOver` when nothing was heard for `graceMs`, or all in all for five times that. A step
 * that comes late counts as one: after a process was held up, what the server said meanwhile is
 * still to be read, and timers run before that.
 */
export class Grace {
  readonly #clock: Clock;
  readonly #stepMs: number;
  readonly #onOver: () => void;
  #timer: Timer;
  /** Steps since something was heard, and in all. */
  #silent = 0;
  #steps = 0;

  constructor(clock: Clock, graceMs: number, onOver: () => void) {
    this.#clock = clock;
    this.#stepMs = graceMs / STEPS;
    this.#onOver = onOver;
    this.#timer = this.#start();
  }

  /** One of those who wait has heard. */
  heard(): void {
    this.#silent = 0;
  }

  /** Nobody waits any more. */
  stop(): void {
    this.#clock.clearTimeout(this.#timer);
  }

  #start(): Timer {
    return this.#clock.setTimeout(() => this.#step(), this.#stepMs);
  }

  #step(): void {
    this.#silent += 1;
    this.#steps += 1;
    // Bound: `#steps` only grows.
    if (this.#silent >= STEPS || this.#steps >= STEPS * MOMENTS_MAX) this.#onOver();
    else this.#timer = this.#start();
  }
}
