// Point 10 of design section 4: invalidation by generation, by filter and by predicate.

import { describe, expect, test } from 'vitest';
import type { SessionInfo } from '../src/retire.ts';
import { makePool, TARGET, targetOf, watch } from './support/pool-fixture.ts';

const url = 'https://one.example/mcp';

type Pool = ReturnType<typeof makePool>['pool'];

describe('retire', () => {
  test('point 10: closes idle sessions now, leased ones when released, and counts both', async () => {
    const { pool, lease, warm, clock, connector } = makePool();
    const held = await lease();
    const other = await lease();
    other.release();
    await warm(targetOf('two'));
    expect(pool.retire()).toBe(3);
    await clock.settle();
    expect(pool.stats().sessions).toMatchObject({ leased: 1, idle: 0, closing: 0 });
    expect(held.signal.aborted).toBe(false);
    held.release();
    await clock.settle();
    expect(connector.sessions.map((session) => session.count('sever'))).toEqual([1, 1, 1]);
  });

  test('passes no session that it marked on to a waiter', async () => {
    for (const filter of [undefined, () => true]) {
      const { pool, lease, clock, connector } = makePool({ maxSessionsPerKey: 1 });
      const held = await lease();
      const waiting = watch(pool.acquire(TARGET));
      pool.retire(filter);
      held.release();
      await clock.settle();
      expect(waiting.got.client.session).toBe(connector.sessions[1]);
      expect(connector.sessions[0]?.count('sever')).toBe(1);
    }
  });

  test('takes leased sessions at once when told so', async () => {
    const { pool, lease, clock, connector } = makePool();
    const held = await lease();
    expect(pool.retire(undefined, { leased: 'now' })).toBe(1);
    expect(held.signal.reason).toMatchObject({ code: 'LEASE_RELEASED', reason: 'retired' });
    await clock.settle();
    expect(connector.last.count('sever')).toBe(1);
  });

  test('retires a session that is being opened as soon as it arrives', async () => {
    const { pool, clock, connector } = makePool({ gates: { open: 'held' } });
    const waiting = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(pool.retire()).toBe(1);
    connector.last.let('ok');
    await clock.settle();
    expect(waiting.state).toBe('pending');
    expect(connector.sessions).toHaveLength(2);
    connector.last.let('ok');
    await clock.settle();
    expect(waiting.got.client.session).toBe(connector.sessions[1]);
    expect(connector.sessions[0]?.count('sever')).toBe(1);
  });

  test.each([
    { name: 'all', filter: undefined },
    { name: 'a predicate', filter: () => true },
  ])(
    'closes a session that was being opened though others idle for longer: $name',
    async ({ filter }) => {
      const { pool, clock, connector } = makePool({ gates: { open: 'held' } });
      const controller = new AbortController();
      const { signal } = controller;
      watch(pool.acquire(TARGET, { signal }));
      await clock.settle();
      const stale = connector.last;
      pool.retire(filter);
      controller.abort();
      connector.gates = {};
      const waiting = [watch(pool.acquire(TARGET)), watch(pool.acquire(TARGET))];
      for (const each of waiting) {
        await clock.settle();
        each.got.release();
      }
      stale.let('ok');
      await clock.settle();
      expect(connector.sessions.map((session) => session.count('sever'))).toEqual([1, 0]);
      expect(pool.stats().sessions).toMatchObject({ idle: 1, closing: 0 });
    },
  );

  test('retires a session that is being probed as soon as it answers', async () => {
    const { pool, warm, clock, connector } = makePool({ probeAfterIdleMs: 10 });
    await warm();
    connector.last.gates.probe = 'held';
    await clock.advance(11);
    const waiting = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(pool.retire()).toBe(1);
    connector.sessions[0]?.let('ok');
    await clock.settle();
    expect(waiting.got.client.session).toBe(connector.sessions[1]);
    expect(connector.sessions[0]?.count('sever')).toBe(1);
  });

  test('lends no room on a shared session that it marked', async () => {
    const { pool, lease, clock, connector } = makePool({ leasesPerSession: 3 });
    const first = await lease();
    const second = await lease();
    pool.retire();
    first.release();
    const third = await lease();
    expect(third.client.session).toBe(connector.sessions[1]);
    second.release();
    await clock.settle();
    expect(connector.sessions[0]?.count('sever')).toBe(1);
  });

  test.each([
    { name: 'everything', filter: undefined, left: [] },
    { name: 'an address', filter: { url }, left: ['two'] },
    {
      name: 'an address in another spelling',
      filter: { url: 'HTTPS://ONE.example:443/mcp' },
      left: ['two'],
    },
    { name: 'an identity', filter: { identity: 'ada' }, left: ['plain', 'bob', 'two'] },
    {
      name: 'identity and address',
      filter: { url, identity: 'bob' },
      left: ['plain', 'ada', 'affine', 'two'],
    },
    { name: 'affinity', filter: { affinity: 'x' }, left: ['plain', 'ada', 'bob', 'two'] },
    {
      name: 'nobody',
      filter: { identity: 'nobody' },
      left: ['plain', 'ada', 'bob', 'affine', 'two'],
    },
    {
      name: 'another path',
      filter: { url: 'https://one.example/other' },
      left: ['plain', 'ada', 'bob', 'affine', 'two'],
    },
  ])('by $name leaves the others', async ({ filter, left }) => {
    const { pool, warm, clock, connector } = makePool();
    const targets = {
      plain: { url },
      ada: { url, identity: 'ada' },
      bob: { url, identity: 'bob' },
      affine: { url, identity: 'ada', affinity: 'x' },
      two: targetOf('two'),
    };
    for (const target of Object.values(targets)) await warm(target);
    const count = pool.retire(filter);
    await clock.settle();
    const names = Object.keys(targets).filter(
      (_name, index) => connector.sessions[index]?.count('sever') === 0,
    );
    expect(names).toEqual(left);
    expect(count).toBe(5 - left.length);
  });

  test('by predicate sees what a session is, and nothing secret', async () => {
    const { pool, lease, warm, clock } = makePool();
    await warm(targetOf('two', { identity: 'ada', headers: { authorization: 'secret' } }));
    await clock.advance(30);
    await lease({ url: 'https://user:secret@one.example/mcp?key=secret' });
    await clock.advance(12);
    const seen: SessionInfo[] = [];
    expect(pool.retire((session) => seen.push(session) < 0)).toBe(0);
    expect(seen).toMatchObject([
      {
        server: 'https://two.example',
        identity: 'ada',
        state: 'idle',
        leases: 0,
        ageMs: 42,
        idleMs: 42,
      },
      {
        server: 'https://one.example',
        identity: undefined,
        state: 'leased',
        leases: 1,
        ageMs: 12,
        idleMs: 0,
      },
    ]);
    expect(JSON.stringify(seen)).not.toContain('secret');
  });

  test('by predicate: marked leased sessions go when released, others stay', async () => {
    const { pool, lease, clock, connector } = makePool();
    const [old, young] = [await lease(), undefined];
    await clock.advance(100);
    const fresh = await lease();
    expect(pool.retire(({ ageMs }) => ageMs >= 100)).toBe(1);
    old.release();
    fresh.release();
    await clock.settle();
    expect(connector.sessions.map((session) => session.count('sever'))).toEqual([1, 0]);
    expect(young).toBeUndefined();
  });

  test('whose predicate throws changes nothing at all', async () => {
    const { pool, warm } = makePool();
    for (const name of ['one', 'two', 'three']) await warm(targetOf(name));
    let calls = 0;
    const predicate = (): boolean => {
      calls += 1;
      if (calls === 3) throw new Error('the predicate throws');
      return true;
    };
    expect(() => pool.retire(predicate)).toThrow('the predicate throws');
    expect(pool.stats().sessions.idle).toBe(3);
  });

  test('whose predicate acquires, releases or closes meanwhile keeps the books', async () => {
    const { pool, lease, warm, clock, connector } = makePool();
    const held = await lease();
    await warm(targetOf('two'));
    pool.retire(() => {
      held.release();
      watch(pool.acquire(targetOf('two')));
      void pool.close();
      return true;
    });
    await clock.settle();
    expect(connector.sessions.map((session) => session.count('sever'))).toEqual([1, 1]);
    expect(pool.stats().sessions).toEqual({
      opening: 0,
      probing: 0,
      idle: 0,
      leased: 0,
      closing: 0,
    });
  });

  test.each([
    { name: 'an unknown member', filter: { tenant: 'x' } },
    { name: 'a member without a value', filter: { identity: undefined } },
    { name: 'a string', filter: 'ada' },
    { name: 'null', filter: null },
  ])('refuses $name, so that a typo does not retire everything', async ({ filter }) => {
    const { pool, warm } = makePool();
    await warm();
    expect(() => pool.retire(filter as never)).toThrow(TypeError);
    expect(() => pool.retire(undefined, { leased: 'later' as never })).toThrow(TypeError);
    expect(pool.stats().sessions.idle).toBe(1);
  });

  test('of a malformed address says so without showing it', () => {
    const { pool } = makePool();
    let error: unknown;
    try {
      pool.retire({ url: 'secret-token' });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(TypeError);
    expect(`${String(error)} ${JSON.stringify(error)}`).not.toContain('secret');
  });

  test('leaves the pool open: the next acquire gets a fresh session', async () => {
    const { pool, warm, lease } = makePool();
    await warm();
    pool.retire();
    expect((await lease()).reused).toBe(false);
  });
});

test('a retired session that is shared takes no further lease', async () => {
  const { pool, lease, clock } = makePool({ leasesPerSession: 2 });
  const held = await lease(targetOf('shared', { identity: 'alice' }));
  expect(pool.retire({ identity: 'alice' })).toBe(1);
  const next = await lease(targetOf('shared', { identity: 'alice' }));
  expect(next.reused).toBe(false);
  expect(next.session).not.toBe(held.session);
  held.release();
  next.release();
  await clock.settle();
  expect(pool.stats().sessions.idle).toBe(1);
});

test.each([
  ['retire', (pool: Pool) => pool.retire(undefined, { lease: 'now' } as never)],
  ['close', (pool: Pool) => pool.close({ drainTimeout: 5 } as never)],
  ['stats', (pool: Pool) => pool.stats({ perkey: true } as never)],
])('a misspelt option of %s is refused and changes nothing', async (_name, call) => {
  const { pool, lease } = makePool();
  const held = await lease();
  await expect((async () => call(pool))()).rejects.toThrow(/Unknown .* option/);
  expect(pool.stats().sessions.leased).toBe(1);
  held.release();
  await expect(lease()).resolves.toMatchObject({ reused: true });
});

test.each([
  ['by a predicate', ({ state }: SessionInfo) => state === 'opening'],
  ['with all others', undefined],
])(
  'a session retired %s while it opens goes when it comes, also behind idle ones',
  async (_, which) => {
    const { pool, clock, connector, lease } = makePool({ gates: { open: 'held' } });
    const controller = new AbortController();
    const aborted = watch(pool.acquire(TARGET, { signal: controller.signal }));
    await clock.settle();
    const late = connector.last;
    controller.abort();
    expect(pool.retire(which)).toBe(1);
    connector.gates = {};
    const waiting = [watch(pool.acquire(TARGET)), watch(pool.acquire(TARGET))];
    await clock.settle();
    for (const { value } of waiting) value?.release();
    await clock.settle();
    for (const { value } of waiting) value?.release();
    expect(aborted.state).toBe('rejected');
    expect(pool.stats().sessions).toMatchObject({ opening: 1, idle: 1 });
    late.let('ok', 'open');
    await clock.settle();
    expect(late.count('sever')).toBe(1);
    expect(pool.stats().sessions.idle).toBe(1);
    expect((await lease()).reused).toBe(true);
  },
);
