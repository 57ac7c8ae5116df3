// One deadline for however many teardowns: `AbortSignal.timeout` with a single listener that fans out
// (10,000 listeners on one signal cost hundreds of ms and a warning). Its marks end the rungs that
// are still waited for: half the time for the DELETE, a quarter for each close.

import type { Clock, Timer } from './clock.ts';
import type { Pacer } from './pacer.ts';
import type { Teardown } from './teardown.ts';

/**
 * For how long after its start a deadline takes teardowns in, which lose that much of their time: at
 * most a hundredth of it, so that a `close()` that takes some slices of the pace makes one deadline.
 */
const SHARED_PART = 0.01;

export class TeardownDeadline {
  readonly #clock: Clock;
  readonly #pacer: Pacer;
  readonly #signal: AbortSignal;
  readonly #timers: readonly Timer[];
  /** The teardowns that have not finished. When none is left, every timer is cleared. */
  readonly #running = new Set<Teardown>();
  readonly #startedAt: number;
  readonly #sharedForMs: number;
  #isStopped = false;

  /** The clock starts now. */
  constructor(clock: Clock, pacer: Pacer, closeTimeoutMs: number) {
    this.#clock = clock;
    this.#pacer = pacer;
    this.#startedAt = clock.now();
    this.#sharedForMs = closeTimeoutMs * SHARED_PART;
    this.#signal = clock.timeoutSignal(closeTimeoutMs);
    this.#signal.addEventListener('abort', this.#expire, { once: true });
    // A timeout signal does not keep the process alive (hazard 16): these timers do, so that nobody
    // awaits a close that an empty event loop has forgotten.
    this.#timers = [
      clock.setTimeout(() => this.#forAll((one) => one.endTerminate()), closeTimeoutMs / 2),
      clock.setTimeout(() => this.#forAll((one) => one.endClientClose()), closeTimeoutMs * 0.75),
      clock.setTimeout(this.#expire, closeTimeoutMs),
    ];
  }

  /** Whether a teardown that begins at `now` may share this deadline. */
  isOpenAt(now: number): boolean {
    return !this.#isStopped && now - this.#startedAt < this.#sharedForMs;
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
    for (const teardown of this.#running) this.#pacer.run(() => act(teardown));
  }

  #stop(): void {
    this.#isStopped = true;
    for (const timer of this.#timers) this.#clock.clearTimeout(timer);
    this.#signal.removeEventListener('abort', this.#expire);
  }
}
