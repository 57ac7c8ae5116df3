// How long a key waits after failed opens: a table.

import { expect, test } from 'vitest';
import { openBackoffMs } from '../../src/policy/backoff.ts';

test.each([
  { failures: 0, random: 0.5, ms: 0 },
  { failures: 1, random: 0, ms: 50 },
  { failures: 1, random: 1, ms: 100 },
  { failures: 2, random: 0, ms: 50 },
  { failures: 3, random: 0.5, ms: 225 },
  { failures: 6, random: 1, ms: 3_200 },
  { failures: 7, random: 1, ms: 5_000 },
  { failures: 50, random: 0, ms: 50 },
  { failures: 1e9, random: 1, ms: 5_000 },
])(
  'after $failures failed opens and by chance $random, a key waits $ms ms',
  ({ failures, random, ms }) => {
    expect(openBackoffMs(failures, random)).toBe(ms);
  },
);

test('the wait never shrinks with more failures, and is never zero', () => {
  for (const random of [0, 0.3, 0.999]) {
    let before = 0;
    for (let failures = 1; failures < 60; failures += 1) {
      const ms = openBackoffMs(failures, random);
      expect(ms).toBeGreaterThanOrEqual(Math.max(before, 50));
      before = ms;
    }
  }
});
