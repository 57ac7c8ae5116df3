// Shared sessions and affinity: several leases on one session, one session per downstream session.

import { describe, expect, test } from 'vitest';
import { makePool, TARGET, targetOf, watch } from './support/pool-fixture.ts';

const affine = targetOf('one', { affinity: 'downstream' });

describe('shared leases', () => {
  test('fill a session up before another is opened', async () => {
    const { lease, connector } = makePool({ leasesPerSession: 2 });
    const leases = [await lease(), await lease(), await lease()];
    expect(leases.map(({ client }) => client.session)).toEqual([
      connector.sessions[0],
      connector.sessions[0],
      connector.sessions[1],
    ]);
    expect(leases.map(({ reused }) => reused)).toEqual([false, true, false]);
  });

  test('each have a client of their own', async () => {
    const { lease } = makePool({ leasesPerSession: 2 });
    const [first, second] = [await lease(), await lease()];
    expect(first.client).not.toBe(second.client);
    first.release();
    await expect(first.client.call()).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    await expect(second.client.call()).resolves.toBe('session-0');
  });

  test('one open serves as many waiters as the session takes', async () => {
    const { pool, clock, connector } = makePool({ leasesPerSession: 3, gates: { open: 'held' } });
    const waiting = [1, 2, 3, 4].map(() => watch(pool.acquire(TARGET)));
    await clock.settle();
    expect(connector.sessions).toHaveLength(2);
    connector.sessions[0]?.let('ok');
    await clock.settle();
    expect(waiting.map(({ state }) => state[0]).join('')).toBe('fffp');
  });

  test('a discarded one takes no new lease onto its session, which goes with the last', async () => {
    const { lease, connector, clock } = makePool({ leasesPerSession: 2 });
    const [first, second] = [await lease(), await lease()];
    first.discard();
    expect((await lease()).client.session).toBe(connector.sessions[1]);
    expect(second.signal.aborted).toBe(false);
    expect(connector.sessions[0]?.count('fence')).toBe(0);
    second.release();
    await clock.settle();
    expect(connector.sessions[0]?.count('sever')).toBe(1);
  });

  test('a tainted one does not end the session that others share', async () => {
    const { lease, clock, connector, pool } = makePool({
      leasesPerSession: 2,
      gates: { giveBack: 'tainted' },
    });
    const [first, second] = [await lease(), await lease()];
    first.release();
    second.release();
    await clock.settle();
    expect(pool.stats().sessions.idle).toBe(1);
    expect(connector.last.count('fence')).toBe(0);
  });

  test('are counted each for itself, however they end', async () => {
    const { lease, connector, clock, pool } = makePool({ leasesPerSession: 4 });
    const leases = [await lease(), await lease(), await lease(), await lease()];
    leases[0]?.release();
    leases[0]?.release();
    await lease();
    leases[1]?.discard();
    leases[1]?.release();
    expect(pool.stats().totals).toMatchObject({ released: 1, discarded: 1, reused: 4 });
    connector.last.lost.abort(new Error('gone'));
    await clock.settle();
    for (const { signal } of leases.slice(2)) {
      expect(signal.reason).toMatchObject({ code: 'SESSION_LOST' });
    }
    for (const each of leases) each.release();
    await clock.settle();
    expect(pool.stats()).toMatchObject({
      sessions: { leased: 0, idle: 0, closing: 0 },
      totals: { released: 1, discarded: 1, opened: 1, closed: 1 },
    });
  });

  test('exclusive and shared targets of one server have sessions of their own', async () => {
    const { lease, connector } = makePool();
    await lease(targetOf('one'));
    await lease(targetOf('one', { leasesPerSession: 4 }));
    await lease(targetOf('one', { leasesPerSession: 4 }));
    expect(connector.sessions).toHaveLength(2);
  });

  test('without `lend`, the client is the session’s own, and a released lease gives it to nobody', async () => {
    const { lease, connector } = makePool({ gates: { lend: 'absent' } });
    const held = await lease();
    expect(held.client).toBe(connector.last.client);
    held.release();
    expect(() => held.client).toThrow(/has ended: released/);
  });
});

describe('affinity', () => {
  test('means exactly one session, shared by all its calls at once', async () => {
    const { pool, clock, connector } = makePool();
    const waiting = Array.from({ length: 20 }, () => watch(pool.acquire(affine)));
    await clock.settle();
    expect(connector.sessions).toHaveLength(1);
    expect(waiting.every(({ state }) => state === 'fulfilled')).toBe(true);
    expect(pool.stats().sessions).toMatchObject({ leased: 1 });
  });

  test('takes no limit of a target: work out of other work would wait for itself', async () => {
    const { pool, clock } = makePool({ leasesPerSession: 1, maxSessionsPerKey: 1 });
    const own = { ...affine, leasesPerSession: 1 };
    const depths: number[] = [];
    const nested = (depth: number): Promise<void> =>
      pool.use(own, async () => {
        depths.push(depth);
        if (depth < 3) await nested(depth + 1);
      });
    const done = watch(nested(1));
    await clock.settle();
    expect([done.state, depths]).toEqual(['fulfilled', [1, 2, 3]]);
    expect(pool.stats().totals.opened).toBe(1);
  });

  test('keeps two downstream sessions apart, and both apart from none (I8)', async () => {
    const { lease } = makePool();
    const sessions = new Set();
    for (const target of [affine, targetOf('one', { affinity: 'other' }), targetOf('one')]) {
      sessions.add((await lease(target)).client.session);
    }
    expect(sessions.size).toBe(3);
  });

  test('keeps identities apart (I8)', async () => {
    const { lease } = makePool();
    const ada = await lease({ ...affine, identity: 'ada' });
    const bob = await lease({ ...affine, identity: 'bob' });
    expect(ada.client.session).not.toBe(bob.client.session);
  });

  test('ends after affinityIdleTimeoutMs, not after idleTimeoutMs, and never by age', async () => {
    const { warm, pool, clock } = makePool({
      idleTimeoutMs: 1_000,
      maxLifetimeMs: 2_000,
      affinityIdleTimeoutMs: 10_000,
    });
    await warm(affine);
    await clock.advance(9_000);
    await warm(affine);
    await clock.advance(9_000);
    expect(pool.stats().totals.opened).toBe(1);
    await clock.advance(2_000);
    expect(pool.stats().sessions).toEqual({
      opening: 0,
      probing: 0,
      idle: 0,
      leased: 0,
      closing: 0,
    });
  });

  test('keeps state that a lease left behind: that is what it is for', async () => {
    const { warm, pool, clock } = makePool({ gates: { giveBack: 'tainted' } });
    await warm({ ...affine, leasesPerSession: 1 });
    await clock.settle();
    expect(pool.stats().sessions.idle).toBe(1);
  });

  test('never papers over a loss: the lease ends, and the next one is not reused', async () => {
    const { lease, connector, clock } = makePool();
    const held = await lease(affine);
    connector.last.lost.abort(new Error('gone'));
    await clock.settle();
    expect(held.signal.reason).toMatchObject({ code: 'SESSION_LOST' });
    expect(await lease(affine)).toMatchObject({ reused: false });
  });

  test('opens its next session only when the last one is gone', async () => {
    const { pool, warm, clock, connector } = makePool({ gates: { clientClose: 'held' } });
    await warm(affine);
    pool.retire({ affinity: 'downstream' });
    const waiting = watch(pool.acquire(affine));
    await clock.settle();
    expect([waiting.state, connector.sessions.length]).toEqual(['pending', 1]);
    connector.last.let('ok');
    await clock.settle();
    expect(waiting.got.client.session).toBe(connector.sessions[1]);
  });
});
