// Opens sessions of one key ahead of use, within the bounds that opens for waiters have too. What
// it opens is nobody's: it becomes idle, or goes to who waits. Two calls that want the same share
// what is there and what comes.

import { type AcquireRequest, acquireRequest, checkSignal } from './acquire-request.ts';
import type { OpenError, PoolClosedError } from './errors.ts';
import { checkKnown } from './known-members.ts';
import type { Initiator, Opener } from './opener.ts';
import { checkCount, type ResolvedOptions } from './options.ts';
import type { KeyLimits } from './policy/key-limits.ts';
import type { KeyView } from './policy/next-step.ts';
import { usableOf, type WarmPlan, warmStep } from './policy/warm-step.ts';
import type { PoolHost } from './pool-host.ts';
import type { SessionTarget } from './target.ts';

/** Options of `warm`. */
export interface WarmOptions {
  /**
   * Ends the wait: `warm` rejects with the signal's reason and opens no more. What it has opened
   * stays, and what is being opened still comes.
   */
  readonly signal?: AbortSignal | undefined;
}

/** What `warm` found and did. */
export interface WarmReport {
  /** Sessions of the key that are open now, lent ones included. Less than asked for: see `warm`. */
  readonly sessions: number;
  /** Those that this call has opened, whatever became of them since. */
  readonly opened: number;
}

/** What warming needs of the key it warms. */
export interface WarmedKey<C> extends KeyView {
  readonly host: PoolHost<C>;
  readonly limits: KeyLimits;
  readonly upkeep: { isDueAt(at: number): void };
  advance(): void;
}

/** @throws TypeError or RangeError naming what is wrong. */
export function warmRequest<C>(
  target: SessionTarget,
  count: number,
  options: WarmOptions | undefined,
  defaults: ResolvedOptions<C>,
): AcquireRequest {
  checkCount('count', count);
  if (options !== undefined) {
    checkKnown('warm option', options, new Set(['signal']));
    checkSignal(options.signal);
  }
  return acquireRequest(target, options, { ...defaults, leakWarningMs: Number.POSITIVE_INFINITY });
}

/** One call of `warm`. Settles once, and leaves no listener then. */
class Warming implements Initiator, WarmPlan {
  readonly request: AcquireRequest;
  readonly goal: number;
  /** Bound: sessions that end as soon as they come are not opened again for ever. */
  startsLeft: number;
  /** The key's, when `startsLeft` was set: what is retired meanwhile is opened anew. */
  generation: number;
  openedCount = 0;
  failure: OpenError | undefined;
  readonly resolve: (report: WarmReport) => void;
  readonly reject: (error: unknown) => void;
  stopListening: (() => void) | undefined;

  constructor(
    request: AcquireRequest,
    plan: { readonly goal: number; readonly generation: number },
    settle: Pick<Warming, 'resolve' | 'reject'>,
  ) {
    this.request = request;
    this.goal = plan.goal;
    this.startsLeft = plan.goal;
    this.generation = plan.generation;
    this.resolve = settle.resolve;
    this.reject = settle.reject;
  }

  opened(): void {
    this.openedCount += 1;
  }

  openFailed(error: OpenError): void {
    this.failure ??= error;
  }
}

export class Warmer<C> {
  readonly #key: WarmedKey<C>;
  readonly #opener: Opener<C>;
  /** Calls that have not settled, oldest first. */
  readonly #warmings = new Set<Warming>();

  constructor(key: WarmedKey<C>, opener: Opener<C>) {
    this.#key = key;
    this.#opener = opener;
  }

  get isAtWork(): boolean {
    return this.#warmings.size > 0;
  }

  /** See `SessionPool.warm`. */
  warm(request: AcquireRequest, count: number): Promise<WarmReport> {
    const { host, limits, generation } = this.#key;
    return new Promise((resolve, reject) => {
      const goal = Math.min(count, limits.maxSessionsPerKey);
      const warming = new Warming(request, { goal, generation }, { resolve, reject });
      const { signal } = request;
      if (signal !== undefined) {
        const onAbort = (): void => {
          this.#leave(warming).reject(signal.reason);
          this.#key.advance();
        };
        host.aborts.follow(signal, onAbort);
        warming.stopListening = () => host.aborts.unfollow(signal, onAbort);
      }
      this.#warmings.add(warming);
      host.warming += 1;
      this.#key.advance();
    });
  }

  /** Does what is to be done for all calls. Called at the end of every turn of the key. */
  advance(now: number): void {
    for (const warming of this.#warmings) this.#advance(warming, now);
  }

  close(error: PoolClosedError): void {
    for (const warming of this.#warmings) this.#leave(warming).reject(error);
  }

  #advance(warming: Warming, now: number): void {
    const { generation, opensAfter, upkeep } = this.#key;
    if (warming.failure !== undefined) return this.#leave(warming).reject(warming.failure);
    if (warming.generation < generation) {
      warming.generation = generation;
      warming.startsLeft = warming.goal;
    }
    const step = warmStep(this.#key, warming, now);
    if (step === 'done') {
      const { open: sessions } = usableOf(this.#key);
      this.#leave(warming).resolve({ sessions, opened: warming.openedCount });
    } else if (step === 'refused') {
      this.#leave(warming).reject(this.#opener.refusal(now));
    } else if (step !== 'wait') {
      warming.startsLeft -= step;
      for (let left = step; left > 0; left -= 1) this.#opener.startFor(warming, now);
    } else if (now < opensAfter) upkeep.isDueAt(opensAfter);
  }

  #leave(warming: Warming): Warming {
    this.#warmings.delete(warming);
    this.#key.host.warming -= 1;
    warming.stopListening?.();
    return warming;
  }
}
