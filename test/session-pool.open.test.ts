// Opens: they outlive impatient callers, fail one waiter at a time, back off, and what comes too late
// is taken down. Points 3, 5 and 7 of design section 4.

import { describe, expect, test } from 'vitest';
import type { OpenError } from '../src/errors.ts';
import { runMicrotasks } from './support/microtasks.ts';
import { makePool, TARGET, watch } from './support/pool-fixture.ts';

describe('a failed open', () => {
  test('rejects the oldest waiter with the cause, and frees the slot', async () => {
    const { pool, clock, connector } = makePool({ maxOpeningPerKey: 1, gates: { open: 'held' } });
    const [first, second] = [watch(pool.acquire(TARGET)), watch(pool.acquire(TARGET))];
    await clock.settle();
    connector.last.let('fails');
    await clock.settle();
    expect(first.code).toBe('OPEN_FAILED');
    expect((first.error as OpenError).cause).toMatchObject({ message: 'the peer fails open' });
    expect(second.state).toBe('pending');
    expect(pool.stats().sessions.opening).toBe(0);
    expect(pool.stats().totals.openFailed).toBe(1);
  });

  test('point 5: backs off before the next one, starves nobody, never storms', async () => {
    const { pool, clock, connector } = makePool({
      gates: { open: 'fails' },
      acquireTimeoutMs: 30_000,
    });
    const waiting = Array.from({ length: 8 }, () => watch(pool.acquire(TARGET)));
    await clock.settle();
    expect(connector.sessions).toHaveLength(4);
    await clock.advance(30_000);
    expect(waiting.every(({ state }) => state === 'rejected')).toBe(true);
    expect(connector.sessions.length).toBeLessThanOrEqual(8);
    const starts = connector.sessions.map(({ calls }) => calls[0]?.at ?? 0).slice(4);
    for (const [index, at] of starts.entries()) {
      if (index > 0) expect(at - (starts[index - 1] ?? 0)).toBeGreaterThanOrEqual(0);
    }
    expect(pool.stats().keys).toBe(0);
    // What is known of the server's failures is forgotten in time.
    await clock.advance(70_000);
    expect(clock.pendingCount).toBe(0);
  });

  test('rejects the waiter whose credentials were refused, not the oldest', async () => {
    const { pool, clock, connector } = makePool({ gates: { open: 'held' }, maxOpeningPerKey: 2 });
    connector.openError = Object.assign(new Error('no'), { status: 401 });
    const [first, second] = [watch(pool.acquire(TARGET)), watch(pool.acquire(TARGET))];
    await clock.settle();
    connector.sessions[1]?.let('fails');
    await clock.settle();
    expect(first.state).toBe('pending');
    expect(second.error).toMatchObject({ code: 'OPEN_FAILED', kind: 'unauthorized', status: 401 });
  });

  test('for credentials whose owner has left by now rejects nobody, and tells of nobody', async () => {
    const { pool, clock, connector, events } = makePool({ gates: { open: 'held' } });
    connector.openError = Object.assign(new Error('no'), { status: 401 });
    const controller = new AbortController();
    const first = watch(pool.acquire(TARGET, { signal: controller.signal }));
    await clock.settle();
    controller.abort('enough');
    connector.last.let('fails');
    await clock.settle();
    expect(first.error).toBe('enough');
    const rejected = events.filter(({ type }) => type === 'acquire-rejected');
    expect(rejected).toMatchObject([{ reason: 'aborted' }]);
  });

  test('is a timeout after connectTimeoutMs, aborts the connector, and frees the slot', async () => {
    const { pool, clock, connector } = makePool({
      gates: { open: 'never' },
      connectTimeoutMs: 700,
    });
    const waiting = watch(pool.acquire(TARGET));
    await clock.advance(699);
    expect(waiting.state).toBe('pending');
    await clock.advance(1);
    expect(waiting.error).toMatchObject({ code: 'OPEN_FAILED', kind: 'timeout' });
    expect(connector.last.calls[0]?.signal?.aborted).toBe(true);
    expect(pool.stats()).toMatchObject({ sessions: { opening: 0 }, unsettled: 1 });
  });

  test.each([
    { name: 'nothing', value: undefined },
    { name: 'null', value: null },
    { name: 'a string', value: 'connection' },
    { name: 'no client', value: { transport: { close: () => Promise.resolve() } } },
    { name: 'no transport', value: { client: { close: () => Promise.resolve() } } },
    { name: 'a close that is none', value: { client: { close: 1 }, transport: { close: 1 } } },
    {
      name: 'a lost that is no signal',
      value: {
        client: { close: () => Promise.resolve() },
        transport: { close: () => Promise.resolve() },
        lost: {},
      },
    },
  ])('is what rubbish from a connector comes to: $name', async ({ value }) => {
    const { pool, clock, connector } = makePool();
    connector.rubbish = { value };
    const waiting = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(waiting.code).toBe('OPEN_FAILED');
    expect(pool.stats().sessions.opening).toBe(0);
    const closing = watch(pool.close());
    await clock.advance(5_000);
    expect(closing.state).toBe('fulfilled');
  });
});

test('rungs that are no functions are outcomes, not errors', async () => {
  const { pool, clock, connector } = makePool();
  connector.rubbish = {
    value: {
      client: { close: () => undefined },
      transport: { close: () => 5 },
      fence: 'x',
      terminate: {},
      sever: 7,
      probe: 1,
    },
  };
  const lease = watch(pool.acquire(TARGET));
  await clock.settle();
  expect(lease.state).toBe('fulfilled');
  const closing = watch(pool.close());
  await clock.advance(5_000);
  expect(closing.got).toMatchObject({ sessions: 1, closed: 1 });
});

describe('a session that arrives after its open was given up', () => {
  test('point 3: is taken down, counted, and lent to nobody', async () => {
    const { pool, clock, connector, events } = makePool({
      gates: { open: 'held' },
      connectTimeoutMs: 100,
    });
    const waiting = watch(pool.acquire(TARGET));
    await clock.advance(100);
    expect(waiting.code).toBe('OPEN_FAILED');
    connector.last.let('ok');
    await clock.settle();
    expect(connector.last.calls.map(({ name }) => name)).toEqual([
      'open',
      'fence',
      'terminate',
      'clientClose',
      'transportClose',
      'sever',
    ]);
    expect(pool.stats()).toMatchObject({ unsettled: 0, totals: { openedTooLate: 1, closed: 1 } });
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'session-closed', reason: 'open-too-late' }),
    );
  });

  test('is torn down before close settles, at whichever microtask the close comes', async () => {
    for (let after = 0; after < 25; after += 1) {
      const { pool, clock, connector } = makePool({
        gates: { open: 'held', clientClose: 'slow', slowMs: 500 },
      });
      const waiting = watch(pool.acquire(TARGET));
      await clock.settle();
      connector.last.let('ok');
      await runMicrotasks(after);
      const closing = watch(pool.close());
      await clock.settle();
      expect([after, closing.state]).toEqual([after, 'pending']);
      await clock.advance(500);
      expect([after, closing.got.sessions, connector.last.count('sever')]).toEqual([after, 1, 1]);
      expect(waiting.state).not.toBe('pending');
    }
  });

  test('is taken down once when it arrives in the tick of its deadline', async () => {
    for (const isFirst of [true, false]) {
      const { pool, clock, connector } = makePool({
        gates: { open: 'held' },
        connectTimeoutMs: 100,
      });
      if (isFirst) clock.later(100, () => void connector.last.let('ok'));
      const waiting = watch(pool.acquire(TARGET));
      await clock.settle();
      if (!isFirst) clock.later(100, () => void connector.last.let('ok'));
      await clock.advance(100);
      expect(waiting.state).not.toBe('pending');
      const { idle, leased } = pool.stats().sessions;
      expect(connector.last.count('sever') + idle + leased).toBe(1);
    }
  });
});

describe('a session that is lost', () => {
  test('already when it arrives is a failed open, and is taken down', async () => {
    const { pool, clock, connector } = makePool();
    connector.onOpen = (session) => session.lost.abort(new Error('gone'));
    const waiting = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(waiting.code).toBe('OPEN_FAILED');
    expect(connector.last.count('sever')).toBe(1);
    expect(pool.stats().sessions).toMatchObject({ idle: 0, opening: 0 });
  });

  test('while idle is taken down and not lent again', async () => {
    const { warm, lease, connector, pool } = makePool();
    await warm();
    connector.last.lost.abort(new Error('gone'));
    expect((await lease()).client.session).toBe(connector.sessions[1]);
    expect(pool.stats().totals.lost).toBe(1);
  });

  test('while leased aborts the lease with SESSION_LOST and the cause', async () => {
    const { lease, connector, clock, pool } = makePool();
    const held = await lease();
    const cause = new Error('gone');
    connector.last.lost.abort(cause);
    await clock.settle();
    expect(held.signal.reason).toMatchObject({ code: 'SESSION_LOST', cause });
    await expect(held.client.call()).rejects.toMatchObject({ execution: 'not-executed' });
    held.release();
    expect(pool.stats().sessions).toMatchObject({ leased: 0, idle: 0, closing: 0 });
  });

  test('while closing is torn down once', async () => {
    const { warm, connector, clock, pool } = makePool({ gates: { clientClose: 'held' } });
    await warm();
    pool.retire();
    await clock.settle();
    connector.last.lost.abort(new Error('gone'));
    connector.last.let('ok');
    await clock.settle();
    expect(connector.last.count('clientClose')).toBe(1);
    expect(pool.stats()).toMatchObject({
      sessions: { closing: 0 },
      totals: { closed: 1, lost: 0 },
    });
  });

  test('under a listener that closes the pool is taken down once, shared leases and all', async () => {
    const { pool, clock, connector } = makePool({ leasesPerSession: 3 });
    const leases = await Promise.all([1, 2, 3].map(() => pool.acquire(TARGET)));
    let closing: unknown;
    for (const { signal } of leases) {
      signal.addEventListener('abort', () => {
        closing = pool.close();
        watch(pool.acquire(TARGET));
        leases[2]?.discard();
      });
    }
    connector.last.lost.abort(new Error('gone'));
    await clock.settle();
    await expect(closing).resolves.toMatchObject({ sessions: 1, closed: 1 });
    expect(connector.last.count('clientClose')).toBe(1);
  });

  test('under a listener that acquires anew is replaced by a fresh one', async () => {
    const { pool, lease, clock, connector } = makePool({ leasesPerSession: 2 });
    const held = await lease();
    const again: ReturnType<typeof watch>[] = [];
    held.signal.addEventListener('abort', () => again.push(watch(pool.acquire(TARGET))));
    connector.last.lost.abort(new Error('gone'));
    await clock.settle();
    expect(again[0]?.got).toMatchObject({ reused: false });
    expect(connector.sessions).toHaveLength(2);
  });
});

describe('what throws when it is read', () => {
  const unreadable = (): Error =>
    Object.defineProperty(new Error('x'), 'code', {
      get() {
        throw new Error('not to be read');
      },
    });

  test('as the failure of an open is one, with a cause', async () => {
    const { pool, clock, connector } = makePool({ gates: { open: 'fails' } });
    connector.openError = unreadable();
    const failed = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(failed.error).toMatchObject({ code: 'OPEN_FAILED', kind: 'other' });
    expect((failed.error as Error).cause).toBe(connector.openError);
    expect(pool.stats().sessions.opening).toBe(0);
  });

  test('as the cause of a loss does not keep the session', async () => {
    const { pool, clock, connector, lease } = makePool();
    const held = await lease();
    connector.last.lost.abort(new Error('lost', { cause: unreadable() }));
    await clock.settle();
    await expect(held.client.call()).rejects.toMatchObject({ code: 'SESSION_LOST' });
    expect(pool.stats()).toMatchObject({ sessions: { leased: 0 }, totals: { lost: 1 } });
  });
});
