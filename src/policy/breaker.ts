// Whether opens may start while a server fails, of one endpoint or of one caller there: closed
// (all may), open (none), half-open (one does, on trial, and decides). Pure: it knows no endpoint,
// no clock and no chance; `now` is monotonic, `random` in [0, 1).

import { MIN_BACKOFF_MS } from './backoff.ts';
import { RETRY_AFTER_MAX_MS } from './failure.ts';

export interface BreakerRules {
  /** Failed opens in a row that open the circuit. */
  readonly failureThreshold: number;
  /** How long it stays open. */
  readonly resetAfterMs: number;
}

export type BreakerState = 'closed' | 'open' | 'half-open';

/**
 * Failures this close to one that was counted count with it: opens that were under way together and
 * failed together are one blip. No key opens again sooner after a failure, so one key alone reaches
 * the threshold with so many failures, and many keys do not reach it in one moment.
 */
const BLIP_MS = MIN_BACKOFF_MS;
/** What hung for so long is no blip: while such opens go on, they keep room from others. */
const HUNG_MS = 1_000;
/** What is known is forgotten when nothing was heard for so long, or for `resetAfterMs`. */
const MEMORY_MS = 60_000;

export class Breaker {
  state: BreakerState = 'closed';
  /** Open: when a trial may begin. Half-open: when the trial has ended at the latest. */
  retryAt = 0;
  readonly #rules: BreakerRules;
  /** Counted failures since the last success. */
  #failures = 0;
  #countedAt = Number.NEGATIVE_INFINITY;
  /** The server asked for the pause: what was on its way when it did says nothing of its end. */
  #isThrottled = false;
  /** Raised with every change of state: failures of opens of an earlier era are no news. */
  #era = 0;

  constructor(rules: BreakerRules) {
    this.#rules = rules;
  }

  /** How many opens may start now: all (`Infinity`), the one on trial, or none. */
  allowed(now: number): number {
    if (this.state === 'closed') return Number.POSITIVE_INFINITY;
    return this.state === 'open' && now >= this.retryAt ? 1 : 0;
  }

  /**
   * An open starts, which `allowed` has let through. Returns the era to tell its end with.
   * `trialMs`: how long it takes at the longest.
   */
  begin(now: number, trialMs: number): number {
    if (this.state !== 'closed') this.#change('half-open', now + trialMs);
    return this.#era;
  }

  /** An open has shown that the server works. */
  succeeded(era: number): void {
    if (!this.#isThrottled || era === this.#era) this.forget();
  }

  /** Nothing is known any more, good or bad. */
  forget(): void {
    this.#failures = 0;
    this.#countedAt = Number.NEGATIVE_INFINITY;
    if (this.state !== 'closed') this.#change('closed', 0);
  }

  /**
   * An open has failed, after `tookMs`; or, without an `era`, a session at work could not reach the
   * server.
   */
  failed(era: number | undefined, now: number, random: number, tookMs = 0): void {
    if (this.state !== 'closed') {
      if (this.#isTrial(era)) this.#open(now + this.#resetMs(random));
      return;
    }
    if (era !== undefined && era !== this.#era) return;
    if (tookMs < HUNG_MS && now - this.#countedAt < BLIP_MS) return;
    this.#failures += 1;
    this.#countedAt = now;
    if (this.#failures >= this.#rules.failureThreshold) this.#open(now + this.#resetMs(random));
  }

  /** An open has ended without saying anything about this breaker's part: another trial may go. */
  undecided(era: number, now: number): void {
    if (this.#isTrial(era)) this.#open(now + BLIP_MS);
  }

  /**
   * The server asks to be left alone for `retryAfterMs`, 5 minutes at most: not a moment less, and
   * up to a tenth more, so that those who were sent away together do not come back together.
   */
  throttled(retryAfterMs: number, now: number, random: number): void {
    const askedMs = Math.min(Math.max(retryAfterMs, 0), RETRY_AFTER_MAX_MS);
    const at = now + askedMs * (1 + random / 10);
    this.#open(this.state === 'open' ? Math.max(at, this.retryAt) : at);
    this.#isThrottled = true;
  }

  /** When all that is known here is forgotten: then this one is as good as new. */
  get forgottenAt(): number {
    const memoryMs = Math.max(this.#rules.resetAfterMs, MEMORY_MS);
    if (this.state !== 'closed') return this.retryAt + memoryMs;
    return this.#failures === 0 ? Number.NEGATIVE_INFINITY : this.#countedAt + memoryMs;
  }

  /** ± 10 %, so that gateways whose circuits opened together do not try together. */
  #resetMs(random: number): number {
    return this.#rules.resetAfterMs * (0.9 + 0.2 * random);
  }

  #isTrial(era: number | undefined): boolean {
    return this.state === 'half-open' && era === this.#era;
  }

  #open(retryAt: number): void {
    this.#change('open', retryAt);
  }

  #change(state: BreakerState, retryAt: number): void {
    this.state = state;
    this.retryAt = retryAt;
    // A pause that was asked for lasts through its trial.
    if (state === 'closed') this.#isThrottled = false;
    this.#era += 1;
  }
}
