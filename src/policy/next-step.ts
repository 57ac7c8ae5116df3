// The one decision of a key: given its books and the time, what happens next. Pure and total: the
// sub-pool does what it says, asks again, and stops when it says nothing (Invariant I4).

import type { KeyLimits } from './key-limits.ts';
import { type Ledger, type Slot, sessionCount } from './ledger.ts';
import { type RetirementView, retirementOf } from './retirement.ts';

/** What the decision is made from. The sub-pool itself is one, so that asking allocates nothing. */
export interface KeyView extends RetirementView {
  // biome-ignore lint/suspicious/noExplicitAny: the decision reads slots and waiters of any kind.
  readonly ledger: Ledger<any, any>;
  readonly closed: boolean;
  readonly limits: KeyLimits;
  /** No open starts before this instant: the key backs off after failed opens. */
  readonly opensAfter: number;
  /**
   * How many opens the circuit breakers let start now: all (`Infinity`), one on trial, or none.
   */
  opensAllowed(now: number): number;
  /** Sessions the whole pool may still open. */
  readonly roomInPool: number;
}

export type Step =
  /** Reject the oldest waiter: the pool is closed. */
  | 'refuse'
  /** Reject the newest waiter: no open may start, and nothing there is will serve it. */
  | 'fail-fast'
  /** Lend the newest session that is leased but has room. */
  | 'grant-spare'
  /** Lend the session that became idle last. */
  | 'grant-idle'
  /** Probe the session that became idle last: it was idle for long, or may be gone. */
  | 'probe'
  /** Take down the session that became idle last. */
  | 'retire-newest'
  /** Take down the session that is idle for longest. */
  | 'retire-oldest'
  /** Open a session. */
  | 'open';

/** What the key does next, or `undefined` when nothing is to be done before the next change. */
export function nextStep(view: KeyView, now: number): Step | undefined {
  const { ledger } = view;
  // Its sessions are taken down at the pace of the teardown, not step by step in one turn.
  if (view.closed) return ledger.waiters.size > 0 ? 'refuse' : undefined;
  if (ledger.waiters.size > 0) {
    const step = lendingStep(view, now);
    if (step !== undefined) return step;
    if (ledger.idle.size === 0 && wantedOpens(view, now) > 0 && view.roomInPool > 0) return 'open';
    if (view.opensAllowed(now) === 0 && isStranded(view)) return 'fail-fast';
  }
  const { first: oldest, last: newest } = ledger.idle;
  if (oldest !== undefined && retirementOf(oldest, view, now) !== undefined) return 'retire-oldest';
  // It was marked while it was opened or probed, and others have been idle for longer.
  const isNew = newest !== oldest && newest !== undefined;
  return isNew && retirementOf(newest, view, now) !== undefined ? 'retire-newest' : undefined;
}

/** What can be done for a waiter with the sessions at hand; `undefined`: nothing. */
export function lendingStep(view: KeyView, now: number): Step | undefined {
  const { ledger } = view;
  // A session at work is known to live, and filling it up lets the others reach their idle timeout.
  if (ledger.spare.last !== undefined) return 'grant-spare';
  const newest: Slot<never> | undefined = ledger.idle.last;
  if (newest === undefined) return undefined;
  if (retirementOf(newest, view, now) !== undefined) return 'retire-newest';
  // Longer, not as long: with a limit of 0, what was probed in this turn would be probed for ever.
  const isLongIdle = now - newest.heardAt > view.limits.probeAfterIdleMs;
  if (!newest.canProbe || !(isLongIdle || newest.suspect)) return 'grant-idle';
  return isCovered(view) ? undefined : 'probe';
}

/** How many sessions the key would open now if the pool had room for them. */
export function wantedOpens(view: KeyView, now: number): number {
  const { ledger } = view;
  if (view.closed || ledger.waiters.size === 0) return 0;
  const { counts } = ledger;
  const coming = (counts.opening + counts.probing) * view.limits.leasesPerSession;
  const missing = Math.ceil((ledger.waiters.size - coming) / view.limits.leasesPerSession);
  const roomInKey = view.limits.maxSessionsPerKey - sessionCount(counts);
  const roomToOpen = view.limits.maxOpeningPerKey - counts.opening;
  const wanted = Math.min(missing, roomInKey, roomToOpen);
  if (wanted <= 0) return 0;
  const allowed = view.opensAllowed(now);
  // A trial has been waited for already, by all keys together.
  if (allowed === Number.POSITIVE_INFINITY) return now < view.opensAfter ? 0 : wanted;
  return Math.min(wanted, allowed);
}

/** Whether a waiter can hope neither for a lease that ends nor for what is on its way. */
function isStranded(view: KeyView): boolean {
  if (isCovered(view)) return false;
  const sessions: Iterable<Slot<never>> = view.ledger.sessions;
  for (const { state, condemned, generation } of sessions) {
    if (state === 'leased' && !condemned && generation >= view.generation) return false;
  }
  return true;
}

/** Whether the sessions that are being opened and probed suffice for all waiters. */
function isCovered({ ledger, limits }: KeyView): boolean {
  const { opening, probing } = ledger.counts;
  return ledger.waiters.size <= (opening + probing) * limits.leasesPerSession;
}
