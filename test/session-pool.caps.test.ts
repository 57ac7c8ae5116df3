// Points 6 and 9 of design section 4: everything is capped, what is opening, probing and closing
// counts, room goes round fairly over keys, and a blocked key never blocks another.

import { describe, expect, test } from 'vitest';
import { makePool, TARGET, targetOf, watch } from './support/pool-fixture.ts';

describe('the cap of a key', () => {
  test('point 6: counts a session that is closing until it is gone', async () => {
    const { pool, lease, clock } = makePool({
      maxSessionsPerKey: 1,
      gates: { clientClose: 'held' },
    });
    const held = await lease();
    held.discard();
    const waiting = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(pool.stats().sessions).toMatchObject({ closing: 1, opening: 0 });
    expect(waiting.state).toBe('pending');
    await clock.advance(3_750);
    expect(waiting.state).toBe('fulfilled');
  });

  test('point 6: counts sessions that are opening and being probed', async () => {
    const { pool, warm, clock, connector } = makePool({
      maxSessionsPerKey: 2,
      probeAfterIdleMs: 1,
      gates: { probe: 'never' },
    });
    await warm();
    await clock.advance(2);
    connector.gates = { open: 'never' };
    const waiting = [1, 2, 3].map(() => watch(pool.acquire(TARGET)));
    await clock.settle();
    expect(pool.stats().sessions).toMatchObject({ opening: 1, probing: 1 });
    expect(connector.sessions).toHaveLength(2);
    expect(waiting.every(({ state }) => state === 'pending')).toBe(true);
  });

  test('on waiters refuses one too many with POOL_SATURATED, at once', async () => {
    const { pool, lease, clock, events } = makePool({ maxSessionsPerKey: 1, maxWaitersPerKey: 2 });
    await lease();
    const waiting = [1, 2, 3].map(() => watch(pool.acquire(TARGET)));
    await clock.settle();
    expect(waiting.map(({ state }) => state)).toEqual(['pending', 'pending', 'rejected']);
    expect(waiting[2]?.error).toMatchObject({
      code: 'POOL_SATURATED',
      limit: 'maxWaitersPerKey',
      max: 2,
    });
    expect(pool.stats().totals.saturated).toBe(1);
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'acquire-rejected', reason: 'saturated' }),
    );
  });
});

describe('the cap on keys', () => {
  test('refuses one key too many with POOL_SATURATED, and takes it when another is gone', async () => {
    const { pool, warm, lease, clock } = makePool({ maxKeys: 2 });
    await warm(targetOf('one'));
    await warm(targetOf('two'));
    await expect(pool.acquire(targetOf('three'))).rejects.toMatchObject({
      code: 'POOL_SATURATED',
      limit: 'maxKeys',
      max: 2,
    });
    await expect(lease(targetOf('one'))).resolves.toBeDefined();
    pool.retire({ url: 'https://two.example/mcp' });
    await clock.settle();
    await expect(lease(targetOf('three'))).resolves.toBeDefined();
  });

  test('counts only keys that have something: empty ones are dropped', async () => {
    const { pool, warm, clock } = makePool({ maxKeys: 3, idleTimeoutMs: 1_000 });
    for (let round = 0; round < 20; round += 1) {
      await warm(targetOf(`server-${round}`));
      await clock.advance(1_200);
    }
    expect(pool.stats().keys).toBe(0);
    expect(clock.pendingCount).toBe(0);
  });
});

describe('the cap of the pool', () => {
  test('point 9: an idle session of the least recently used key gives way', async () => {
    const { pool, warm, lease, clock, connector, events } = makePool({ maxSessions: 3 });
    for (const name of ['one', 'two', 'three']) {
      await warm(targetOf(name));
      await clock.advance(1);
    }
    await warm(targetOf('one'));
    await lease(targetOf('four'));
    expect(connector.sessions.map((session) => session.count('sever'))).toEqual([0, 1, 0, 0]);
    expect(pool.stats()).toMatchObject({
      sessions: { idle: 2, leased: 1 },
      totals: { evicted: 1 },
    });
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'session-retired', reason: 'evicted' }),
    );
  });

  test('evicts the session that is idle for longest', async () => {
    const { pool, lease, clock, connector } = makePool({ maxSessions: 2 });
    const [first, second] = [await lease(), await lease()];
    second.release();
    await clock.advance(1);
    first.release();
    await pool.acquire(targetOf('two'));
    expect(connector.sessions.map((session) => session.count('sever'))).toEqual([0, 1, 0]);
  });

  test('evicts no session with affinity, and none that is in use', async () => {
    const { pool, warm, lease, clock } = makePool({ maxSessions: 2 });
    await warm(targetOf('one', { affinity: 'downstream' }));
    const held = await lease(targetOf('two'));
    const waiting = watch(pool.acquire(targetOf('three')));
    await clock.settle();
    expect(waiting.state).toBe('pending');
    held.release();
    await clock.settle();
    expect(waiting.state).toBe('fulfilled');
    expect(pool.stats().sessions).toMatchObject({ idle: 1, leased: 1 });
  });

  test('point 9: a key that hungers is woken by the release of any other key', async () => {
    const { pool, lease, clock } = makePool({ maxSessions: 1 });
    const held = await lease(targetOf('one'));
    const waiting = watch(pool.acquire(targetOf('two')));
    await clock.settle();
    expect(waiting.state).toBe('pending');
    held.release();
    await clock.settle();
    expect(waiting.got.client.session.target).toEqual(targetOf('two'));
  });

  test('point 9: an evicted session that is gone in the turn of its eviction leaves its room to the hungry', async () => {
    const { pool, warm, clock } = makePool({
      maxSessions: 1,
      gates: { terminate: 'throws', clientClose: 'throws', transportClose: 'throws' },
    });
    await warm(targetOf('one'));
    const waiting = watch(pool.acquire(targetOf('two')));
    await clock.settle();
    expect(waiting.state).toBe('fulfilled');
  });

  test('point 9: room goes round over hungry keys, one session each', async () => {
    const { pool, lease, clock, connector } = makePool({ maxSessions: 2, maxOpeningPerKey: 2 });
    const leases = [await lease(targetOf('zero')), await lease(targetOf('zero'))];
    const waiting = ['one', 'one', 'one', 'two', 'two'].map((name) =>
      watch(pool.acquire(targetOf(name))),
    );
    for (const held of leases) {
      held.release();
      await clock.settle();
    }
    const servers = connector.sessions
      .slice(2)
      .map(({ target }) => (target as { url: string }).url);
    expect(servers).toEqual(['https://one.example/mcp', 'https://two.example/mcp']);
    expect(waiting.map(({ state }) => state[0]).join('')).toBe('fppfp');
  });

  test('point 9: a key whose session goes queues behind those that hungered before it', async () => {
    const { pool, lease, clock } = makePool({ maxSessions: 1 });
    const held = await lease(targetOf('zero'));
    const earlier = watch(pool.acquire(targetOf('one')));
    const later = watch(pool.acquire(targetOf('zero')));
    held.discard();
    await clock.settle();
    expect([earlier.state, later.state]).toEqual(['fulfilled', 'pending']);
    earlier.got.discard();
    await clock.settle();
    expect(later.state).toBe('fulfilled');
  });

  test('point 9: a fence that acquires during an eviction has room made for it too', async () => {
    const { pool, warm, clock, connector } = makePool({
      maxSessions: 2,
      gates: { terminate: 'held' },
    });
    await warm(targetOf('one'));
    await warm(targetOf('two'));
    connector.onFence = () => {
      connector.onFence = undefined;
      watch(pool.acquire(targetOf('three')));
    };
    watch(pool.acquire(targetOf('four')));
    await clock.settle();
    expect(pool.stats().sessions).toMatchObject({ idle: 0, closing: 2 });
  });

  test('point 9: a key that is blocked by its own cap or its backoff never blocks another', async () => {
    const { pool, lease, clock, connector } = makePool({ maxSessions: 3, maxSessionsPerKey: 1 });
    await lease(targetOf('full'));
    const blocked = watch(pool.acquire(targetOf('full')));
    connector.gates = { open: 'fails' };
    await expect(pool.acquire(targetOf('dead'))).rejects.toMatchObject({ code: 'OPEN_FAILED' });
    const backingOff = watch(pool.acquire(targetOf('dead')));
    connector.gates = {};
    const other = watch(pool.acquire(targetOf('other')));
    await clock.settle();
    expect([blocked.state, backingOff.state, other.state]).toEqual([
      'pending',
      'pending',
      'fulfilled',
    ]);
    await clock.advance(200);
    expect(backingOff.state).toBe('fulfilled');
  });

  test('point 9: a shared session that is never done with makes room for who waits', async () => {
    const { pool, lease, clock } = makePool({ maxSessions: 2 });
    const busy = targetOf('busy', { leasesPerSession: 2 });
    const held = [await lease(busy), await lease(busy), await lease(busy)];
    const waiting = watch(pool.acquire(targetOf('other')));
    for (let count = 0; count < 20 && waiting.state === 'pending'; count += 1) {
      await clock.advance(100);
      // Leases overlap, so that there is one of each session at all times.
      const next = watch(pool.acquire(busy));
      held.shift()?.release();
      await clock.settle();
      if (next.state === 'fulfilled') held.push(next.got);
    }
    expect(waiting.state).toBe('fulfilled');
    expect(pool.stats()).toMatchObject({ sessions: { leased: 2 }, totals: { evicted: 1 } });
  });

  test('point 9: as many shared sessions make room as are missing, none with affinity', async () => {
    const { pool, lease, clock } = makePool({ maxSessions: 3 });
    const busy = targetOf('busy', { leasesPerSession: 2 });
    const held = [await lease(busy), await lease(busy), await lease(busy), await lease(busy)];
    const affine = targetOf('affine', { affinity: 'x' });
    const [first] = [await lease(affine), await lease(affine)];
    const waiting = watch(pool.acquire(targetOf('other')));
    first.release();
    held[0]?.release();
    held[2]?.release();
    await clock.settle();
    expect(waiting.state).toBe('pending');
    // One of the two is lent again, the other is not.
    const more = [watch(pool.acquire(busy)), watch(pool.acquire(busy))];
    await clock.settle();
    expect(more.map(({ state }) => state)).toEqual(['fulfilled', 'pending']);
    held[1]?.release();
    await clock.settle();
    expect(waiting.state).toBe('fulfilled');
  });

  test('a hungry key whose waiters all leave gives its place to the next', async () => {
    const { pool, lease, clock } = makePool({ maxSessions: 1 });
    const held = await lease(targetOf('zero'));
    const controller = new AbortController();
    watch(pool.acquire(targetOf('one'), { signal: controller.signal }));
    const waiting = watch(pool.acquire(targetOf('two')));
    controller.abort();
    held.release();
    await clock.settle();
    expect(waiting.state).toBe('fulfilled');
  });

  test('holds for 1,000 acquires over 50 keys', async () => {
    const { pool, clock, connector } = makePool({ maxSessions: 7, maxSessionsPerKey: 3 });
    let done = 0;
    for (let count = 0; count < 1_000; count += 1) {
      pool
        .use(
          targetOf(`server-${(count * 7) % 50}`),
          () => new Promise((resolve) => clock.later(5, () => resolve(1))),
        )
        .then(
          () => {
            done += 1;
          },
          () => undefined,
        );
    }
    for (let round = 0; round < 200; round += 1) {
      await clock.advance(10);
      const { sessions } = pool.stats();
      expect(Object.values(sessions).reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(7);
    }
    await clock.advance(20_000);
    expect(done).toBe(1_000);
    expect(connector.sessions.length).toBeGreaterThanOrEqual(50);
  });
});
