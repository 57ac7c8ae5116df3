// A token bucket: how much a peer may send while nobody wants anything of it (promise P3). Pure:
// the instant is an argument.

/** Spending allowed up to `capacity` at once, and `capacity` per `periodMs` in the long run. */
export interface Budget {
  /** Spends `cost` at instant `now` (ms). False: over budget, and nothing was spent. */
  spend(cost: number, now: number): boolean;
}

/** A full budget. `capacity` in units of the caller's choice, above 0; `periodMs` above 0. */
export function createBudget(capacity: number, periodMs: number): Budget {
  // What is left, as of `refilledAt`. Never above `capacity`.
  let left = capacity;
  let refilledAt = Number.NEGATIVE_INFINITY;
  return {
    spend: (cost, now) => {
      // A clock that went backwards refills nothing.
      const elapsedMs = Math.max(0, now - refilledAt);
      left = Math.min(capacity, left + (elapsedMs / periodMs) * capacity);
      refilledAt = now;
      if (cost > left) return false;
      left -= cost;
      return true;
    },
  };
}
