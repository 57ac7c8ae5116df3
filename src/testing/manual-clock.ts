// Time in the hands of a test: nothing is due until the test says so, everything pending can be
// counted, and synchronous work can be made to last (`burn`). Never touches real timers, but for
// one `setImmediate` per flush, which is how microtasks are known to have run out.

import type { Clock, Timer } from '../clock.ts';
import { MAX_TIMER_MS } from '../clock.ts';

const { setImmediate: startImmediate } = globalThis;

/** Whose timer it is: the pool's own, one behind a timeout signal, or a fake peer's. */
type Owner = 'pool' | 'signal' | 'peer';

class ManualTimer implements Timer {
  readonly dueAt: number;
  readonly run: () => void;
  readonly owner: Owner;
  isReferenced = true;

  constructor(owner: Owner, dueAt: number, run: () => void) {
    this.owner = owner;
    this.dueAt = dueAt;
    this.run = run;
  }

  ref(): this {
    this.isReferenced = true;
    return this;
  }

  unref(): this {
    this.isReferenced = false;
    return this;
  }
}

/** Flushes of one `settle`, timers of one `waitFor`. Bound: more is a loop that never ends. */
const MAX_ROUNDS = 10_000;

/**
 * A clock that stands still until the test moves it. For pools whose connector is a fake: sockets
 * and processes keep real time.
 *
 * @example
 * ```ts
 * const clock = new ManualClock();
 * const { connect } = hungConnector({ clock });
 * const pool = new SessionPool({ connector: connect, closeTimeoutMs: 5_000 }, { clock });
 * const lease = await clock.waitFor(pool.acquire({ url: 'https://tools.example/mcp' }));
 * const startedAt = clock.now();
 * const report = await clock.waitFor(pool.close()); // { sessions: 1, abandoned: 1, … }
 * clock.now() - startedAt; // 5,000, in no time
 * ```
 */
export class ManualClock implements Clock {
  /** Not 0, so that code which takes an instant for a flag is found out. */
  #now = 1_000;
  /** Pending timers, oldest first. */
  readonly #timers = new Set<ManualTimer>();
  /** What waits for the end of the turn. */
  #yields: (() => void)[] = [];
  /** Abort listeners on timeout signals that have not been removed. */
  signalListeners = 0;

  /** The present instant, in ms. Begins at 1,000. */
  now(): number {
    return this.#now;
  }

  /** As `Clock` says. Throws for a delay over 2^31-1 ms, which the real clock clamps. */
  setTimeout(run: () => void, delayMs: number): Timer {
    return this.#start('pool', run, delayMs);
  }

  clearTimeout(timer: Timer): void {
    this.#timers.delete(timer as ManualTimer);
  }

  timeoutSignal(delayMs: number): AbortSignal {
    const controller = new AbortController();
    const abort = (): void => controller.abort(new DOMException('timed out', 'TimeoutError'));
    this.#start('signal', abort, Math.ceil(delayMs)).unref();
    const { signal } = controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    const listeners = new Set<unknown>();
    signal.addEventListener = (type: string, listener: never, options?: never): void => {
      listeners.add(listener);
      this.signalListeners += 1;
      add(type, listener, options);
    };
    signal.removeEventListener = (type: string, listener: never): void => {
      if (listeners.delete(listener)) this.signalListeners -= 1;
      remove(type, listener);
    };
    return signal;
  }

  yield(run: () => void): void {
    this.#yields.push(run);
  }

  /** Runs `run` after `delayMs` for a fake peer: not counted among what the pool has pending. */
  later(delayMs: number, run: () => void): void {
    this.#start('peer', run, delayMs);
  }

  /** The pool's pending timers. */
  get pendingCount(): number {
    return this.#own().length;
  }

  /** Those of them that would keep a process alive. */
  get referencedCount(): number {
    return this.#own().filter((timer) => timer.isReferenced).length;
  }

  /** When the pool's next timer is due, in ms from now. `Infinity`: there is none. */
  get nextDueMs(): number {
    let first = Number.POSITIVE_INFINITY;
    // A loop: as arguments, 200,000 timers are more than the stack takes.
    for (const { dueAt } of this.#own()) first = Math.min(first, dueAt);
    return first - this.#now;
  }

  /** Makes synchronous work last: time passes, no timer fires. */
  burn(ms: number): void {
    this.#now += ms;
  }

  /** Fires what is due in this very turn, as a lagging event loop does: before all yields. */
  fireDue(): void {
    for (
      let next = this.#next();
      next !== undefined && next.dueAt <= this.#now;
      next = this.#next()
    ) {
      this.#timers.delete(next);
      next.run();
    }
  }

  /** Runs microtasks and yields until none is left. No time passes. */
  async settle(): Promise<void> {
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      await flushMicrotasks();
      if (this.#yields.length === 0) return;
      const due = this.#yields;
      this.#yields = [];
      for (const run of due) run();
    }
    throw new Error('the clock does not settle: something yields for ever');
  }

  /** Lets `ms` pass: timers fire in order, everything settles before each and after the last. */
  async advance(ms: number): Promise<void> {
    await this.settle();
    const target = this.#now + ms;
    for (let next = this.#next(); next !== undefined && next.dueAt <= target; next = this.#next()) {
      this.#now = Math.max(this.#now, next.dueAt);
      this.#timers.delete(next);
      next.run();
      await this.settle();
    }
    this.#now = Math.max(this.#now, target);
  }

  /**
   * Lets time pass, from one timer to the next and no further than needed, until `promise` settles,
   * and gives what it settles with.
   *
   * @throws When no timer is left that could settle it, or 10,000 have fired without.
   */
  async waitFor<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settle = (): void => {
      isSettled = true;
    };
    promise.then(settle, settle);
    await this.settle();
    for (let fired = 0; !isSettled; fired += 1) {
      const next = this.#next();
      if (next === undefined) throw new Error('the promise is pending, and no timer is');
      if (fired === MAX_ROUNDS) throw new Error(`still pending after ${MAX_ROUNDS} timers`);
      await this.advance(next.dueAt - this.#now);
    }
    return promise;
  }

  #start(owner: Owner, run: () => void, delayMs: number): ManualTimer {
    if (!(delayMs <= MAX_TIMER_MS)) {
      throw new Error(`a timer of ${delayMs} ms: the real clock clamps it, the pool must not ask`);
    }
    const timer = new ManualTimer(owner, this.#now + Math.max(0, delayMs), run);
    this.#timers.add(timer);
    return timer;
  }

  #own(): ManualTimer[] {
    return [...this.#timers].filter(({ owner }) => owner === 'pool');
  }

  #next(): ManualTimer | undefined {
    let first: ManualTimer | undefined;
    for (const timer of this.#timers) {
      if (first === undefined || timer.dueAt < first.dueAt) first = timer;
    }
    return first;
  }
}

/** Lets every microtask run that is queued, and all that those queue. */
const flushMicrotasks = (): Promise<void> =>
  new Promise((resolve) => {
    startImmediate(resolve);
  });
