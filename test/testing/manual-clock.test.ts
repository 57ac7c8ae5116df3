// Time stands still until the test moves it, and everything pending can be counted.

import { ManualClock } from 'mcp-session-pool/testing';
import { describe, expect, test, vi } from 'vitest';
import { watch } from '../support/pool-fixture.ts';

test('time stands still, passes when told, and only synchronous work burns it', async () => {
  const clock = new ManualClock();
  expect(clock.now()).toBe(1_000);
  await clock.settle();
  expect(clock.now()).toBe(1_000);
  await clock.advance(250);
  expect(clock.now()).toBe(1_250);
  clock.burn(50);
  expect(clock.now()).toBe(1_300);
});

describe('timers', () => {
  test('fire in order of their instants, then of their start, each at its own instant', async () => {
    const clock = new ManualClock();
    const fired: [string, number][] = [];
    const note = (name: string) => () => void fired.push([name, clock.now()]);
    clock.setTimeout(note('late'), 30);
    clock.setTimeout(note('first'), 10);
    clock.setTimeout(note('second'), 10);
    await clock.advance(29);
    expect(fired).toEqual([
      ['first', 1_010],
      ['second', 1_010],
    ]);
    await clock.advance(1);
    expect(fired.at(-1)).toEqual(['late', 1_030]);
  });

  test('started by what a timer began fire in the same advance, once they are due', async () => {
    const clock = new ManualClock();
    const fired: number[] = [];
    const startMore = async (): Promise<void> => {
      await null;
      clock.setTimeout(() => fired.push(clock.now()), 5);
      clock.setTimeout(() => fired.push(clock.now()), 50);
    };
    clock.setTimeout(() => void startMore(), 10);
    await clock.advance(20);
    expect(fired).toEqual([1_015]);
  });

  test('are counted: pending, referenced, the next; cleared ones never fire', async () => {
    const clock = new ManualClock();
    const run = vi.fn();
    expect([clock.pendingCount, clock.nextDueMs]).toEqual([0, Number.POSITIVE_INFINITY]);
    const timer = clock.setTimeout(run, 100);
    clock.setTimeout(run, 200).unref();
    clock.later(10, run);
    expect([clock.pendingCount, clock.referencedCount, clock.nextDueMs]).toEqual([2, 1, 100]);
    timer.unref();
    expect(clock.referencedCount).toBe(0);
    timer.ref();
    clock.clearTimeout(timer);
    expect([clock.pendingCount, clock.nextDueMs]).toEqual([1, 200]);
    await clock.advance(1_000);
    // The peer's and the one that was left.
    expect(run).toHaveBeenCalledTimes(2);
  });

  test('can be many', () => {
    const clock = new ManualClock();
    for (let n = 0; n < 200_000; n += 1) clock.setTimeout(() => {}, 7 + n);
    expect(clock).toMatchObject({ pendingCount: 200_000, nextDueMs: 7 });
  });

  test('of a negative delay are due now; those that overflow are refused', () => {
    const clock = new ManualClock();
    const run = vi.fn();
    clock.setTimeout(run, -5);
    clock.setTimeout(run, 1);
    clock.fireDue();
    expect(run).toHaveBeenCalledTimes(1);
    for (const delayMs of [2 ** 31, Number.POSITIVE_INFINITY, Number.NaN]) {
      expect(() => clock.setTimeout(run, delayMs)).toThrow(/a timer of .* ms/);
    }
  });

  test('of a lagging turn fire all at once, before any yield', async () => {
    const clock = new ManualClock();
    const order: string[] = [];
    clock.setTimeout(() => order.push('timer'), 10);
    clock.yield(() => order.push('yield'));
    clock.burn(10);
    clock.fireDue();
    await clock.settle();
    expect(order).toEqual(['timer', 'yield']);
  });
});

test('a timeout signal aborts in time, and tells who still listens', async () => {
  const clock = new ManualClock();
  const signal = clock.timeoutSignal(99.5);
  const onAbort = vi.fn();
  signal.addEventListener('abort', onAbort);
  signal.addEventListener('abort', onAbort);
  signal.addEventListener('abort', () => undefined);
  expect(clock.signalListeners).toBeGreaterThan(1);
  signal.removeEventListener('abort', onAbort);
  const before = clock.signalListeners;
  signal.removeEventListener('abort', onAbort);
  expect(clock.signalListeners).toBe(before);
  await clock.advance(99);
  expect(signal.aborted).toBe(false);
  await clock.advance(1);
  expect(signal.reason).toMatchObject({ name: 'TimeoutError' });
  expect(onAbort).not.toHaveBeenCalled();
  expect(clock.pendingCount).toBe(0);
});

describe('settle', () => {
  test('runs yields, and those that they cause, and microtasks between them', async () => {
    const clock = new ManualClock();
    const order: string[] = [];
    clock.yield(() => {
      order.push('first');
      void Promise.resolve().then(() => order.push('microtask'));
      clock.yield(() => order.push('second'));
    });
    await clock.settle();
    expect(order).toEqual(['first', 'microtask', 'second']);
  });

  test('gives up on what yields for ever', async () => {
    const clock = new ManualClock();
    const again = (): void => clock.yield(again);
    again();
    await expect(clock.settle()).rejects.toThrow('yields for ever');
  });

  test('works while the runner fakes timers', async () => {
    vi.useFakeTimers();
    try {
      const clock = new ManualClock();
      const run = vi.fn();
      clock.setTimeout(run, 10);
      await clock.advance(10);
      expect(run).toHaveBeenCalled();
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('waitFor', () => {
  test('lets time pass up to the timer that settles it, and no further', async () => {
    const clock = new ManualClock();
    clock.setTimeout(() => undefined, 10);
    clock.setTimeout(() => undefined, 900);
    const promise = new Promise((resolve) => void clock.setTimeout(() => resolve('done'), 500));
    expect(await clock.waitFor(promise)).toBe('done');
    expect([clock.now(), clock.pendingCount]).toEqual([1_500, 1]);
  });

  test('needs no time for what settles by itself, and rejects with what it rejects with', async () => {
    const clock = new ManualClock();
    clock.setTimeout(() => undefined, 10);
    expect(await clock.waitFor(Promise.resolve('at once'))).toBe('at once');
    const reason = new Error('no');
    await expect(clock.waitFor(Promise.reject(reason))).rejects.toBe(reason);
    expect(clock.now()).toBe(1_000);
  });

  test('throws when nothing is left that could settle it', async () => {
    const clock = new ManualClock();
    clock.setTimeout(() => undefined, 10);
    const never = watch(new Promise(() => undefined));
    await expect(clock.waitFor(new Promise(() => undefined))).rejects.toThrow('no timer is');
    expect([never.state, clock.now()]).toEqual(['pending', 1_010]);
  });

  test('gives up on timers that go on for ever', async () => {
    const clock = new ManualClock();
    let fired = -1;
    const again = (): void => {
      fired += 1;
      clock.setTimeout(again, 1_000);
    };
    again();
    await expect(clock.waitFor(new Promise(() => undefined))).rejects.toThrow('after 10000 timers');
    expect(fired).toBe(10_000);
  });
});
