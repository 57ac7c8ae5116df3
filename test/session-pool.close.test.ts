// Point 3 of design section 4: a close with a deadline. Waiters are rejected at once, leases taken
// back, late sessions taken down, and calling it again changes nothing but the drain.

import { describe, expect, test } from 'vitest';
import { CountedController } from './support/counted-signal.ts';
import { runMicrotasks } from './support/microtasks.ts';
import { makePool, TARGET, targetOf, watch } from './support/pool-fixture.ts';

const NOTHING = { opening: 0, probing: 0, idle: 0, leased: 0, closing: 0 };

describe('close', () => {
  test('of a pool that was never used settles in its turn', async () => {
    const { pool, clock } = makePool();
    await expect(pool.close()).resolves.toEqual({
      sessions: 0,
      closed: 0,
      abandoned: 0,
      unterminated: 0,
      durationMs: 0,
    });
    expect(clock.pendingCount).toBe(0);
  });

  test('rejects acquires from its own turn on, and every waiter', async () => {
    const { pool, lease, clock } = makePool({ maxSessionsPerKey: 1 });
    await lease();
    const waiting = [watch(pool.acquire(TARGET)), watch(pool.acquire(TARGET))];
    void pool.close();
    const late = watch(pool.acquire(TARGET));
    expect(pool.stats().waiting).toBe(0);
    await runMicrotasks(2);
    for (const { code } of [...waiting, late]) expect(code).toBe('POOL_CLOSED');
    await clock.settle();
  });

  test('takes leases back at once: their signal aborts, their calls reject, their release is nothing', async () => {
    const { pool, lease, connector, clock } = makePool();
    const held = await lease();
    const closing = pool.close();
    expect(held.signal.aborted).toBe(true);
    await expect(held.client.call()).rejects.toMatchObject({
      code: 'LEASE_RELEASED',
      reason: 'pool-closed',
    });
    held.release();
    await expect(closing).resolves.toMatchObject({ sessions: 1, closed: 1 });
    await clock.settle();
    expect(connector.last.count('giveBack')).toBe(0);
  });

  test('gives one promise, however often it is called', () => {
    const { pool } = makePool();
    expect(pool.close()).toBe(pool.close({ drainTimeoutMs: 50 }));
  });

  test('of many keys closes every key, those being opened and probed included', async () => {
    const { pool, clock, connector, warm } = makePool({ probeAfterIdleMs: 0 });
    await warm(targetOf('probed'));
    await clock.advance(1);
    connector.last.gates.probe = 'never';
    connector.gates = { open: 'never' };
    const waiting = [
      watch(pool.acquire(targetOf('probed'))),
      watch(pool.acquire(targetOf('opened'))),
    ];
    await clock.settle();
    expect(pool.stats().sessions).toMatchObject({ opening: 1, probing: 1 });
    const closing = watch(pool.close());
    await clock.settle();
    expect(waiting.map(({ code }) => code)).toEqual(['POOL_CLOSED', 'POOL_CLOSED']);
    expect(pool.stats()).toMatchObject({ sessions: NOTHING, unsettled: 1, keys: 0 });
    for (const { calls } of connector.sessions) {
      const pending = calls.findLast(({ name }) => name === 'open' || name === 'probe');
      expect(pending?.signal?.aborted).toBe(true);
    }
    // The connector that never settles is waited for, and no longer than closeTimeoutMs.
    await clock.advance(5_009);
    expect(closing.state).toBe('pending');
    await clock.advance(1);
    expect(closing.got).toMatchObject({ sessions: 1, durationMs: 5_010 });
    expect(clock.pendingCount).toBe(0);
  });

  test.each([-1, Number.NaN, '5', Number.POSITIVE_INFINITY, 2 ** 31])(
    'refuses a drain of %s and leaves the pool open',
    async (drainTimeoutMs) => {
      const { pool, lease } = makePool();
      await expect(pool.close({ drainTimeoutMs: drainTimeoutMs as number })).rejects.toThrow(
        /drainTimeoutMs/,
      );
      await expect(lease()).resolves.toBeDefined();
    },
  );

  test('refuses a signal that is none and leaves the pool open', async () => {
    const { pool, lease } = makePool();
    await lease();
    const bad = { drainTimeoutMs: 5, signal: {} as AbortSignal };
    await expect((async () => pool.close(bad))()).rejects.toThrow(/signal/);
    await expect(lease()).resolves.toBeDefined();
  });

  test('works as `await using` does', async () => {
    const { pool, warm } = makePool();
    await warm();
    await pool[Symbol.asyncDispose]();
    await expect(pool.acquire(TARGET)).rejects.toMatchObject({ code: 'POOL_CLOSED' });
    expect(pool.stats().totals.closed).toBe(1);
  });

  test('settles though a release, an abort and a loss come in its turn', async () => {
    const { pool, lease, clock, connector } = makePool({ maxSessionsPerKey: 3 });
    const leases = [await lease(), await lease(), await lease()];
    const closing = watch(pool.close());
    leases[0]?.release();
    leases[1]?.discard();
    connector.sessions[2]?.lost.abort(new Error('gone'));
    await clock.settle();
    expect(closing.got).toMatchObject({ sessions: 3, closed: 3 });
    for (const session of connector.sessions) expect(session.count('sever')).toBe(1);
  });

  test('started by a fence of its own, or by a listener, is the same close', async () => {
    const { pool, warm, clock, connector } = makePool();
    await warm();
    const inner: unknown[] = [];
    connector.onFence = () => inner.push(pool.close(), pool.retire());
    const outer = pool.close();
    await clock.settle();
    expect(inner[0]).toBe(outer);
    await expect(outer).resolves.toMatchObject({ sessions: 1, closed: 1 });
  });
});

describe('a drain', () => {
  test('lets leases go on, refuses new ones, and ends when the last is released', async () => {
    const { pool, lease, clock, connector } = makePool();
    const leases = [await lease(), await lease()];
    const closing = watch(pool.close({ drainTimeoutMs: 10_000 }));
    await clock.advance(500);
    await expect(leases[0]?.client.call()).resolves.toBe('session-0');
    leases[0]?.release();
    await clock.settle();
    expect(connector.sessions[0]?.count('sever')).toBe(1);
    expect(closing.state).toBe('pending');
    leases[1]?.release();
    await clock.settle();
    expect(closing.got).toMatchObject({ sessions: 2, closed: 2, durationMs: 500 });
    expect(clock.pendingCount).toBe(0);
  });

  test('is over after its time: then leases are taken back', async () => {
    const { pool, lease, clock } = makePool({ gates: { clientClose: 'never' } });
    const held = await lease();
    const closing = watch(pool.close({ drainTimeoutMs: 300 }));
    await clock.advance(299);
    expect(held.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(held.signal.aborted).toBe(true);
    await clock.advance(5_000);
    expect(closing.got).toMatchObject({ abandoned: 1, durationMs: 3_750 + 300 });
  });

  test('gives a session that is released late in it the whole time for its teardown', async () => {
    const { pool, lease, clock } = makePool({ gates: { terminate: 'slow', clientClose: 'slow' } });
    const held = await lease();
    const closing = watch(pool.close({ drainTimeoutMs: 60_000 }));
    await clock.advance(8_000);
    held.release();
    await clock.advance(2_000);
    expect(closing.got).toMatchObject({ closed: 1, abandoned: 0, unterminated: 0 });
    expect(closing.got.durationMs).toBe(10_000);
  });

  test('keeps the process alive', async () => {
    const { pool, lease, clock } = makePool();
    await lease();
    void pool.close({ drainTimeoutMs: 300 });
    expect(clock.referencedCount).toBeGreaterThan(0);
    await clock.advance(300);
    expect(clock.pendingCount).toBe(0);
  });

  test('is shortened by a second close, and never lengthened', async () => {
    const { pool, lease, clock } = makePool();
    await lease();
    const closing = watch(pool.close({ drainTimeoutMs: 10_000 }));
    await clock.advance(100);
    void pool.close({ drainTimeoutMs: 500 });
    void pool.close({ drainTimeoutMs: 60_000 });
    await clock.advance(499);
    expect(closing.state).toBe('pending');
    await clock.advance(1);
    expect(closing.got.durationMs).toBe(600);
  });

  test('is ended by a close without one', async () => {
    const { pool, lease, clock } = makePool();
    await lease();
    const closing = watch(pool.close({ drainTimeoutMs: 10_000 }));
    void pool.close();
    await clock.settle();
    expect(closing.got.durationMs).toBe(0);
  });

  test('is ended early by the signal of any call, and no listener is left', async () => {
    const { pool, lease, clock } = makePool();
    await lease();
    const [first, second] = [new CountedController(), new CountedController()];
    const closing = watch(pool.close({ drainTimeoutMs: 10_000, signal: first.signal }));
    void pool.close({ drainTimeoutMs: 9_000, signal: second.signal });
    await clock.advance(50);
    expect([first.listenerCount, second.listenerCount]).toEqual([1, 1]);
    second.abort();
    await clock.settle();
    expect(closing.got.durationMs).toBe(50);
    expect([first.listenerCount, second.listenerCount]).toEqual([0, 0]);
  });

  test('with a signal that is aborted already is none', async () => {
    const { pool, lease, clock } = makePool();
    await lease();
    const closing = watch(pool.close({ drainTimeoutMs: 10_000, signal: AbortSignal.abort() }));
    await clock.settle();
    expect(closing.got.durationMs).toBe(0);
  });

  test('takes down a session that comes back tainted, lost or by an exception, once', async () => {
    for (const giveBack of ['tainted', 'throws'] as const) {
      const { pool, lease, clock, connector } = makePool({ gates: { giveBack } });
      const held = await lease();
      const closing = watch(pool.close({ drainTimeoutMs: 100 }));
      held.release();
      await clock.settle();
      expect(closing.got).toMatchObject({ sessions: 1, closed: 1 });
      expect(connector.last.count('clientClose')).toBe(1);
    }
  });

  test('after it, release tears nothing down twice', async () => {
    const { pool, lease, clock, connector } = makePool({ leasesPerSession: 2 });
    const [first, second] = [await lease(), await lease()];
    const closing = watch(pool.close({ drainTimeoutMs: 100 }));
    first.release();
    await clock.advance(100);
    second.release();
    first.discard();
    await clock.settle();
    expect(closing.got).toMatchObject({ sessions: 1, closed: 1 });
    expect(connector.last.count('clientClose')).toBe(1);
    expect(pool.stats().sessions).toEqual(NOTHING);
  });
});
