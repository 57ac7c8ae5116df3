// Idle sessions are asked in the background whether they are still there: when, how many at once,
// and what becomes of those that are not. Time is the test's.

import type { GatedConnector } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import type { PoolEvent } from '../src/observe/events.ts';
import { makePool, TARGET, targetOf, watch } from './support/pool-fixture.ts';

const KEEP_ALIVE = { keepAliveMs: 10_000, idleTimeoutMs: Number.POSITIVE_INFINITY };
const FOR_EVER = { maxLifetimeMs: Number.POSITIVE_INFINITY };

const reasonsOf = (events: readonly PoolEvent[]): string[] =>
  events.flatMap((event) => (event.type === 'session-retired' ? [event.reason] : []));

/** When each probe was asked. */
const probesOf = (connector: GatedConnector): number[] =>
  connector.calls.filter(({ name }) => name === 'probe').map(({ at }) => at);

/** The most values of `sorted` within any `windowMs`. */
function mostWithin(windowMs: number, sorted: readonly number[]): number {
  let most = 0;
  for (let from = 0, to = 0; to < sorted.length; to += 1) {
    while ((sorted[to] ?? 0) - (sorted[from] ?? 0) >= windowMs) from += 1;
    most = Math.max(most, to - from + 1);
  }
  return most;
}

describe('an idle session', () => {
  test('is left alone by default', async () => {
    const { warm, clock, connector } = makePool({ idleTimeoutMs: Number.POSITIVE_INFINITY });
    await warm();
    await clock.advance(1_000_000);
    expect(connector.count('probe')).toBe(0);
  });

  test.each([0, 0.5, 0.999])(
    'is asked once it was unheard for keepAliveMs, a quarter earlier at most, by chance %s',
    async (random) => {
      const { warm, clock, connector } = makePool(KEEP_ALIVE, () => random);
      await warm();
      const heardAt = clock.now();
      await clock.advance(35_000);
      const asked = [heardAt, ...probesOf(connector)];
      expect(asked.length).toBeGreaterThan(3);
      for (let index = 1; index < asked.length; index += 1) {
        const unheardMs = (asked[index] ?? 0) - (asked[index - 1] ?? 0);
        expect(unheardMs).toBeGreaterThanOrEqual(7_500);
        expect(unheardMs).toBeLessThanOrEqual(10_000);
      }
    },
  );

  test('is not asked while it is lent, and anew from its release', async () => {
    const { warm, lease, clock, connector } = makePool(KEEP_ALIVE);
    await warm();
    const held = await lease();
    await clock.advance(50_000);
    expect(connector.count('probe')).toBe(0);
    held.release();
    await clock.advance(7_000);
    expect(connector.count('probe')).toBe(0);
    await clock.advance(3_000);
    expect(connector.count('probe')).toBe(1);
  });

  test('that cannot be asked is not', async () => {
    const { warm, pool, clock } = makePool({ ...KEEP_ALIVE, gates: { probe: 'absent' } });
    await warm();
    await clock.advance(100_000);
    expect(pool.stats()).toMatchObject({ sessions: { idle: 1 }, totals: { probed: 0 } });
  });

  test('that answers is not asked again by the next acquire, however long it was idle', async () => {
    const { warm, lease, clock, connector } = makePool({ ...KEEP_ALIVE, probeAfterIdleMs: 15_000 });
    await warm();
    await clock.advance(100_000);
    const asked = connector.count('probe');
    expect(asked).toBeGreaterThan(8);
    expect((await lease()).reused).toBe(true);
    expect(connector.count('probe')).toBe(asked);
  });

  test.each(['fails', 'throws', 'never'] as const)(
    'that is dead (%s) is taken down before anybody gets it',
    async (probe) => {
      const { warm, lease, pool, clock, connector, events } = makePool(KEEP_ALIVE);
      await warm();
      connector.last.gates.probe = probe;
      await clock.advance(10_000 + 5_000);
      expect(reasonsOf(events)).toEqual(['probe-failed']);
      expect(pool.stats().totals).toMatchObject({ probed: 1, probeFailed: 1, closed: 1 });
      expect(events).toContainEqual(expect.objectContaining({ type: 'session-probed', ok: false }));
      const fresh = await lease();
      expect([fresh.reused, fresh.client.session.id]).toEqual([false, 'session-1']);
    },
  );

  test('that says under the question that it is lost ends once, as lost', async () => {
    const { warm, pool, clock, connector, events } = makePool({
      ...KEEP_ALIVE,
      gates: { probe: 'held' },
    });
    await warm();
    await clock.advance(10_000);
    expect(pool.stats().sessions.probing).toBe(1);
    connector.last.lost.abort(new Error('gone'));
    connector.last.let('ok', 'probe');
    await clock.settle();
    expect(reasonsOf(events)).toEqual(['lost']);
    expect(pool.stats().totals).toMatchObject({ lost: 1, probeFailed: 0 });
  });

  test('with affinity is asked too, and its loss is told by the next lease', async () => {
    const { warm, lease, clock, connector, events } = makePool(KEEP_ALIVE);
    const target = targetOf('one', { identity: 'ada', affinity: 'downstream' });
    await warm(target);
    connector.last.gates.probe = 'fails';
    await clock.advance(10_000);
    expect(reasonsOf(events)).toEqual(['probe-failed']);
    expect((await lease(target)).reused).toBe(false);
  });
});

describe('being asked', () => {
  test('does not extend idleTimeoutMs', async () => {
    const { warm, pool, clock, connector, events } = makePool({
      keepAliveMs: 1_000,
      idleTimeoutMs: 10_000,
    });
    await warm();
    await clock.advance(9_000);
    expect(connector.count('probe')).toBeGreaterThan(8);
    const idleMs: number[] = [];
    pool.retire((session) => idleMs.push(session.idleMs) < 0);
    expect(idleMs).toEqual([9_000]);
    await clock.advance(1_100);
    expect(reasonsOf(events)).toEqual(['idle-timeout']);
  });

  test('does not extend maxLifetimeMs', async () => {
    const { warm, clock, events } = makePool({
      keepAliveMs: 1_000,
      idleTimeoutMs: Number.POSITIVE_INFINITY,
      maxLifetimeMs: 20_000,
    });
    await warm();
    await clock.advance(19_900);
    expect(reasonsOf(events)).toEqual([]);
    await clock.advance(200);
    expect(reasonsOf(events)).toEqual(['max-lifetime']);
  });

  test('leaves sessions in their order: the last one released is lent first', async () => {
    const { lease, clock, connector } = makePool(KEEP_ALIVE);
    const held = [await lease(), await lease(), await lease()];
    for (const each of [held[2], held[0], held[1]]) {
      each?.release();
      await clock.advance(1_000);
    }
    // By now each was asked several times, the one released last at the end.
    await clock.advance(60_000);
    expect(connector.sessions.every((session) => session.count('probe') > 4)).toBe(true);
    const order = [await lease(), await lease(), await lease()];
    expect(order.map(({ client }) => client.session.id)).toEqual([
      'session-1',
      'session-0',
      'session-2',
    ]);
  });

  test('leaves sessions in their order: the one idle for longest gives way first', async () => {
    const { lease, clock, connector } = makePool({ ...KEEP_ALIVE, maxSessions: 2 });
    const held = [await lease(), await lease()];
    held[1]?.release();
    await clock.advance(1_000);
    held[0]?.release();
    await clock.advance(60_000);
    await lease(targetOf('two'));
    expect(connector.sessions.map((session) => session.count('sever'))).toEqual([0, 1, 0]);
  });

  test('is shared with who comes meanwhile: one question, no open, and the answer is theirs', async () => {
    const { warm, pool, clock, connector } = makePool({
      ...KEEP_ALIVE,
      probeAfterIdleMs: 0,
      gates: { probe: 'held' },
    });
    await warm();
    await clock.advance(10_000);
    const waiting = watch(pool.acquire(TARGET));
    await clock.advance(100);
    expect(waiting.state).toBe('pending');
    connector.last.let('ok', 'probe');
    await clock.settle();
    expect(waiting.got.reused).toBe(true);
    expect([connector.count('probe'), connector.count('open')]).toEqual([1, 1]);
  });

  test('gives the session to who came before its idle timeout passed under the question', async () => {
    const { warm, pool, clock, connector } = makePool({
      keepAliveMs: 10_000,
      idleTimeoutMs: 12_000,
      gates: { probe: 'held' },
    });
    await warm();
    await clock.advance(10_000);
    const waiting = watch(pool.acquire(TARGET));
    await clock.advance(3_000);
    connector.last.let('ok', 'probe');
    await clock.settle();
    expect([waiting.got.reused, connector.count('open')]).toEqual([true, 1]);
  });

  test('of a dead session gives who comes meanwhile a fresh one', async () => {
    const { warm, pool, clock, connector } = makePool({ ...KEEP_ALIVE, gates: { probe: 'held' } });
    await warm();
    await clock.advance(10_000);
    const waiting = watch(pool.acquire(TARGET));
    connector.last.let('fails', 'probe');
    await clock.settle();
    expect(waiting.got.client.session).toBe(connector.sessions[1]);
  });

  test('keeps no process alive before and after, only meanwhile', async () => {
    const { warm, clock, connector } = makePool({ ...KEEP_ALIVE, gates: { probe: 'held' } });
    await warm();
    expect([clock.pendingCount, clock.referencedCount]).toEqual([1, 0]);
    await clock.advance(10_000);
    expect(clock.referencedCount).toBeGreaterThan(0);
    connector.last.let('ok', 'probe');
    await clock.settle();
    expect([clock.pendingCount, clock.referencedCount]).toEqual([1, 0]);
  });

  test('ends with the pool: nobody is asked any more, and nothing is left', async () => {
    const { pool, clock, connector } = makePool({
      ...KEEP_ALIVE,
      maxSessionsPerKey: 20,
      // Each takes a slice of the teardown's pace, so that others are idle still when one is gone.
      gates: { probe: 'held', fence: 'slow' },
    });
    const warm = watch(pool.warm(TARGET, 20));
    await clock.settle();
    expect(warm.got.sessions).toBe(20);
    await clock.advance(10_000);
    expect(connector.count('probe')).toBe(8);
    const closing = watch(pool.close());
    await clock.advance(100);
    expect(closing.got).toMatchObject({ sessions: 20, closed: 20 });
    expect(connector.count('probe')).toBe(8);
    expect(clock.pendingCount).toBe(0);
  });
});

describe('the budget', () => {
  test('spreads 10,000 sessions that are due at once: 200 a second, and all within a minute', async () => {
    const count = 10_000;
    const { pool, clock, connector } = makePool({
      ...KEEP_ALIVE,
      ...FOR_EVER,
      keepAliveMs: 120_000,
      maxSessions: count,
      maxSessionsPerKey: count,
      maxOpeningPerKey: count,
    });
    await Promise.all([pool.warm(TARGET, count), clock.settle()]);
    // All have the same chance here, so that all are due at the same instant.
    await clock.advance(120_000 * 0.85);
    const startedAt = clock.now();
    await clock.advance(60_000);
    const asked = probesOf(connector);
    expect(asked).toHaveLength(count);
    expect(new Set(connector.sessions.map((session) => session.count('probe')))).toEqual(
      new Set([1]),
    );
    expect(mostWithin(100, asked)).toBe(20);
    expect((asked.at(-1) ?? 0) - startedAt).toBeLessThan(51_000);
    expect(pool.stats()).toMatchObject({ sessions: { idle: count }, totals: { probeFailed: 0 } });
  });

  test('is shared: a server that answers nothing has 8 questions, and holds up nobody else', async () => {
    const { pool, clock, connector } = makePool({ ...KEEP_ALIVE, maxSessionsPerKey: 50 });
    connector.gates = (_open, target) => ({
      probe: 'url' in target && String(target.url).includes('mute') ? 'never' : 'ok',
    });
    const [mute, well] = [targetOf('mute'), targetOf('well')];
    await Promise.all([pool.warm(mute, 50), pool.warm(well, 50), clock.settle()]);
    await clock.advance(9_000);
    const askedOf = (name: string): number =>
      connector.calls.filter(
        (call) => call.name === 'probe' && JSON.stringify(call.session.target).includes(name),
      ).length;
    expect([askedOf('mute'), askedOf('well')]).toEqual([8, 50]);
    expect(pool.stats().sessions.probing).toBe(8);
    // The next eight when those are given up; in the end all are gone.
    await clock.advance(5_000);
    expect(askedOf('mute')).toBe(16);
    await clock.advance(40_000);
    expect(pool.stats().totals.probeFailed).toBe(50);
  });

  test('is 32 at once, over all servers', async () => {
    const { pool, clock, connector } = makePool({ ...KEEP_ALIVE, gates: { probe: 'held' } });
    const targets = Array.from({ length: 10 }, (_, index) => targetOf(`server-${index}`));
    await Promise.all([...targets.map((target) => pool.warm(target, 8)), clock.settle()]);
    await clock.advance(9_500);
    expect([connector.count('probe'), pool.stats().sessions.probing]).toEqual([32, 32]);
    for (const { session } of connector.calls.filter(({ name }) => name === 'probe')) {
      session.let('ok', 'probe');
    }
    await clock.advance(500);
    expect(connector.count('probe')).toBe(64);
  });

  test('forgets nobody: who was lent while in line is asked in its own time', async () => {
    const { pool, lease, clock, connector } = makePool({ ...KEEP_ALIVE, gates: { probe: 'held' } });
    const [ada, bob] = [targetOf('one', { identity: 'ada' }), targetOf('one', { identity: 'bob' })];
    await Promise.all([pool.warm(ada, 8), clock.settle()]);
    await Promise.all([pool.warm(bob, 1), clock.settle()]);
    await clock.advance(9_000);
    const last = connector.last;
    expect([connector.count('probe'), last.count('probe')]).toEqual([8, 0]);
    (await lease(bob)).release();
    for (const session of connector.sessions) {
      session.let('ok', 'probe');
      session.gates.probe = 'ok';
    }
    await clock.advance(7_000);
    expect(last.count('probe')).toBe(0);
    await clock.advance(3_000);
    expect(last.count('probe')).toBe(1);
    await clock.advance(10_000);
    expect(last.count('probe')).toBe(2);
  });
});

test('a session that says while it is asked that it wore out goes, also between idle ones', async () => {
  const { pool, clock, connector, lease, events } = makePool({
    ...KEEP_ALIVE,
    ...FOR_EVER,
    gates: { probe: 'held' },
  });
  for (const held of [await lease(), await lease(), await lease()]) {
    held.release();
    await clock.advance(100);
  }
  await clock.advance(9_500);
  const [first, worn, last] = connector.sessions;
  for (const session of [first, last]) session?.let('ok', 'probe');
  worn?.context.worn?.();
  await clock.settle();
  expect(worn?.let('ok', 'probe')).toBe(1);
  await clock.settle();
  expect(reasonsOf(events)).toEqual(['worn']);
  expect(worn?.count('sever')).toBe(1);
  expect(pool.stats().sessions.idle).toBe(2);
});
