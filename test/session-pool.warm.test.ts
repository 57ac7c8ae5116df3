// Sessions opened ahead of use: how many, within which bounds, what ends the wait, and what it leaves
// to others. Time is the test's.

import { ManualClock } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { OpenError } from '../src/errors.ts';
import { CountedController } from './support/counted-signal.ts';
import { makePool, TARGET, targetOf, watch } from './support/pool-fixture.ts';

/** Leaps by 100 ms before a certain look at it. */
class LeapingClock extends ManualClock {
  looksToLeap = 0;

  override now(): number {
    this.looksToLeap -= 1;
    if (this.looksToLeap === 0) this.burn(100);
    return super.now();
  }
}

describe('warm', () => {
  test('opens so many sessions and resolves when they are open; they are lent, not reused', async () => {
    const { pool, clock, lease, connector } = makePool();
    const warming = watch(pool.warm(TARGET, 3));
    await clock.settle();
    expect(warming.got).toEqual({ sessions: 3, opened: 3 });
    expect(pool.stats()).toMatchObject({ sessions: { idle: 3 }, totals: { opened: 3 } });
    const leases = [await lease(), await lease(), await lease()];
    expect(leases.map(({ reused }) => reused)).toEqual([false, false, false]);
    expect(connector.count('open')).toBe(3);
  });

  test('counts sessions that are there, lent or idle, and those being opened', async () => {
    const { pool, clock, lease, warm, connector } = makePool();
    await lease();
    await warm();
    connector.gates = { open: 'held' };
    const waiting = watch(pool.acquire(targetOf('two')));
    const warming = watch(pool.warm(targetOf('two'), 1));
    await clock.settle();
    expect([connector.count('open'), warming.state]).toEqual([3, 'pending']);
    connector.last.let('ok', 'open');
    await clock.settle();
    expect([waiting.state, warming.got]).toEqual(['fulfilled', { sessions: 1, opened: 0 }]);
    connector.gates = {};
    const other = watch(pool.warm(TARGET, 3));
    await clock.settle();
    expect(other.got).toEqual({ sessions: 3, opened: 1 });
  });

  test('resolves at once where there is enough', async () => {
    const { pool, clock, warm, connector } = makePool();
    await warm();
    expect(await pool.warm(TARGET, 1)).toEqual({ sessions: 1, opened: 0 });
    expect([connector.count('open'), clock.referencedCount]).toEqual([1, 0]);
  });

  test('called twice at once opens no more than one call would', async () => {
    const { pool, clock, connector } = makePool({ gates: { open: 'slow' } });
    const [three, five] = [watch(pool.warm(TARGET, 3)), watch(pool.warm(TARGET, 5))];
    await clock.advance(2_000);
    expect([three.got, five.got]).toEqual([
      { sessions: 3, opened: 3 },
      { sessions: 5, opened: 2 },
    ]);
    expect(connector.count('open')).toBe(5);
  });

  test('is bounded by maxSessionsPerKey and maxOpeningPerKey', async () => {
    const { pool, clock, connector } = makePool({
      maxSessionsPerKey: 5,
      maxOpeningPerKey: 2,
      gates: { open: 'held' },
    });
    const warming = watch(pool.warm(TARGET, 100));
    for (const opens of [2, 4, 5]) {
      await clock.settle();
      expect(connector.count('open')).toBe(opens);
      for (const session of connector.sessions) session.let('ok', 'open');
    }
    await clock.settle();
    expect(warming.got).toEqual({ sessions: 5, opened: 5 });
  });

  test('is bounded by maxSessions: nothing gives way to it', async () => {
    const { pool, clock, warm, connector } = makePool({ maxSessions: 3 });
    await warm(targetOf('other'));
    const warming = watch(pool.warm(TARGET, 3));
    await clock.settle();
    expect(warming.got).toEqual({ sessions: 2, opened: 2 });
    expect([connector.count('sever'), pool.stats().totals.evicted]).toEqual([0, 0]);
  });

  test('leaves room to keys that wait for it', async () => {
    const { pool, lease, clock } = makePool({ maxSessions: 2 });
    const held = [await lease(targetOf('a')), await lease(targetOf('b'))];
    const waiting = [watch(pool.acquire(targetOf('c'))), watch(pool.acquire(targetOf('c')))];
    await clock.settle();
    const warming = watch(pool.warm(targetOf('a'), 2));
    for (const each of held) each.discard();
    await clock.settle();
    expect(waiting.map(({ state }) => state)).toEqual(['fulfilled', 'fulfilled']);
    expect(warming.got).toEqual({ sessions: 1, opened: 0 });
  });

  test('serves who waits first: sessions it opens go to waiters', async () => {
    const { pool, clock, connector } = makePool({ maxSessionsPerKey: 2, gates: { open: 'held' } });
    const warming = watch(pool.warm(TARGET, 2));
    const waiting = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(connector.count('open')).toBe(2);
    connector.sessions[0]?.let('ok', 'open');
    await clock.settle();
    expect([waiting.state, warming.state]).toEqual(['fulfilled', 'pending']);
    connector.sessions[1]?.let('ok', 'open');
    await clock.settle();
    expect(warming.got).toEqual({ sessions: 2, opened: 2 });
  });

  test('of a target with affinity opens its one session', async () => {
    const { pool, clock } = makePool();
    const target = targetOf('one', { identity: 'ada', affinity: 'downstream' });
    const warming = watch(pool.warm(target, 4));
    await clock.settle();
    expect(warming.got).toEqual({ sessions: 1, opened: 1 });
  });

  test('opens with the headers of its target', async () => {
    const { pool, clock, connector } = makePool();
    const headersFor = (token: string): Record<string, string> => ({ authorization: token });
    const old = { ...TARGET, identity: 'ada', headers: headersFor('old') };
    const seen: unknown[] = [];
    connector.onOpen = ({ context }) => seen.push(context.headers());
    watch(pool.warm(old, 1));
    watch(pool.warm({ ...old, headers: headersFor('new') }, 2));
    await clock.settle();
    expect(seen).toEqual([headersFor('old'), headersFor('new')]);
  });

  test('makes its key the one used last: another gives way first', async () => {
    const { pool, warm, lease, clock, connector } = makePool({ maxSessions: 2 });
    await warm(targetOf('a'));
    await clock.advance(10);
    await Promise.all([pool.warm(targetOf('b'), 1), clock.settle()]);
    await lease(targetOf('c'));
    expect(connector.sessions.map((session) => session.count('sever'))).toEqual([1, 0, 0]);
  });
});

describe('a warm whose open fails', () => {
  test('rejects with the failure, opens no more, and keeps what is open', async () => {
    const { pool, clock, connector } = makePool({ maxOpeningPerKey: 2, gates: { open: 'held' } });
    const warming = watch(pool.warm(TARGET, 5));
    await clock.settle();
    connector.sessions[0]?.let('ok', 'open');
    connector.sessions[1]?.let('fails', 'open');
    await clock.settle();
    expect(warming.code).toBe('OPEN_FAILED');
    expect(warming.error).toBeInstanceOf(OpenError);
    // The third was started when the first had come. It comes too, and is kept.
    for (const session of connector.sessions) session.let('ok', 'open');
    await clock.advance(20_000);
    expect(connector.count('open')).toBe(3);
    expect(pool.stats()).toMatchObject({ sessions: { idle: 2 }, totals: { openFailed: 1 } });
  });

  test('fails no acquire for it: waiters get the open after', async () => {
    const { pool, clock, connector } = makePool({ gates: { open: 'held' } });
    const warming = watch(pool.warm(TARGET, 1));
    const waiting = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(connector.count('open')).toBe(1);
    connector.gates = {};
    connector.last.let('fails', 'open');
    await clock.settle();
    expect([warming.code, waiting.state]).toEqual(['OPEN_FAILED', 'pending']);
    await clock.advance(200);
    expect(waiting.state).toBe('fulfilled');
  });

  test('with a session that was lost as it came is told so', async () => {
    const { pool, clock, connector } = makePool();
    connector.onOpen = (session) => session.lost.abort(new Error('gone'));
    const warming = watch(pool.warm(TARGET, 1));
    await clock.settle();
    expect(warming.code).toBe('OPEN_FAILED');
  });

  test('is not failed by the open of somebody else, and waits for the back-off', async () => {
    const { pool, clock, connector } = makePool({ gates: { open: 'fails' } });
    const waiting = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(waiting.code).toBe('OPEN_FAILED');
    connector.gates = {};
    const warming = watch(pool.warm(TARGET, 2));
    await clock.settle();
    // Nothing else is under way: the process must live on for it.
    expect([warming.state, connector.count('open'), clock.referencedCount]).toEqual([
      'pending',
      1,
      1,
    ]);
    await clock.advance(100);
    expect(warming.got).toEqual({ sessions: 2, opened: 2 });
    expect(clock.referencedCount).toBe(0);
  });

  test.each([1, 2, 3, 4, 5, 6])(
    'is not forgotten when the back-off ends within its turn, before look %s at the clock',
    async (look) => {
      const clock = new LeapingClock();
      const { pool, connector } = makePool({ clock, gates: { open: 'fails' } });
      watch(pool.warm(TARGET, 1));
      await clock.settle();
      connector.gates = {};
      clock.looksToLeap = look;
      const warming = watch(pool.warm(TARGET, 1));
      await clock.advance(1_000);
      expect(warming.got).toEqual({ sessions: 1, opened: 1 });
    },
  );

  test('does not open for ever where sessions end as soon as they come', async () => {
    const gates = { open: 'slow', slowMs: 10 } as const;
    const limits = { maxSessionsPerKey: 3, maxOpeningPerKey: 1 };
    const { pool, clock, connector } = makePool({ ...limits, gates });
    connector.onOpen = (session) => clock.later(15, () => session.lost.abort(new Error('gone')));
    const warming = watch(pool.warm(TARGET, 1_000));
    await clock.advance(60_000);
    expect(warming.got).toEqual({ sessions: 1, opened: 3 });
    expect(connector.count('open')).toBe(3);
  });
});

describe('the signal of a warm', () => {
  test('ends the wait with its reason; what is being opened still comes', async () => {
    const { pool, clock, connector } = makePool({ maxOpeningPerKey: 2, gates: { open: 'held' } });
    const controller = new CountedController();
    const warming = watch(pool.warm(TARGET, 4, { signal: controller.signal }));
    await clock.settle();
    expect(controller.listenerCount).toBe(1);
    const reason = new Error('enough');
    controller.abort(reason);
    await clock.settle();
    expect(warming.error).toBe(reason);
    expect(controller.listenerCount).toBe(0);
    for (const session of connector.sessions) session.let('ok', 'open');
    await clock.settle();
    expect([connector.count('open'), pool.stats().sessions.idle]).toEqual([2, 2]);
  });

  test('that has aborted opens nothing', async () => {
    const { pool, clock, connector } = makePool();
    const warming = watch(pool.warm(TARGET, 1, { signal: AbortSignal.abort('no') }));
    await clock.settle();
    expect([warming.error, connector.count('open'), pool.stats().keys]).toEqual(['no', 0, 0]);
  });

  test('ends a wait for a back-off too, and the key is forgotten', async () => {
    const { pool, clock } = makePool({ gates: { open: 'fails' } });
    watch(pool.warm(TARGET, 1));
    await clock.settle();
    const controller = new CountedController();
    const warming = watch(pool.warm(TARGET, 1, { signal: controller.signal }));
    controller.abort('no');
    await clock.settle();
    expect([warming.error, clock.referencedCount]).toEqual(['no', 0]);
    await clock.advance(1_000);
    expect(pool.stats().keys).toBe(0);
  });

  test('has no listener left when the warm is done', async () => {
    const { pool, clock } = makePool();
    const controller = new CountedController();
    const warming = watch(pool.warm(TARGET, 2, { signal: controller.signal }));
    await clock.settle();
    expect([warming.state, controller.listenerCount]).toEqual(['fulfilled', 0]);
  });
});

describe('a warm that meets', () => {
  test('the end of the pool rejects with POOL_CLOSED, and what it opens is taken down', async () => {
    const { pool, clock, connector } = makePool({ gates: { open: 'held' } });
    const warming = watch(pool.warm(TARGET, 2));
    await clock.settle();
    const closing = watch(pool.close());
    await clock.settle();
    expect(warming.code).toBe('POOL_CLOSED');
    for (const session of connector.sessions) session.let('ok', 'open');
    await clock.advance(100);
    expect(closing.state).toBe('fulfilled');
    expect(connector.sessions.map((session) => session.count('sever'))).toEqual([1, 1]);
    expect(clock.pendingCount).toBe(0);
    expect(watch(pool.warm(TARGET, 1)).state).toBe('pending');
    await expect(pool.warm(TARGET, 1)).rejects.toMatchObject({ code: 'POOL_CLOSED' });
  });

  test('retire opens anew what was being opened with what is stale now', async () => {
    const { pool, clock, connector } = makePool({ gates: { open: 'held' } });
    const warming = watch(pool.warm(TARGET, 2));
    await clock.settle();
    pool.retire();
    for (const session of connector.sessions) session.let('ok', 'open');
    await clock.settle();
    expect([warming.state, connector.count('open')]).toEqual(['pending', 4]);
    for (const session of connector.sessions) session.let('ok', 'open');
    await clock.settle();
    expect(warming.got).toEqual({ sessions: 2, opened: 4 });
    expect(connector.sessions.map((session) => session.count('sever'))).toEqual([1, 1, 0, 0]);
  });

  test('sessions that are closing waits for their slots: retire, then warm', async () => {
    const { pool, clock, connector } = makePool({
      maxSessionsPerKey: 2,
      gates: { transportClose: 'slow' },
    });
    await Promise.all([pool.warm(TARGET, 2), clock.settle()]);
    pool.retire();
    const warming = watch(pool.warm(TARGET, 2));
    await clock.settle();
    expect([warming.state, connector.count('open')]).toEqual(['pending', 2]);
    await clock.advance(1_000);
    expect(warming.got).toEqual({ sessions: 2, opened: 2 });
  });

  test('a full pool of keys is refused', async () => {
    const { pool, warm } = makePool({ maxKeys: 1 });
    await warm(targetOf('a'));
    await expect(pool.warm(TARGET, 1)).rejects.toMatchObject({ code: 'POOL_SATURATED' });
  });
});

describe('the arguments of warm', () => {
  test.each([
    { count: 0, error: RangeError },
    { count: -1, error: RangeError },
    { count: 1.5, error: RangeError },
    { count: Number.POSITIVE_INFINITY, error: RangeError },
    { count: Number.NaN, error: TypeError },
    { count: '2', error: TypeError },
    { count: undefined, error: TypeError },
  ])('are checked: count $count', async ({ count, error }) => {
    const { pool } = makePool();
    const warming = pool.warm(TARGET, count as number);
    await expect(warming).rejects.toThrow(error);
    await expect(warming).rejects.toThrow(/^Expected `count` to be an integer ≥ 1, got /);
  });

  test('are checked: options and target', async () => {
    const { pool } = makePool();
    await expect(pool.warm(TARGET, 1, { sginal: 1 } as object)).rejects.toThrow(
      'Unknown warm option `sginal`',
    );
    await expect(pool.warm(TARGET, 1, { signal: {} } as object)).rejects.toThrow(TypeError);
    await expect(pool.warm({} as never, 1)).rejects.toThrow(TypeError);
    expect(pool.stats().keys).toBe(0);
  });
});
