// A clock for the fuzzer: time runs faster than it does, so that an episode of a third of a second
// sees seconds of reconnects, and every timer that is pending is counted.

import type { Clock, Timer } from 'mcp-session-pool';

/** See the file header. */
export class HurriedClock implements Clock {
  /** How many of its seconds pass in one. */
  readonly speed: number;
  readonly #pending = new Set<Timer>();

  constructor(speed: number) {
    this.speed = speed;
  }

  /** Timers that neither fired nor were cleared. */
  get pendingTimers(): number {
    return this.#pending.size;
  }

  now(): number {
    return performance.now() * this.speed;
  }

  setTimeout(run: () => void, delayMs: number): Timer {
    if (!(delayMs >= 0)) throw new RangeError(`A timer of ${delayMs} ms`);
    const waitMs = Math.min(delayMs, 2 ** 31 - 1) / this.speed;
    const timer = setTimeout(() => {
      this.#pending.delete(timer);
      run();
    }, waitMs);
    this.#pending.add(timer);
    return timer;
  }

  clearTimeout(timer: Timer): void {
    this.#pending.delete(timer);
    clearTimeout(timer as NodeJS.Timeout);
  }

  timeoutSignal(delayMs: number): AbortSignal {
    return AbortSignal.timeout(Math.ceil(delayMs / this.speed));
  }

  yield(run: () => void): void {
    setImmediate(run);
  }
}
