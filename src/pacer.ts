// Runs many small pieces of work without holding the event loop: in order, in slices of 10 ms, with
// a yield between slices. Tearing down 2,000 sessions in one go would block the process for over a
// second (hazard 13); paced, others wait for one slice at most.

import type { Clock } from './clock.ts';

/** How long the pacer works before it lets others run. */
const SLICE_MS = 10;

export class Pacer {
  readonly #clock: Clock;
  #queue: (() => void)[] = [];
  /** Index of the next piece in `#queue`. */
  #next = 0;
  /** While a slice is open, work runs at once until this instant. */
  #sliceEndsAt = 0;
  #isSliceOpen = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Runs `work` now if the present slice has time left and nobody is ahead of it, else in its turn.
   */
  run(work: () => void): void {
    if (!this.#isSliceOpen) this.#openSlice();
    if (this.#next === this.#queue.length && this.#clock.now() < this.#sliceEndsAt) work();
    else this.#queue.push(work);
  }

  #openSlice(): void {
    this.#isSliceOpen = true;
    this.#sliceEndsAt = this.#clock.now() + SLICE_MS;
    this.#clock.yield(() => this.#continue());
  }

  #continue(): void {
    this.#isSliceOpen = false;
    if (this.#next === this.#queue.length) return;
    this.#openSlice();
    // Bound: each pass takes one piece off the queue, and the slice ends.
    do {
      const work = this.#queue[this.#next];
      this.#next += 1;
      work?.();
    } while (this.#next < this.#queue.length && this.#clock.now() < this.#sliceEndsAt);
    if (this.#next === this.#queue.length) {
      this.#queue = [];
      this.#next = 0;
    }
  }
}
