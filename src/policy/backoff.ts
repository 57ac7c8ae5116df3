// How long a key waits after failed opens before it tries again. Pure.

const BASE_MS = 100;
const CEILING_MS = 5_000;

/**
 * Milliseconds to wait after the `failures`-th failed open in a row (1 = the first): doubling from
 * 100 ms to 5 s, half of it fixed and half random, so that keys of one dead server spread out and
 * no wait is ever zero. `random` is in [0, 1).
 */
export function openBackoffMs(failures: number, random: number): number {
  if (failures < 1) return 0;
  const full = Math.min(CEILING_MS, BASE_MS * 2 ** Math.min(failures - 1, 16));
  return full / 2 + (full / 2) * random;
}
