// Things that expire a fixed time after they were added, unless they are deleted before. One timer
// for all of them, for a busy session adds and deletes thousands a second. Knows nothing of what
// the things are.

import type { Clock, Timer } from '../clock.ts';

/** See the file header. */
export class ExpiryList<K> {
  readonly #clock: Clock;
  readonly #lifeMs: number;
  readonly #onExpired: (thing: K) => void;
  /**
   * The instant at which each expires. Oldest first: the life of all is the same. Made with the
   * first thing, for most sessions are idle.
   */
  #dueAt: Map<K, number> | undefined;
  /** Runs only while there is something to expire. Holds no process. */
  #timer: Timer | undefined;

  /** `onExpired` is called once for each thing whose life ended. */
  constructor(clock: Clock, lifeMs: number, onExpired: (thing: K) => void) {
    this.#clock = clock;
    this.#lifeMs = lifeMs;
    this.#onExpired = onExpired;
  }

  /** Begins the life of `thing`. A no-op while it is alive. */
  add(thing: K): void {
    this.#dueAt ??= new Map();
    if (this.#dueAt.has(thing)) return;
    this.#dueAt.set(thing, this.#clock.now() + this.#lifeMs);
    if (this.#timer === undefined) this.#startTimer(this.#lifeMs);
  }

  /**
   * Takes `thing` out. The timer stays, for the next thing to use: on a busy session one would be
   * set and cleared for each otherwise.
   */
  delete(thing: K): void {
    this.#dueAt?.delete(thing);
  }

  /** Forgets everything. */
  clear(): void {
    this.#dueAt = undefined;
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
    for (const [thing, dueAt] of this.#dueAt ?? []) {
      if (dueAt > now) {
        this.#startTimer(dueAt - now);
        return;
      }
      this.#dueAt?.delete(thing);
      this.#onExpired(thing);
    }
  }
}
