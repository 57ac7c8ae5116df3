// Percentiles of latencies.

/** The value that `share` of the values are at or below. `sorted` must be. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
}
