// Observers see everything and change nothing (I10): events in order after the fact, log lines at the
// right level, and whatever a sink does, the pool goes on as if it were not there.

import { describe, expect, test } from 'vitest';
import type { PoolEvent, RetireReason } from '../src/observe/events.ts';
import { levelOf } from '../src/observe/log.ts';
import { makePool, type PoolFixture, TARGET, targetOf, watch } from './support/pool-fixture.ts';

const typesOf = (events: readonly PoolEvent[]): string[] => events.map(({ type }) => type);

/** A life of a pool in which everything happens once; returns what the callers saw. */
async function live({ pool, clock, connector }: PoolFixture): Promise<string> {
  const seen: string[] = [];
  const note = (name: string, promise: Promise<unknown>): void => {
    promise.then(
      () => seen.push(`${name} ok`),
      (error: { code?: string }) => seen.push(`${name} ${error.code ?? 'failed'}`),
    );
  };
  note(
    'use',
    pool.use(TARGET, (client) => client.call()),
  );
  await clock.settle();
  const lease = await pool.acquire(TARGET);
  note('timeout', pool.acquire(TARGET, { timeoutMs: 10 }));
  await clock.advance(20);
  connector.sessions[0]?.lost.abort(new Error('gone'));
  lease.release();
  connector.gates = { open: 'fails' };
  note('failed', pool.acquire(targetOf('two')));
  await clock.settle();
  note('close', pool.close());
  note('closed', pool.acquire(TARGET));
  await clock.advance(10_000);
  const { totals, ...stats } = pool.stats();
  return JSON.stringify([seen, { ...totals, observerFailures: 0 }, stats]);
}

const options = { maxSessionsPerKey: 1 };

describe('a sink changes nothing (I10)', () => {
  const undisturbed = live(makePool(options));

  test.each([
    {
      name: 'throws',
      sink: () => {
        throw new Error('the sink throws');
      },
    },
    {
      name: 'throws nothing',
      sink: () => {
        // biome-ignore lint/style/useThrowOnlyError: foreign code throws what it likes.
        throw undefined;
      },
    },
    { name: 'rejects', sink: () => Promise.reject(new Error('the sink rejects')) },
    { name: 'never settles', sink: () => new Promise(() => undefined) },
    { name: 'is async', sink: async () => undefined },
    { name: 'changes the event', sink: (event: PoolEvent) => Object.assign(event, { type: 'x' }) },
  ])('when it $name', async ({ sink }) => {
    const fixture = makePool({ ...options, onEvent: sink as never });
    expect(await live(fixture)).toBe(await undisturbed);
  });

  test('when the logger throws', async () => {
    const fail = (): never => {
      throw new Error('the logger throws');
    };
    const fixture = makePool({
      ...options,
      logger: { debug: fail, info: fail, warn: fail, error: fail },
    });
    expect(await live(fixture)).toBe(await undisturbed);
    expect(fixture.pool.stats().totals.observerFailures).toBe(fixture.events.length);
  });

  test('and its failures are counted', async () => {
    for (const sink of [
      () => Promise.reject(new Error('x')),
      () => {
        throw new Error('x');
      },
    ]) {
      const fixture = makePool({ onEvent: sink as never });
      await fixture.warm();
      await fixture.clock.settle();
      expect(fixture.pool.stats().totals.observerFailures).toBe(3);
    }
  });
});

describe('a sink that comes back into the pool', () => {
  test('may acquire, release, retire and close', async () => {
    const seen: PoolEvent[] = [];
    const fixture: PoolFixture = makePool({
      onEvent: (event) => {
        seen.push(event);
        const { pool } = fixture;
        if (event.type === 'lease-ended') watch(pool.acquire(targetOf('two')));
        if (event.type === 'session-opened' && event.server.includes('two')) pool.retire();
        if (event.type === 'session-closed') void pool.close();
      },
    });
    await fixture.warm();
    await fixture.clock.advance(10_000);
    expect(typesOf(seen)).toContain('pool-closed');
    expect(fixture.pool.stats().sessions).toEqual({
      opening: 0,
      probing: 0,
      idle: 0,
      leased: 0,
      closing: 0,
    });
  });

  test('and closes the pool in the middle of a batch still hears of everything in order', async () => {
    const seen: PoolEvent[] = [];
    const fixture: PoolFixture = makePool({
      gates: { open: 'fails' },
      onEvent: (event) => {
        seen.push(event);
        if (event.type === 'session-open-failed') void fixture.pool.close();
      },
    });
    watch(fixture.pool.acquire(TARGET));
    await fixture.clock.settle();
    expect(typesOf(seen)).toEqual([
      'session-open-failed',
      'acquire-rejected',
      'pool-closing',
      'pool-closed',
    ]);
  });

  test('hears only after the turn: the state it sees is final', async () => {
    const states: unknown[] = [];
    const fixture: PoolFixture = makePool({
      onEvent: (event) => {
        if (event.type === 'lease-granted') states.push(fixture.pool.stats().sessions.leased);
      },
    });
    const acquiring = fixture.pool.acquire(TARGET);
    expect(states).toEqual([]);
    await fixture.clock.settle();
    expect(states).toEqual([1]);
    await acquiring;
  });
});

describe('events', () => {
  test('come in the order of what happened', async () => {
    const { pool, warm, clock, events } = makePool();
    await warm();
    await pool.close();
    await clock.settle();
    expect(typesOf(events)).toEqual([
      'session-opened',
      'lease-granted',
      'lease-ended',
      'pool-closing',
      'session-retired',
      'session-closed',
      'pool-closed',
    ]);
    const { key, server } = events[0] as { key: string; server: string };
    for (const event of events.slice(1, 3)) expect(event).toMatchObject({ key, server });
  });

  test('carry what a borrower said when discarding', async () => {
    const { lease, clock, events } = makePool();
    (await lease()).discard('the answer made no sense');
    await clock.settle();
    expect(events).toContainEqual(
      expect.objectContaining({
        type: 'lease-ended',
        reason: 'discarded',
        detail: 'the answer made no sense',
      }),
    );
  });

  test('of the last turn are delivered before close settles', async () => {
    const { pool, warm, events, clock } = makePool();
    await warm();
    const closing = pool.close().then(() => typesOf(events).at(-1));
    await clock.settle();
    expect(await closing).toBe('pool-closed');
  });

  test('tell of every acquire that is refused: P8', async () => {
    const { pool, lease, clock, events } = makePool({
      maxSessionsPerKey: 1,
      maxWaitersPerKey: 1,
      maxKeys: 1,
    });
    await lease();
    const controller = new AbortController();
    watch(pool.acquire(TARGET, { signal: controller.signal }));
    watch(pool.acquire(TARGET));
    watch(pool.acquire(targetOf('two')));
    controller.abort();
    await clock.settle();
    const reasons = events.flatMap((event) =>
      event.type === 'acquire-rejected' ? [event.reason] : [],
    );
    expect(reasons).toEqual(['saturated', 'saturated', 'aborted']);
    expect(pool.stats().totals).toMatchObject({ saturated: 2, aborted: 1 });
  });
});

/** Each way for a session to end, and how to bring it about. */
const ENDS: Record<RetireReason, (fixture: PoolFixture) => unknown> = {
  'idle-timeout': async ({ warm, clock }) => {
    await warm();
    await clock.advance(301_000);
  },
  'max-lifetime': async ({ lease, clock }) => {
    const held = await lease();
    await clock.advance(1_900_000);
    held.release();
  },
  evicted: async ({ warm }) => {
    await warm();
    await warm(targetOf('two'));
    await warm(targetOf('three'));
  },
  retired: async ({ warm, pool }) => {
    await warm();
    pool.retire();
  },
  tainted: async ({ warm, connector }) => {
    connector.gates = { giveBack: 'tainted' };
    await warm();
  },
  discarded: async ({ lease }) => (await lease()).discard(),
  lost: async ({ lease, connector }) => {
    await lease();
    connector.last.lost.abort(new Error('gone'));
  },
  worn: async ({ lease, connector }) => {
    const held = await lease();
    connector.last.context.worn?.();
    held.release();
  },
  'probe-failed': async ({ warm, lease, clock, connector }) => {
    connector.gates = { probe: 'fails' };
    await warm();
    await clock.advance(61_000);
    await lease();
  },
  'lease-overdue': async ({ lease, clock }) => {
    await lease();
    await clock.advance(4_000_000);
  },
  'lend-failed': async ({ pool, connector, clock }) => {
    connector.gates = { lend: 'throws' };
    watch(pool.acquire(TARGET));
    await clock.settle();
  },
  'open-too-late': async ({ pool, connector, clock }) => {
    connector.gates = { open: 'held' };
    watch(pool.acquire(TARGET));
    await clock.advance(10_000);
    connector.last.let('ok');
  },
  'pool-closed': async ({ warm, pool }) => {
    await warm();
    void pool.close();
  },
};

describe.each(Object.keys(ENDS) as RetireReason[])('a session that ends by %s', (reason) => {
  test('says so when it is closed, and is counted', async () => {
    const fixture = makePool({ maxSessions: 2, maxLeaseMs: 3_000_000 });
    await ENDS[reason](fixture);
    await fixture.clock.settle();
    const ends = fixture.events.filter((event) => event.type === 'session-closed');
    expect(ends).toContainEqual(expect.objectContaining({ reason }));
    expect(fixture.pool.stats().totals.closed).toBe(ends.length);
  });
});

const of = { key: 'k', server: 's' };
const outcome = {
  result: 'closed',
  fence: 'done',
  terminate: 'done',
  clientClose: 'done',
  transportClose: 'done',
  sever: 'done',
  durationMs: 1,
} as const;
const LEVELS: readonly (readonly [string, PoolEvent])[] = [
  ['info', { type: 'session-opened', ...of, durationMs: 1 }],
  [
    'warn',
    {
      type: 'session-open-failed',
      ...of,
      durationMs: 1,
      failure: { kind: 'other', errorName: 'Error' },
    },
  ],
  ['debug', { type: 'session-probed', ...of, ok: true, durationMs: 1 }],
  ['warn', { type: 'session-probed', ...of, ok: false, durationMs: 1 }],
  ['info', { type: 'session-retired', ...of, reason: 'lost' }],
  ['info', { type: 'session-closed', ...of, reason: 'lost', outcome }],
  [
    'warn',
    {
      type: 'session-abandoned',
      ...of,
      reason: 'lost',
      outcome: { ...outcome, result: 'abandoned' },
    },
  ],
  ['debug', { type: 'lease-granted', ...of, reused: true, waitedMs: 1 }],
  ['debug', { type: 'lease-ended', ...of, reason: 'released', heldMs: 1 }],
  ['warn', { type: 'lease-ended', ...of, reason: 'lease-overdue', heldMs: 1 }],
  ['warn', { type: 'lease-leaking', ...of, heldMs: 1, acquiredAt: 'x' }],
  ['debug', { type: 'acquire-rejected', ...of, reason: 'timeout', waitedMs: 1 }],
  ['info', { type: 'pool-closing', sessions: 1, drainTimeoutMs: 0 }],
  [
    'info',
    {
      type: 'pool-closed',
      sessions: 1,
      closed: 1,
      abandoned: 0,
      unterminated: 0,
      durationMs: 1,
      unsettled: 0,
    },
  ],
];

test.each(LEVELS)('an operator reads at level %s of %j', (level, event) => {
  expect(levelOf(event)).toBe(level);
});
