// A lease: single use, ends once, and says how.

import { describe, expect, test } from 'vitest';
import { makePool, TARGET, targetOf, watch } from './support/pool-fixture.ts';

describe('a lease', () => {
  test('gives its session back on release, and its calls reject from then on', async () => {
    const { lease, connector, pool } = makePool();
    const held = await lease();
    const { client } = held;
    held.release();
    expect(pool.stats().sessions).toMatchObject({ idle: 1, leased: 0 });
    expect(connector.last.count('giveBack')).toBe(1);
    await expect(client.call()).rejects.toMatchObject({
      code: 'LEASE_RELEASED',
      reason: 'released',
    });
    await expect(held.client.call()).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
  });

  test.each([
    { name: 'release', end: 'release', state: 'idle' },
    { name: 'discard', end: 'discard', state: 'closing' },
    { name: 'Symbol.dispose', end: Symbol.dispose, state: 'idle' },
    { name: 'Symbol.asyncDispose', end: Symbol.asyncDispose, state: 'idle' },
  ] as const)(
    'ends with $name, once: ending it again in any way is nothing',
    async ({ end, state }) => {
      const { lease, pool, connector, clock } = makePool({ gates: { clientClose: 'held' } });
      const held = await lease();
      await held[end]();
      for (const again of ['release', 'discard', Symbol.dispose, Symbol.asyncDispose] as const) {
        await held[again]();
      }
      await clock.settle();
      expect(pool.stats().sessions).toMatchObject({ leased: 0, [state]: 1 });
      const { released, discarded } = pool.stats().totals;
      expect(released + discarded).toBe(1);
      expect(connector.last.count('giveBack')).toBe(1);
    },
  );

  test('is no longer the pool’s once its client is closed by the borrower', async () => {
    const { lease, pool, connector } = makePool();
    const held = await lease();
    await held.client.close();
    expect(held.endReason).toBe('released');
    expect(pool.stats().sessions.idle).toBe(1);
    expect(connector.last.count('clientClose')).toBe(0);
  });

  test('whose signal was never asked for makes none, and one asked for late is aborted', async () => {
    const { lease, connector, clock } = makePool();
    const held = await lease();
    connector.last.lost.abort(new Error('gone'));
    await clock.settle();
    expect(held.signal.aborted).toBe(true);
    expect(held.signal).toBe(held.signal);
    expect(held.signal.reason).toMatchObject({ code: 'SESSION_LOST', execution: 'not-executed' });
  });

  test('that was released or discarded leaves its signal alone', async () => {
    const { lease, clock } = makePool();
    for (const end of ['release', 'discard'] as const) {
      const held = await lease();
      const { signal } = held;
      held[end]();
      await clock.settle();
      expect(signal.aborted).toBe(false);
    }
  });

  test('that changed state on the server takes its exclusive session with it', async () => {
    const { lease, connector, clock, events } = makePool({ gates: { giveBack: 'tainted' } });
    (await lease()).release();
    await clock.settle();
    expect(connector.last.count('sever')).toBe(1);
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'session-retired', reason: 'tainted' }),
    );
  });

  test('whose giving back throws takes its session with it, and its borrower hears nothing', async () => {
    const { lease, connector, clock, pool } = makePool({ gates: { giveBack: 'throws' } });
    const held = await lease();
    expect(() => held.release()).not.toThrow();
    await clock.settle();
    expect(connector.last.count('sever')).toBe(1);
    expect(pool.stats().sessions).toMatchObject({ idle: 0, leased: 0 });
  });

  test('whose giving back acquires, closes or loses the session ends once all the same', async () => {
    for (const what of ['acquire', 'close', 'lose', 'release'] as const) {
      const { lease, pool, connector, clock } = makePool({ maxSessionsPerKey: 1 });
      const held = await lease();
      connector.onGiveBack = (session) => {
        connector.onGiveBack = undefined;
        if (what === 'acquire') watch(pool.acquire(TARGET));
        if (what === 'close') void pool.close();
        if (what === 'lose') session.lost.abort(new Error('gone'));
        if (what === 'release') held.release();
      };
      held.release();
      await clock.settle();
      const { leased, idle, closing } = pool.stats().sessions;
      expect([what, leased, idle, closing]).toEqual(
        what === 'acquire' ? [what, 1, 0, 0] : [what, 0, what === 'release' ? 1 : 0, 0],
      );
      expect(pool.stats().totals.released).toBe(1);
    }
  });

  test('asks for its headers anew: the target’s, then its own, names without regard to case', async () => {
    const { pool, clock, connector } = makePool();
    let token = 0;
    const headers = (): Record<string, string> => {
      token += 1;
      return { Authorization: `Bearer ${token}`, 'X-Tenant': 'a' };
    };
    const target = targetOf('one', { identity: 'ada', headers });
    const leases = watch(pool.acquire(target, { headers: { 'x-tenant': 'b', traceparent: 't' } }));
    await clock.settle();
    const context = leases.got.client.context;
    const before = token;
    expect(context?.headers()).toEqual({
      authorization: `Bearer ${before + 1}`,
      'x-tenant': 'b',
      traceparent: 't',
    });
    expect(context?.headers()).toMatchObject({ authorization: `Bearer ${before + 2}` });
    // Traffic without a lease carries the newest target's headers, and none of a lease's own.
    expect(connector.last.context.headers()).toEqual({
      authorization: `Bearer ${before + 3}`,
      'x-tenant': 'a',
    });
  });

  test('passes on what answers the server, and what the server says', async () => {
    const { pool } = makePool();
    const onRequest = () => ({});
    const onNotification = () => undefined;
    const lease = await pool.acquire(TARGET, { onRequest, onNotification });
    expect(lease.client.context).toMatchObject({ onRequest, onNotification });
  });
});
