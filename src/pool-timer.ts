// The one timer of a pool. It wakes the pool when something of any key is due, keeps the process
// alive only while somebody waits, and costs nothing while it is not moved forward.

import { type Clock, MAX_TIMER_MS, type Timer } from './clock.ts';

export class PoolTimer {
  readonly #clock: Clock;
  /** Does what is due, and says when the next thing is (`Infinity`: nothing). */
  readonly #onWake: (now: number) => number;
  #timer: Timer | undefined;
  /** When the timer fires: never after the first due instant of any key. */
  #wakeAt = Number.POSITIVE_INFINITY;
  #isReferenced = false;

  constructor(clock: Clock, onWake: (now: number) => number) {
    this.#clock = clock;
    this.#onWake = onWake;
  }

  /** Something is due at `at`: wake then at the latest. */
  lower(at: number): void {
    if (at >= this.#wakeAt) return;
    this.#arm(at);
  }

  /** Whether an empty event loop must wait for this timer. */
  reference(isReferenced: boolean): void {
    if (isReferenced === this.#isReferenced) return;
    this.#isReferenced = isReferenced;
    if (isReferenced) this.#timer?.ref();
    else this.#timer?.unref();
  }

  stop(): void {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wakeAt = Number.POSITIVE_INFINITY;
  }

  #arm(at: number): void {
    this.stop();
    if (at === Number.POSITIVE_INFINITY) return;
    const now = this.#clock.now();
    this.#wakeAt = at;
    // A later instant than a timer can hold: it wakes early, finds nothing due, and arms again.
    this.#timer = this.#clock.setTimeout(
      () => this.#wake(),
      Math.min(Math.ceil(at - now), MAX_TIMER_MS),
    );
    if (!this.#isReferenced) this.#timer.unref();
  }

  #wake(): void {
    this.#timer = undefined;
    this.#wakeAt = Number.POSITIVE_INFINITY;
    this.lower(this.#onWake(this.#clock.now()));
  }
}
