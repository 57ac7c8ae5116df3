// How long a key waits after failed opens before it tries again. Pure.

const BASE_MS = 100;
const CEILING_MS = 5_000;
/** No wait is shorter: chance must not make a retry follow a failure at once. */
export const MIN_BACKOFF_MS = 50;

/**
 * Milliseconds to wait after the `failures`-th failed open in a row (1 = the first): full jitter,
 * drawn from all between 50 ms and a bound that doubles from 100 ms to 5 s, so that keys of one
 * dead server spread out. `random` is in [0, 1).
 */
export function openBackoffMs(failures: number, random: number): number {
  if (failures < 1) return 0;
  const bound = Math.min(CEILING_MS, BASE_MS * 2 ** Math.min(failures - 1, 16));
  return MIN_BACKOFF_MS + (bound - MIN_BACKOFF_MS) * random;
}
