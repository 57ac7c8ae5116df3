// The rungs that end a group of processes, on a clock of the test's and a group that does as it is
// told. Real processes climb it in `live/stdio-close.test.ts`.

import { ManualClock } from 'mcp-session-pool/testing';
import { expect, test } from 'vitest';
import { type ClosedGroup, CloseLadder } from '../../src/stdio/close-ladder.ts';

function newLadder() {
  const clock = new ManualClock();
  const startedAt = clock.now();
  const at = (): number => clock.now() - startedAt;
  const steps: [string, number][] = [];
  const thorough: number[] = [];
  const group: ClosedGroup & { hasExited: boolean; isEmpty: boolean; looks: number } = {
    hasExited: false,
    isEmpty: false,
    looks: 0,
    look(thoroughly) {
      this.looks += 1;
      if (thoroughly === true) thorough.push(at());
      return this.isEmpty;
    },
    terminate: () => void steps.push(['SIGTERM', at()]),
    kill: () => void steps.push(['SIGKILL', at()]),
  };
  const ladder = new CloseLadder(group, clock, () => void steps.push(['empty', at()]));
  return { clock, steps, group, ladder, thorough };
}

test.each([
  [5_000, 1_000, 3_000],
  [600, 120, 360],
  [60_000, 2_000, 4_000],
])('of %i ms, SIGTERM comes after %i and SIGKILL after %i', async (timeoutMs, term, kill) => {
  const { clock, steps, group, ladder } = newLadder();
  ladder.climb(timeoutMs);
  await clock.advance(timeoutMs);
  expect(steps).toEqual([
    ['SIGTERM', term],
    ['SIGKILL', kill],
  ]);
  // The server itself tells of its end: nobody need ask.
  expect(group.looks).toBe(1);
});

test('a group that is empty already is neither waited for nor signalled', () => {
  const { clock, steps, group, ladder } = newLadder();
  group.isEmpty = true;
  ladder.climb(1_000);
  expect([steps, clock.pendingCount]).toEqual([[['empty', 0]], 0]);
});

test('a server that ends alone ends it at once', async () => {
  const { clock, steps, group, ladder } = newLadder();
  ladder.climb(1_000);
  await clock.advance(50);
  group.hasExited = true;
  group.isEmpty = true;
  ladder.look();
  expect([steps, clock.pendingCount]).toEqual([[['empty', 50]], 0]);
});

test('who survives the server is looked for, and goes up the same rungs', async () => {
  const { clock, steps, group, ladder } = newLadder();
  ladder.climb(1_000);
  group.hasExited = true;
  ladder.look();
  ladder.look();
  await clock.advance(300);
  group.isEmpty = true;
  await clock.advance(25);
  expect(steps).toHaveLength(2);
  expect(steps[0]).toEqual(['SIGTERM', 200]);
  expect(steps[1]).toEqual(['empty', expect.any(Number)]);
  expect(group.looks).toBeLessThan(30);
  expect(clock.pendingCount).toBe(0);
});

test('it is looked thoroughly now and then, ever more rarely', async () => {
  const { clock, group, ladder, thorough } = newLadder();
  ladder.climb(5_000);
  group.hasExited = true;
  ladder.look();
  await clock.advance(5_000);
  expect(thorough.length).toBeGreaterThan(2);
  expect(thorough.length).toBeLessThan(7);
  expect(thorough[0]).toBeGreaterThanOrEqual(100);
});

test('once stopped it waits for nothing and signals nobody', async () => {
  const { clock, steps, group, ladder } = newLadder();
  ladder.climb(1_000);
  group.hasExited = true;
  ladder.look();
  ladder.stop();
  await clock.advance(5_000);
  ladder.look();
  expect([steps, clock.pendingCount]).toEqual([[], 0]);
});
