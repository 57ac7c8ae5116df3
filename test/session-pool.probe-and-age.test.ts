// What time does: idle timeout, lifetime with jitter, probes before lending, leases held for too long.
// Points 7, 11 and 12 of design section 4.

import { describe, expect, test } from 'vitest';
import type { PoolEvent } from '../src/observe/events.ts';
import { makePool, TARGET, targetOf, watch } from './support/pool-fixture.ts';

const reasonsOf = (events: readonly PoolEvent[]): string[] =>
  events.flatMap((event) => (event.type === 'session-retired' ? [event.reason] : []));

describe('an idle session', () => {
  test('is closed after idleTimeoutMs, by a timer that keeps no process alive', async () => {
    const { pool, warm, clock, events } = makePool({ idleTimeoutMs: 10_000 });
    await warm();
    expect([clock.pendingCount, clock.referencedCount]).toEqual([1, 0]);
    await clock.advance(9_999);
    expect(pool.stats().sessions.idle).toBe(1);
    await clock.advance(1_001);
    expect(reasonsOf(events)).toEqual(['idle-timeout']);
    expect(pool.stats().keys).toBe(0);
    expect(clock.pendingCount).toBe(0);
  });

  test('point 12: costs no timer of its own: one for the pool, however many keys', async () => {
    const { warm, clock } = makePool();
    for (let count = 0; count < 40; count += 1) await warm(targetOf(`server-${count}`));
    expect(clock.pendingCount).toBe(1);
  });

  test('starts its time anew with every release', async () => {
    const { pool, warm, clock } = makePool({ idleTimeoutMs: 10_000 });
    for (let round = 0; round < 5; round += 1) {
      await warm();
      await clock.advance(9_000);
    }
    expect(pool.stats().totals.opened).toBe(1);
  });

  test('that was in use at night is let go, newest last', async () => {
    const { pool, lease, clock, connector } = makePool({ idleTimeoutMs: 10_000 });
    const [first, second] = [await lease(), await lease()];
    first.release();
    await clock.advance(5_000);
    second.release();
    await clock.advance(6_000);
    expect(connector.sessions.map((session) => session.count('sever'))).toEqual([1, 0]);
    await clock.advance(5_000);
    expect(pool.stats().keys).toBe(0);
  });

  test.each([Number.POSITIVE_INFINITY, 2 ** 31, 1e12])(
    'with ages of %s is kept, and no timer overflows',
    async (age) => {
      const { pool, warm, clock } = makePool({
        idleTimeoutMs: age,
        maxLifetimeMs: age,
        maxLeaseMs: age,
        leakWarningMs: age,
        probeAfterIdleMs: age,
      });
      await warm();
      await clock.advance(1_000_000_000);
      expect(pool.stats().sessions.idle).toBe(1);
      if (age === Number.POSITIVE_INFINITY) expect(clock.pendingCount).toBe(0);
    },
  );

  test('is closed on time after more than 2^31 ms', async () => {
    const { pool, warm, clock } = makePool({
      idleTimeoutMs: 3e9,
      maxLifetimeMs: Number.POSITIVE_INFINITY,
    });
    await warm();
    await clock.advance(3e9 - 1);
    expect(pool.stats().sessions.idle).toBe(1);
    await clock.advance(1_001);
    expect(pool.stats().sessions.idle).toBe(0);
  });
});

describe('a session’s lifetime', () => {
  test.each([
    { random: 0, lifetimeMs: 90_000 },
    { random: 0.5, lifetimeMs: 100_000 },
    { random: 0.999, lifetimeMs: 109_980 },
  ])(
    'point 11: ends within ± 10 % of maxLifetimeMs, by chance $random',
    async ({ random, lifetimeMs }) => {
      const { pool, warm, clock, events } = makePool({ maxLifetimeMs: 100_000 }, () => random);
      await warm();
      await clock.advance(lifetimeMs - 1);
      expect(pool.stats().sessions.idle).toBe(1);
      await clock.advance(1_001);
      expect(reasonsOf(events)).toEqual(['max-lifetime']);
    },
  );

  test('does not end a lease; its session goes when released', async () => {
    const { lease, clock, connector, events } = makePool({ maxLifetimeMs: 1_000 });
    const held = await lease();
    await clock.advance(5_000);
    expect(held.signal.aborted).toBe(false);
    held.release();
    await clock.advance(100);
    expect(connector.last.count('sever')).toBe(1);
    expect(reasonsOf(events)).toEqual(['max-lifetime']);
  });
});

describe('a probe', () => {
  const probing = { probeAfterIdleMs: 1_000 };

  test('point 11: comes before lending only what was idle for longer than probeAfterIdleMs', async () => {
    const { warm, clock, connector } = makePool(probing);
    await warm();
    await clock.advance(1_000);
    await warm();
    expect(connector.count('probe')).toBe(0);
    await clock.advance(1_001);
    await warm();
    expect(connector.count('probe')).toBe(1);
    expect(connector.sessions).toHaveLength(1);
  });

  test('with probeAfterIdleMs 0 comes once before every lease, and never runs in a circle', async () => {
    const { warm, connector, clock } = makePool({ probeAfterIdleMs: 0 });
    await warm();
    for (let round = 0; round < 3; round += 1) {
      await clock.advance(1);
      await warm();
    }
    expect(connector.count('probe')).toBe(3);
  });

  test.each(['fails', 'throws', 'never'] as const)(
    'that %s closes the session, and the waiter gets a fresh one',
    async (probe) => {
      const { warm, pool, clock, connector, events } = makePool({
        ...probing,
        probeTimeoutMs: 300,
      });
      await warm();
      connector.last.gates.probe = probe;
      await clock.advance(1_001);
      const waiting = watch(pool.acquire(TARGET));
      await clock.advance(300);
      expect(waiting.got.client.session).toBe(connector.sessions[1]);
      expect(connector.sessions[0]?.count('sever')).toBe(1);
      expect(reasonsOf(events)).toEqual(['probe-failed']);
      expect(pool.stats().totals).toMatchObject({ probed: 1, probeFailed: 1 });
    },
  );

  test('point 7: has a deadline that aborts it', async () => {
    const { warm, pool, clock, connector } = makePool({ ...probing, probeTimeoutMs: 300 });
    await warm();
    connector.last.gates.probe = 'never';
    await clock.advance(1_001);
    watch(pool.acquire(TARGET));
    await clock.advance(299);
    const { signal } = connector.calls.find(({ name }) => name === 'probe') ?? {};
    expect([signal?.aborted, pool.stats().sessions.probing]).toEqual([false, 1]);
    await clock.advance(1);
    expect([signal?.aborted, pool.stats().sessions.probing]).toEqual([true, 0]);
  });

  test('outlives an impatient caller: the session is idle again and still reaches its timeout', async () => {
    const { warm, pool, clock, connector } = makePool({ ...probing, idleTimeoutMs: 2_000 });
    await warm();
    connector.last.gates.probe = 'held';
    await clock.advance(1_500);
    const controller = new AbortController();
    watch(pool.acquire(TARGET, { signal: controller.signal }));
    await clock.settle();
    controller.abort();
    // The tick at which it would have been idle for too long finds it being probed.
    await clock.advance(1_000);
    connector.last.let('ok');
    await clock.settle();
    expect(pool.stats().sessions.idle).toBe(1);
    await clock.advance(3_100);
    expect(pool.stats().sessions.idle).toBe(0);
  });

  test('that meets the loss of its session ends once', async () => {
    const { warm, pool, clock, connector, events } = makePool(probing);
    await warm();
    connector.last.gates.probe = 'held';
    await clock.advance(1_001);
    const waiting = watch(pool.acquire(TARGET));
    await clock.settle();
    connector.sessions[0]?.lost.abort(new Error('gone'));
    connector.sessions[0]?.let('ok', 'probe');
    await clock.settle();
    expect(reasonsOf(events)).toEqual(['lost']);
    expect(waiting.got.client.session).toBe(connector.sessions[1]);
  });

  test('says that the acquire was waiting for it when the time runs out', async () => {
    const { warm, pool, clock, connector } = makePool(probing);
    await warm();
    connector.last.gates.probe = 'never';
    await clock.advance(1_001);
    const waiting = watch(pool.acquire(TARGET, { timeoutMs: 100 }));
    await clock.advance(100);
    expect(waiting.error).toMatchObject({ code: 'ACQUIRE_TIMEOUT', phase: 'probe' });
  });

  test('of what cannot be probed is left out', async () => {
    const { warm, clock, lease, connector } = makePool({ ...probing, gates: { probe: 'absent' } });
    await warm();
    await clock.advance(5_000);
    expect((await lease()).reused).toBe(true);
    expect(connector.sessions).toHaveLength(1);
  });
});

describe('a lease held for too long', () => {
  test('is taken back after maxLeaseMs, with its session', async () => {
    const { lease, clock, connector, pool, events } = makePool({ maxLeaseMs: 10_000 });
    const held = await lease();
    await clock.advance(9_999);
    expect(held.signal.aborted).toBe(false);
    await clock.advance(501);
    expect(held.signal.reason).toMatchObject({ code: 'LEASE_RELEASED', reason: 'lease-overdue' });
    expect(connector.last.count('sever')).toBe(1);
    expect(pool.stats().totals).toMatchObject({ overdue: 1, released: 0 });
    held.release();
    expect(reasonsOf(events)).toEqual(['lease-overdue']);
  });

  test('point 12: is reported once, with the stack of its acquire', async () => {
    const { pool, clock, events } = makePool({ leakWarningMs: 1_000 });
    async function theLeakyBorrower(): Promise<void> {
      await pool.acquire(TARGET);
    }
    await theLeakyBorrower();
    await clock.advance(60_000);
    const leaks = events.filter((event) => event.type === 'lease-leaking');
    expect(leaks).toHaveLength(1);
    expect(leaks[0]).toMatchObject({ acquiredAt: expect.stringContaining('theLeakyBorrower') });
    expect(pool.stats()).toMatchObject({ sessions: { leased: 1 }, totals: { leaking: 1 } });
    expect(clock.pendingCount).toBe(0);
  });

  test('is first reported, then taken back', async () => {
    const { lease, clock, events } = makePool({ leakWarningMs: 1_000, maxLeaseMs: 5_000 });
    await lease();
    await clock.advance(6_000);
    expect(events.map(({ type }) => type)).toEqual([
      'session-opened',
      'lease-granted',
      'lease-leaking',
      'lease-ended',
      'session-retired',
      'session-closed',
    ]);
  });

  test('on a shared session ends alone', async () => {
    const { lease, clock, pool } = makePool({ maxLeaseMs: 1_000, leasesPerSession: 2 });
    const first = await lease();
    await clock.advance(900);
    const second = await lease();
    await clock.advance(200);
    expect([first.signal.aborted, second.signal.aborted]).toEqual([true, false]);
    expect(pool.stats()).toMatchObject({ sessions: { leased: 1 }, totals: { overdue: 1 } });
    second.release();
    expect(pool.stats().sessions.idle).toBe(1);
  });
});
