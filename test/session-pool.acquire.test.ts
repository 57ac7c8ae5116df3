// acquire: who gets which session, who is told what, and what is left behind. Points 1, 2, 4, 5, 7 and
// 8 of design section 4 are named where they are shown.

import { describe, expect, test } from 'vitest';
import type { AcquireTimeoutError, OpenError } from '../src/errors.ts';
import { CountedController } from './support/counted-signal.ts';
import { runMicrotasks } from './support/microtasks.ts';
import { type FakeLease, makePool, TARGET, targetOf, watch } from './support/pool-fixture.ts';

describe('acquire', () => {
  test('opens a session when there is none, and says that it is fresh', async () => {
    const { lease, connector } = makePool();
    const first = await lease();
    expect(first.reused).toBe(false);
    expect(first.client.session).toBe(connector.last);
    expect(first.sessionId).toBe('secret-session-0');
  });

  test('returns the most recently released idle session', async () => {
    const { lease, connector, clock } = makePool();
    const leases = [await lease(), await lease(), await lease()];
    for (const index of [1, 0, 2]) {
      leases[index]?.release();
      await clock.advance(1);
    }
    const again = await lease();
    expect(again.client.session).toBe(connector.sessions[2]);
    expect(again.reused).toBe(true);
  });

  test('lends an idle session in the turn of the call', async () => {
    const { pool, warm } = makePool();
    await warm();
    const acquiring = pool.acquire(TARGET);
    expect(pool.stats().sessions).toMatchObject({ idle: 0, leased: 1 });
    await expect(acquiring).resolves.toMatchObject({ reused: true });
  });

  test('serves waiters of a key first come, first served', async () => {
    const { pool, lease, clock } = makePool({ maxSessionsPerKey: 1 });
    const held = await lease();
    const waiting = [1, 2, 3].map(() => watch(pool.acquire(TARGET)));
    held.release();
    await clock.settle();
    expect(waiting.map(({ state }) => state)).toEqual(['fulfilled', 'pending', 'pending']);
    waiting[0]?.got.release();
    await clock.settle();
    expect(waiting.map(({ state }) => state)).toEqual(['fulfilled', 'fulfilled', 'pending']);
  });

  test('point 1: a stale second release never hands one session to two borrowers', async () => {
    const { pool, lease, clock } = makePool({ maxSessionsPerKey: 1 });
    const stale = await lease();
    stale.release();
    const current = await lease();
    stale.release();
    stale.discard();
    const other = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(other.state).toBe('pending');
    expect(current.endReason).toBeUndefined();
    expect(pool.stats().sessions).toMatchObject({ leased: 1, idle: 0 });
  });

  test('point 8: a release serves the oldest waiter even while an open made for it is pending', async () => {
    const { pool, lease, clock, connector } = makePool({ maxSessionsPerKey: 2 });
    const held = await lease();
    connector.gates = { open: 'held' };
    const waiting = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(pool.stats().sessions.opening).toBe(1);
    held.release();
    await clock.settle();
    expect(waiting.got.client.session).toBe(connector.sessions[0]);
    connector.last.let('ok');
    await clock.settle();
    expect(pool.stats().sessions).toMatchObject({ leased: 1, idle: 1 });
  });

  test('point 4: opens no more sessions at once than it may, however many wait', async () => {
    const { pool, clock, connector } = makePool({ maxOpeningPerKey: 2, gates: { open: 'held' } });
    const waiting = Array.from({ length: 6 }, () => watch(pool.acquire(TARGET)));
    await clock.settle();
    expect(connector.sessions).toHaveLength(2);
    connector.last.let('ok');
    await clock.settle();
    expect(connector.sessions).toHaveLength(3);
    expect(waiting.filter(({ state }) => state === 'fulfilled')).toHaveLength(1);
  });

  test('refuses bad input before anything is opened or queued', async () => {
    const { pool, connector } = makePool();
    for (const [target, options] of [
      [{}, {}],
      [undefined, {}],
      [{ url: 'ftp://one.example' }, {}],
      [TARGET, { timeout: 5 }],
      [TARGET, { timeoutMs: 0 }],
      [TARGET, { timeoutMs: Number.POSITIVE_INFINITY }],
      [TARGET, { timeoutMs: 2 ** 31 }],
      [TARGET, { signal: {} }],
      [TARGET, { headers: { 'mcp-session-id': 'x' } }],
      [TARGET, { onRequest: 'x' }],
      [TARGET, 5],
    ] as [never, never][]) {
      await expect(pool.acquire(target, options)).rejects.toThrow(
        /TypeError|RangeError|Expected|Unknown|belongs/,
      );
    }
    expect(connector.sessions).toHaveLength(0);
    expect(pool.stats().keys).toBe(0);
  });
});

describe('an aborted acquire', () => {
  test('rejects at once with the reason, unwrapped, when the signal is aborted already', async () => {
    const { pool, connector } = makePool();
    const reason = { any: 'thing' };
    await expect(pool.acquire(TARGET, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(connector.sessions).toHaveLength(0);
  });

  test('leaves the queue at once and rejects with the reason', async () => {
    const { pool, lease, clock } = makePool({ maxSessionsPerKey: 1 });
    await lease();
    const controller = new CountedController();
    const waiting = watch(pool.acquire(TARGET, { signal: controller.signal }));
    expect([pool.stats().waiting, controller.listenerCount]).toEqual([1, 1]);
    controller.abort('enough');
    expect([pool.stats().waiting, controller.listenerCount]).toEqual([0, 0]);
    await clock.settle();
    expect(waiting.error).toBe('enough');
    expect(pool.stats().totals.aborted).toBe(1);
  });

  test('does not cancel the open; the next waiter gets the session', async () => {
    const { pool, clock, connector } = makePool({ gates: { open: 'held' }, maxSessionsPerKey: 1 });
    const controller = new AbortController();
    const impatient = watch(pool.acquire(TARGET, { signal: controller.signal }));
    const patient = watch(pool.acquire(TARGET));
    await clock.settle();
    controller.abort();
    expect(connector.last.calls[0]?.signal?.aborted).toBe(false);
    connector.last.let('ok');
    await clock.settle();
    expect([impatient.state, patient.state]).toEqual(['rejected', 'fulfilled']);
    expect(connector.sessions).toHaveLength(1);
  });

  test('leaves its session idle when nobody else waits', async () => {
    const { pool, clock, connector } = makePool({ gates: { open: 'held' } });
    const controller = new AbortController();
    watch(pool.acquire(TARGET, { signal: controller.signal }));
    await clock.settle();
    controller.abort();
    connector.last.let('ok');
    await clock.settle();
    expect(pool.stats().sessions).toMatchObject({ idle: 1, opening: 0 });
  });

  test('settles exactly once at whichever microtask of the open the abort comes', async () => {
    for (let after = 0; after < 25; after += 1) {
      const { pool, clock } = makePool();
      const controller = new CountedController();
      const acquiring = watch(pool.acquire(TARGET, { signal: controller.signal }));
      await runMicrotasks(after);
      controller.abort('late');
      await clock.settle();
      expect(controller.listenerCount).toBe(0);
      if (acquiring.state === 'fulfilled') acquiring.got.release();
      else expect(acquiring.error).toBe('late');
      expect(pool.stats().sessions).toEqual({
        opening: 0,
        probing: 0,
        idle: 1,
        leased: 0,
        closing: 0,
      });
    }
  });

  test('takes 10,000 waiters out of the queue, each once, with nothing left behind', async () => {
    const { pool, lease, clock } = makePool({ maxSessionsPerKey: 1, maxWaitersPerKey: 10_000 });
    const held = await lease();
    const controllers = Array.from({ length: 10_000 }, () => new CountedController());
    const waiting = controllers.map(({ signal }) => watch(pool.acquire(TARGET, { signal })));
    const listeners = (): number =>
      controllers.reduce((sum, { listenerCount }) => sum + listenerCount, 0);
    expect([pool.stats().waiting, listeners()]).toEqual([10_000, 10_000]);
    for (const controller of controllers) controller.abort('all');
    expect([pool.stats().waiting, listeners()]).toEqual([0, 0]);
    await clock.settle();
    expect(waiting.every(({ error }) => error === 'all')).toBe(true);
    held.release();
    expect(clock.referencedCount).toBe(0);
  });

  test('that calls back into the pool from its listener finds the books in order', async () => {
    const { pool, lease, clock } = makePool({ maxSessionsPerKey: 1 });
    const held = await lease();
    const controller = new AbortController();
    controller.signal.addEventListener('abort', () => held.release());
    const seen: unknown[] = [];
    const first = watch(pool.acquire(TARGET, { signal: controller.signal }));
    controller.signal.addEventListener('abort', () => seen.push(pool.stats().waiting));
    const second = watch(pool.acquire(TARGET));
    controller.abort();
    await clock.settle();
    // The first listener released a lease before the pool heard of the abort: so be it, once.
    expect([first.state, second.state]).toContain('fulfilled');
    expect(seen).toHaveLength(1);
    const won = first.state === 'fulfilled' ? first : second;
    won.got.release();
    await clock.settle();
    expect(pool.stats().sessions.leased + pool.stats().sessions.idle).toBe(1);
  });
});

describe('an acquire whose time runs out', () => {
  test('point 2: says phase, key, elapsed time, counts and the last failed open', async () => {
    const { pool, lease, clock, connector } = makePool({
      maxSessionsPerKey: 2,
      acquireTimeoutMs: 800,
    });
    await lease();
    connector.gates = { open: 'fails' };
    const failed = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(failed.code).toBe('OPEN_FAILED');
    connector.gates = { open: 'never' };
    const waiting = watch(pool.acquire(TARGET));
    await clock.advance(799);
    expect(waiting.state).toBe('pending');
    await clock.advance(1);
    const error = waiting.error as AcquireTimeoutError;
    expect(error.code).toBe('ACQUIRE_TIMEOUT');
    expect(error).toMatchObject({ phase: 'open', elapsedMs: 800 });
    expect(error.counts).toEqual({
      leased: 1,
      idle: 0,
      opening: 1,
      probing: 0,
      closing: 0,
      waiting: 1,
    });
    expect(error.cause).toBe(failed.error);
    expect(error.message).toBe(
      `No session of https://one.example (key ${error.key}) after 800 ms in phase open ` +
        '(1 leased, 0 idle, 1 opening, 0 probing, 0 closing, 1 waiting)',
    );
  });

  test.each([
    { phase: 'wait', gates: {}, maxSessionsPerKey: 1, hold: true },
    { phase: 'open', gates: { open: 'never' }, maxSessionsPerKey: 1, hold: false },
  ] as const)('waited in phase $phase', async ({ phase, gates, maxSessionsPerKey, hold }) => {
    const { pool, clock } = makePool({ gates, maxSessionsPerKey });
    if (hold) await pool.acquire(TARGET);
    const waiting = watch(pool.acquire(TARGET, { timeoutMs: 50 }));
    await clock.advance(50);
    expect(waiting.error).toMatchObject({ code: 'ACQUIRE_TIMEOUT', phase, elapsedMs: 50 });
    expect(pool.stats()).toMatchObject({ waiting: 0, totals: { timedOut: 1 } });
  });

  test('point 2: meets a release in one tick, and nothing is lost', async () => {
    for (const first of ['timeout', 'release'] as const) {
      const { pool, lease, clock } = makePool({ maxSessionsPerKey: 1 });
      const held = await lease();
      const release = (): void => clock.later(100, () => held.release());
      if (first === 'release') release();
      const waiting = watch(pool.acquire(TARGET, { timeoutMs: 100 }));
      if (first === 'timeout') release();
      await clock.advance(100);
      expect(waiting.state).toBe(first === 'release' ? 'fulfilled' : 'rejected');
      if (waiting.state === 'fulfilled') waiting.got.release();
      await clock.settle();
      expect(pool.stats().sessions).toMatchObject({ leased: 0, idle: 1 });
    }
  });

  test('keeps the process alive while it waits, and not a moment longer', async () => {
    const { pool, lease, clock } = makePool({ maxSessionsPerKey: 1 });
    const held = await lease();
    expect(clock.referencedCount).toBe(0);
    const waiting = watch(pool.acquire(TARGET));
    expect(clock.referencedCount).toBe(1);
    held.release();
    await clock.settle();
    expect(waiting.state).toBe('fulfilled');
    expect(clock.referencedCount).toBe(0);
  });

  test('each waiter has its own time', async () => {
    const { pool, lease, clock } = makePool({ maxSessionsPerKey: 1 });
    await lease();
    const waiting = [300, 100, 200].map((timeoutMs) => watch(pool.acquire(TARGET, { timeoutMs })));
    const states = (): string => waiting.map(({ state }) => state[0]).join('');
    await clock.advance(100);
    expect(states()).toBe('prp');
    await clock.advance(100);
    expect(states()).toBe('prr');
    await clock.advance(100);
    expect(states()).toBe('rrr');
  });
});

describe('a lend that comes back into the pool', () => {
  test('may acquire another session of the same key in the same turn', async () => {
    const { pool, clock, connector } = makePool();
    const nested: ReturnType<typeof watch<FakeLease>>[] = [];
    connector.onLend = () => {
      if (nested.length === 0) nested.push(watch(pool.acquire(TARGET)));
    };
    const outer = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(outer.got.client.session).not.toBe(nested[0]?.got.client.session);
    expect(pool.stats().sessions.leased).toBe(2);
  });

  test('may close the pool: the lease is taken back, the session closed once', async () => {
    const { pool, clock, connector } = makePool();
    connector.onLend = () => void pool.close();
    const acquiring = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(acquiring.state).not.toBe('pending');
    expect(connector.last.count('clientClose')).toBe(1);
    expect(pool.stats().sessions).toMatchObject({ leased: 0, closing: 0 });
  });

  test('may lose its session: the caller learns of it, the session is closed once', async () => {
    const { pool, clock, connector } = makePool();
    connector.onLend = (session) => session.lost.abort(new Error('gone'));
    const acquiring = watch(pool.acquire(TARGET));
    await clock.settle();
    const heard = acquiring.state === 'rejected' || acquiring.got.signal.aborted;
    expect(heard).toBe(true);
    expect(connector.last.count('sever')).toBe(1);
    expect(pool.stats().sessions.leased).toBe(0);
  });

  test('that throws rejects the caller with OPEN_FAILED, and its session goes', async () => {
    const { pool, warm, clock, connector, events } = makePool();
    await warm();
    connector.last.gates.lend = 'throws';
    const reused = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(reused.code).toBe('OPEN_FAILED');
    expect((reused.error as OpenError).cause).toMatchObject({ message: 'the peer fails lend' });
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'session-retired', reason: 'lend-failed' }),
    );
    expect(connector.last.count('sever')).toBe(1);
    connector.gates = { lend: 'throws' };
    const fresh = watch(pool.acquire(targetOf('two')));
    await clock.settle();
    expect(fresh.code).toBe('OPEN_FAILED');
    expect(pool.stats().sessions).toEqual({
      opening: 0,
      probing: 0,
      idle: 0,
      leased: 0,
      closing: 0,
    });
  });
});
