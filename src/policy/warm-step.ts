// What a key does next for a caller who wants sessions ahead of use. Pure. Waiters come first: it
// is asked when `nextStep` has nothing left to say, and takes no room that another key waits for.

import { sessionCount } from './ledger.ts';
import type { KeyView } from './next-step.ts';

/** What one call of `warm` wants. */
export interface WarmPlan {
  /** Sessions that the key shall have. */
  readonly goal: number;
  /** Sessions that may still be opened for it. */
  readonly startsLeft: number;
}

/**
 * How many sessions to open now. `wait`: something will come, or a back-off end. `done`: there are
 * enough, or as many as there can be without taking from others. `refused`: no open may start, and
 * none is under way.
 */
export type WarmStep = number | 'wait' | 'done' | 'refused';

export function warmStep(view: KeyView, plan: WarmPlan, now: number): WarmStep {
  const { counts } = view.ledger;
  const { maxOpeningPerKey, maxSessionsPerKey } = view.limits;
  const openCount = counts.probing + counts.idle + counts.leased;
  let missing = plan.goal - openCount - counts.opening;
  // One by one only where it matters: a pool that is warmed to 10,000 asks after each open.
  if (missing <= 0 && (openCount >= plan.goal || plan.startsLeft > 0)) {
    const { open, opening } = usableOf(view);
    if (open >= plan.goal) return 'done';
    missing = plan.goal - open - opening;
  }
  if (missing <= 0) return 'wait';
  if (plan.startsLeft <= 0) return counts.opening > 0 ? 'wait' : 'done';
  const allowed = view.opensAllowed(now);
  if (allowed === 0) return counts.opening > 0 ? 'wait' : 'refused';
  const roomToOpen = maxOpeningPerKey - counts.opening;
  // A trial has been waited for already.
  const backsOff = allowed === Number.POSITIVE_INFINITY && now < view.opensAfter;
  if (backsOff || roomToOpen <= 0) return 'wait';
  const room = Math.min(maxSessionsPerKey - sessionCount(counts), view.roomInPool);
  if (room > 0) return Math.min(missing, plan.startsLeft, roomToOpen, room, allowed);
  // What comes may fail and what closes is about to be gone: its slot is free then.
  return counts.opening > 0 || counts.closing > 0 ? 'wait' : 'done';
}

/** Sessions that will be lent again, or may be. */
export function usableOf({ ledger, generation }: KeyView): { open: number; opening: number } {
  let open = 0;
  let opening = 0;
  for (const { state, condemned, generation: own } of ledger.sessions) {
    if (condemned || own < generation || state === 'closing' || state === 'gone') continue;
    if (state === 'opening') opening += 1;
    else open += 1;
  }
  return { open, opening };
}
