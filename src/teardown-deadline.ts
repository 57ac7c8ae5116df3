// One deadline for however many teardowns: `AbortSignal.timeout` with a single listener that fans
// out (10,000 listeners on one signal cost hundreds of ms and a warning). Its marks end the rungs
// that are still waited for: half the time for the DELETE, a quarter for each close.

import type { Clock, Timer } from './clock.ts';
import type { Pacer } from './pacer.ts';
import type { Teardown } from './teardown.ts';

export class TeardownDeadline {
  readonly #clock: Clock;
  readonly #pacer: Pacer;
  readonly #signal: AbortSignal;
  readonly #timers: readonly Timer[];
  /** The teardowns that have not finished. When none is left, every timer is cleared. */
  readonly #running = new Set<Teardown>();
  /** Until when teardowns may join. What they come late is taken off their time. */
  readonly #openUntil: number;
  #isStopped = false;

  /** The clock starts now: the deadline is in `timeoutMs`. Teardowns may join for `sharedForMs`. */
  constructor(
    clock: Clock,
    pacer: Pacer,
    times: { readonly timeoutMs: number; readonly sharedForMs: number },
  ) {
    const { timeoutMs, sharedForMs } = times;
    this.#clock = clock;
    this.#pacer = pacer;
    this.#openUntil = clock.now() + sharedForMs;
    this.#signal = clock.timeoutSignal(timeoutMs);
    this.#signal.addEventListener('abort', this.#expire, { once: true });
    // A timeout signal does not keep the process alive (hazard 16): these timers do, so that nobody
    // awaits a close that an empty event loop has forgotten.
    this.#timers = [
      clock.setTimeout(() => this.#forAll((one) => one.endTerminate()), timeoutMs / 2),
      clock.setTimeout(() => this.#forAll((one) => one.endClientClose()), timeoutMs * 0.75),
      clock.setTimeout(this.#expire, timeoutMs),
    ];
  }

  /** Whether a teardown that begins at `now` may share this deadline. */
  isOpenAt(now: number): boolean {
    return !this.#isStopped && now < this.#openUntil;
  }

  add(teardown: Teardown): void {
    this.#running.add(teardown);
  }

  remove(teardown: Teardown): void {
    this.#running.delete(teardown);
    if (this.#running.size === 0) this.#stop();
  }

  readonly #expire = (): void => {
    this.#stop();
    this.#forAll((teardown) => teardown.expire());
  };

  #forAll(act: (teardown: Teardown) => void): void {
    // Order: newest first, so that those without a permit to terminate leave the queue before the
    // permits of the others come back; else all of them would send a DELETE in its last moment.
    for (const teardown of [...this.#running].reverse()) this.#pacer.run(() => act(teardown));
  }

  #stop(): void {
    this.#isStopped = true;
    for (const timer of this.#timers) this.#clock.clearTimeout(timer);
    this.#signal.removeEventListener('abort', this.#expire);
  }
}
