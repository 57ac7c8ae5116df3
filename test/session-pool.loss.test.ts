// What the loss of one session does to the others of its key, and what becomes of one that wore
// out: on fakes, with all time in the test's hand.

import { describe, expect, test } from 'vitest';
import { makePool, type PoolFixture, TARGET, watch } from './support/pool-fixture.ts';

const SHARED = { ...TARGET, leasesPerSession: 2 };

/** Opens `count` sessions and leaves them idle. */
async function idle({ lease }: PoolFixture, count: number): Promise<void> {
  const leases = [];
  for (let each = 0; each < count; each += 1) leases.push(await lease());
  for (const each of leases) each.release();
}

describe('when a session is lost', () => {
  test('its idle siblings are probed before they are lent, once', async () => {
    const fixture = makePool();
    const { connector, lease, pool } = fixture;
    await idle(fixture, 3);
    const [first, second, third] = connector.sessions;
    second!.lost.abort(new Error('forgotten'));
    for (let each = 0; each < 2; each += 1) {
      const held = await lease();
      expect(held.client.session.id).toBe(third!.id);
      held.release();
    }
    expect([first!.count('probe'), third!.count('probe')]).toEqual([0, 1]);
    const both = [await lease(), await lease()];
    expect([first!.count('probe'), third!.count('probe')]).toEqual([1, 1]);
    for (const held of both) held.release();
    await lease();
    expect(connector.count('probe')).toBe(2);
    expect(pool.stats().totals).toMatchObject({ opened: 3, lost: 1, probed: 2 });
  });

  test('siblings that do not answer go, and one is opened in their place', async () => {
    const fixture = makePool({ gates: { probe: 'fails' } });
    const { connector, lease, pool } = fixture;
    await idle(fixture, 3);
    connector.sessions[0]!.lost.abort(new Error('forgotten'));
    expect((await lease()).client.session.id).toBe('session-3');
    expect(pool.stats().totals).toMatchObject({ opened: 4, probeFailed: 2 });
  });

  test('an exclusively leased sibling is probed when it comes back, before a waiter gets it', async () => {
    const { connector, lease, pool, clock } = makePool({ maxSessionsPerKey: 2 });
    const [held] = [await lease(), await lease()];
    connector.sessions[1]!.lost.abort(new Error('forgotten'));
    const waiting = [watch(pool.acquire(TARGET)), watch(pool.acquire(TARGET))];
    await clock.settle();
    held!.release();
    await clock.settle();
    expect(connector.sessions[0]!.count('probe')).toBe(1);
    expect(waiting.map(({ state }) => state)).toEqual(['fulfilled', 'fulfilled']);
  });

  test('the room on a shared sibling is not lent until it has answered, without the end of its lease', async () => {
    const { connector, lease, pool, clock } = makePool({ gates: { probe: 'held' } });
    const held = [await lease(SHARED), await lease(SHARED), await lease(SHARED)];
    const [first, second] = connector.sessions;
    first!.lost.abort(new Error('forgotten'));
    await clock.settle();
    expect(second!.count('probe')).toBe(1);
    const waiting = watch(pool.acquire(SHARED));
    await clock.settle();
    expect(waiting.got.client.session.id).toBe('session-2');
    second!.let('ok', 'probe');
    await clock.settle();
    const later = [await lease(SHARED), await lease(SHARED)];
    expect(later.map(({ client }) => client.session.id).sort()).toEqual(['session-1', 'session-2']);
    expect(held[2]!.signal.aborted).toBe(false);
  });

  test('room that a lease leaves on a doubted sibling is not lent either', async () => {
    const { connector, lease, clock } = makePool({ gates: { probe: 'held' } });
    const held = [
      await lease(SHARED),
      await lease(SHARED),
      await lease(SHARED),
      await lease(SHARED),
    ];
    connector.sessions[0]!.lost.abort(new Error('forgotten'));
    held[3]!.release();
    expect((await lease(SHARED)).client.session.id).toBe('session-2');
    connector.sessions[1]!.let('ok', 'probe');
    await clock.settle();
    const ids = [(await lease(SHARED)).client.session.id, (await lease(SHARED)).client.session.id];
    expect(ids.sort()).toEqual(['session-1', 'session-2']);
  });

  test('a shared sibling that does not answer takes no lease, and keeps those it has', async () => {
    const { connector, lease, clock } = makePool({ gates: { probe: 'never' } });
    const held = [await lease(SHARED), await lease(SHARED), await lease(SHARED)];
    connector.sessions[0]!.lost.abort(new Error('forgotten'));
    await clock.advance(5_000);
    expect((await lease(SHARED)).client.session.id).toBe('session-2');
    expect(held[2]!.signal.aborted).toBe(false);
    held[2]!.release();
    await clock.settle();
    expect(connector.sessions[1]!.count('sever')).toBe(1);
  });

  test('a shared sibling that comes back before it fails to answer goes then', async () => {
    const { connector, lease, clock, events } = makePool({
      gates: { probe: 'never' },
      idleTimeoutMs: 100_000,
    });
    const held = [];
    for (let each = 0; each < 7; each += 1) held.push(await lease(SHARED));
    connector.sessions[2]!.gates.probe = 'ok';
    // Three go idle after each other, the one that does not answer between the others.
    held[6]!.release();
    held[2]!.release();
    held[4]!.release();
    connector.sessions[0]!.lost.abort(new Error('forgotten'));
    held[3]!.release();
    held[5]!.release();
    await clock.advance(5_000);
    expect(connector.sessions.map((each) => each.count('sever'))).toEqual([1, 1, 0, 0]);
    expect(events).toContainEqual(expect.objectContaining({ reason: 'probe-failed' }));
  });

  test('the loss of one that was doubted already is no news: what was opened since is trusted', async () => {
    const fixture = makePool({ gates: { probe: 'never' } });
    const { connector, lease } = fixture;
    await idle(fixture, 2);
    connector.sessions[0]!.lost.abort(new Error('forgotten'));
    const held = [];
    connector.sessions[1]!.gates.probe = 'ok';
    for (let each = 0; each < 2; each += 1) held.push(await lease());
    connector.sessions[1]!.lost.abort(new Error('forgotten, later'));
    held[1]!.release();
    // Proven alive, then lost: that is news.
    expect(held[1]!.client.session.id).toBe('session-2');
    connector.sessions[2]!.gates.probe = 'ok';
    expect((await lease()).client.session.id).toBe('session-2');
    expect(connector.sessions[2]!.count('probe')).toBe(1);
  });

  test('a probe of a leased session ends with the pool, and leaves no timer', async () => {
    const { connector, lease, pool, clock } = makePool({ gates: { probe: 'never' } });
    await Promise.all([lease(SHARED), lease(SHARED), lease(SHARED)]);
    connector.sessions[0]!.lost.abort(new Error('forgotten'));
    await clock.settle();
    const closing = watch(pool.close());
    await clock.settle();
    expect(closing.state).toBe('fulfilled');
    expect(clock.pendingCount).toBe(0);
  });
});

describe('a session that wore out', () => {
  test('takes no new lease, goes with its last one, and ends no lease before', async () => {
    const { connector, lease, pool, clock } = makePool();
    const [first, second] = [await lease(SHARED), await lease(SHARED)];
    connector.last.context.worn?.();
    connector.last.context.worn?.();
    first!.release();
    const third = await lease(SHARED);
    expect(third.client.session.id).toBe('session-1');
    expect(second!.signal.aborted).toBe(false);
    await expect(second!.client.call()).resolves.toBe('session-0');
    second!.release();
    await clock.settle();
    expect(pool.stats().totals).toMatchObject({ worn: 1, lost: 0, closed: 1 });
  });

  test('goes at once when it is idle', async () => {
    const { connector, warm, pool, clock, events } = makePool();
    await warm();
    connector.last.context.worn?.();
    await clock.settle();
    expect(pool.stats()).toMatchObject({ sessions: { idle: 0 }, totals: { worn: 1 } });
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'session-retired', reason: 'worn' }),
    );
    connector.last.context.worn?.();
  });

  test('is kept with affinity, and asked before anybody else gets it', async () => {
    const { connector, lease, pool, clock } = makePool({ gates: { probe: 'held' } });
    const target = { ...TARGET, identity: 'ada', affinity: 'downstream' };
    const outer = await lease(target);
    connector.last.context.worn?.();
    const nested = watch(pool.acquire(target));
    await clock.settle();
    expect(nested.state).toBe('pending');
    connector.last.let('ok', 'probe');
    await clock.settle();
    expect(nested.got.client.session.id).toBe('session-0');
    expect(outer.signal.aborted).toBe(false);
  });

  test('ends at once with affinity when it does not answer', async () => {
    const { connector, lease, pool, clock } = makePool({ gates: { probe: 'fails' } });
    const target = { ...TARGET, identity: 'ada', affinity: 'downstream' };
    const outer = await lease(target);
    const { signal } = outer;
    connector.last.context.worn?.();
    const nested = watch(pool.acquire(target));
    await clock.settle();
    expect(signal.aborted).toBe(true);
    expect(nested.got.client.session.id).toBe('session-1');
  });

  test('is a failed open when it wore out while it was opened, and not lent', async () => {
    const { connector, pool, clock } = makePool({ gates: { open: 'held' } });
    const acquired = watch(pool.acquire(TARGET));
    await clock.settle();
    connector.last.context.worn?.();
    connector.last.let('ok', 'open');
    await clock.settle();
    expect(acquired.error).toMatchObject({ code: 'OPEN_FAILED', cause: expect.any(Error) });
    expect(connector.last.count('sever')).toBe(1);
    expect(pool.stats().sessions).toMatchObject({ idle: 0, closing: 0 });
  });

  test('does not make the key open without end when all wear out as they open', async () => {
    const { connector, pool, clock } = makePool({ breaker: false });
    connector.onOpen = ({ context }) => {
      expect(connector.sessions.length).toBeLessThan(50);
      context.worn?.();
    };
    const waiting = Array.from({ length: 20 }, () => watch(pool.acquire(TARGET)));
    await clock.settle();
    expect(connector.sessions.length).toBeLessThan(5);
    await clock.advance(30_000);
    expect(waiting.every(({ state }) => state === 'rejected')).toBe(true);
  });
});

test('a shared session that does not answer goes, also when it idles between others by then', async () => {
  const { connector, lease, pool, clock } = makePool({ gates: { probe: 'held' } });
  const held = [];
  for (let count = 0; count < 8; count += 1) held.push(await lease(SHARED));
  const [first, silent, last, worn] = connector.sessions;
  worn?.context.worn?.();
  await clock.settle();
  for (const session of [first, silent, last]) {
    for (const each of held) if (each.client.session === session) each.release();
  }
  expect(pool.stats().sessions).toMatchObject({ idle: 3, leased: 1 });
  silent?.let('fails', 'probe');
  await clock.settle();
  expect(silent?.count('sever')).toBe(1);
  expect(pool.stats()).toMatchObject({ sessions: { idle: 2 }, totals: { probeFailed: 1 } });
});
