// The circuit breaker in the pool: whom it holds back and whom not, the one trial, what wakes and what
// refuses those who wait. The breaker itself is tested in `policy/breaker.test.ts`.

import { describe, expect, test } from 'vitest';
import type { CircuitOpenError, OpenError } from '../src/errors.ts';
import { ADA, as, BOB, breaker, OTHER, RESET_MS, trip } from './support/breaker-fixture.ts';
import { makePool, watch } from './support/pool-fixture.ts';

describe('when opens fail in a row', () => {
  test('nothing is opened any more at that endpoint, for whomever, and CIRCUIT_OPEN says why', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector } = fixture;
    await trip(fixture);
    const opens = connector.sessions.length;
    const refused = [ADA, BOB, as('ada', { affinity: 'x' })].map((target) =>
      watch(pool.acquire(target)),
    );
    expect(pool.stats().waiting).toBe(0);
    await clock.settle();
    for (const { error } of refused) {
      expect(error).toMatchObject({ code: 'CIRCUIT_OPEN', scope: 'endpoint' });
      const { retryAfterMs } = error as CircuitOpenError;
      expect(retryAfterMs).toBeGreaterThan(RESET_MS - 1_500);
      expect(retryAfterMs).toBeLessThanOrEqual(RESET_MS);
    }
    expect(connector.sessions).toHaveLength(opens);
    expect(pool.stats()).toMatchObject({
      circuits: { open: 1, halfOpen: 0 },
      totals: { circuitsOpened: 1, failedFast: 3 },
    });
  });

  test('nothing is warmed either, until a warm may be the trial', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector } = fixture;
    await trip(fixture);
    const opens = connector.sessions.length;
    const refused = watch(pool.warm(ADA, 3));
    await clock.settle();
    expect(refused.error).toMatchObject({ code: 'CIRCUIT_OPEN' });
    await clock.advance(1.1 * RESET_MS);
    connector.gates = { open: 'held' };
    const warming = watch(pool.warm(ADA, 3));
    await clock.settle();
    expect(connector.sessions).toHaveLength(opens + 1);
    connector.gates = {};
    connector.last.let('ok', 'open');
    await clock.settle();
    expect(warming.got).toEqual({ sessions: 3, opened: 3 });
    expect(pool.stats().circuits).toEqual({ open: 0, halfOpen: 0 });
  });

  test('one sick server slows no other key down', async () => {
    const fixture = makePool({ breaker });
    await trip(fixture);
    expect((await fixture.lease(OTHER)).reused).toBe(false);
  });

  test('one that hangs does not hold all the room of the pool for long either', async () => {
    const { pool, clock, connector } = makePool({ maxSessions: 8, connectTimeoutMs: 10_000 });
    connector.gates = (_, target) => (target === OTHER ? {} : { open: 'never' });
    const stuck = Array.from({ length: 40 }, (_, n) => watch(pool.acquire(as(`user-${n}`))));
    const other = watch(pool.acquire(OTHER));
    await clock.advance(10_000);
    expect(other.state).toBe('fulfilled');
    const told = (code: string): number => stuck.filter((each) => each.code === code).length;
    expect([told('OPEN_FAILED'), told('CIRCUIT_OPEN')]).toEqual([8, 28]);
    // Those that took the room of the first four failures: the fifth opened the circuit.
    expect(pool.stats()).toMatchObject({ waiting: 4, sessions: { opening: 4 } });
  });

  test('with `breaker: false`, every acquire is an open', async () => {
    const fixture = makePool({ breaker: false });
    await trip(fixture);
    await trip(fixture);
    expect((await fixture.lease(ADA)).reused).toBe(false);
    fixture.connector.last.context.throttled?.(1_000);
    expect((await fixture.lease(ADA)).reused).toBe(false);
    expect(fixture.pool.stats().totals.circuitsOpened).toBe(0);
  });

  test('together, they are one failure; the next ones count', async () => {
    const { pool, clock, connector } = makePool({ breaker, gates: { open: 'fails' } });
    const waiting = Array.from({ length: 30 }, () => watch(pool.acquire(ADA)));
    const others = Array.from({ length: 30 }, (_, index) => watch(pool.acquire(as(`${index}`))));
    await clock.settle();
    expect(connector.sessions.length).toBeGreaterThan(30);
    expect(pool.stats().circuits.open).toBe(0);
    expect(others.every(({ code }) => code === 'OPEN_FAILED')).toBe(true);
    await clock.advance(1_000);
    expect(pool.stats().circuits.open).toBe(1);
    expect(waiting.filter(({ code }) => code === 'CIRCUIT_OPEN').length).toBeGreaterThan(15);
    expect(waiting.every(({ state }) => state === 'rejected')).toBe(true);
  });

  test('those of all keys who wait are refused when the circuit opens', async () => {
    const fixture = makePool({ breaker, maxOpeningPerKey: 1 });
    const { pool, clock, connector } = fixture;
    connector.gates = { open: 'held' };
    const waiting = [ADA, ADA, ADA, BOB, BOB, OTHER].map((target) => watch(pool.acquire(target)));
    await clock.settle();
    await trip(fixture, as('eve'));
    const codes = waiting.map(({ code }) => code);
    // The first of each key has its open under way.
    const refused = 'CIRCUIT_OPEN';
    expect(codes).toEqual([undefined, refused, refused, undefined, refused, undefined]);
  });

  test('a success in between begins the count anew', async () => {
    const { pool, clock, connector } = makePool({ breaker });
    for (let round = 0; round < 4; round += 1) {
      connector.gates = (open) => ({ open: open % 3 === 2 ? 'ok' : 'fails' });
      for (let count = 0; count < 3; count += 1) {
        const lease = watch(pool.acquire(ADA));
        await clock.advance(1_000);
        if (lease.state === 'fulfilled') lease.got.discard();
      }
    }
    expect(connector.sessions).toHaveLength(12);
    expect(pool.stats().totals.circuitsOpened).toBe(0);
  });

  test('the error has the last failure as its cause; of another caller, only its kind', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector } = fixture;
    connector.openError = Object.assign(new Error("Ada's own words"), { status: 500 });
    await trip(fixture);
    const [own, foreign] = [watch(pool.acquire(ADA)), watch(pool.acquire(BOB))];
    await clock.settle();
    const causeOf = (error: unknown): OpenError => (error as { cause: OpenError }).cause;
    expect(causeOf(own.error)).toMatchObject({ code: 'OPEN_FAILED', kind: 'http', status: 500 });
    expect(causeOf(own.error).cause).toBe(connector.openError);
    expect(causeOf(foreign.error)).toMatchObject({ code: 'OPEN_FAILED', kind: 'http' });
    expect('cause' in causeOf(foreign.error)).toBe(false);
    const said = [own, foreign].map(({ error }) => `${String(error)} ${JSON.stringify(error)}`);
    expect([...said, JSON.stringify(fixture.events)].join()).not.toMatch(/own words|ada|bob/i);
  });
});

describe('while a circuit is open', () => {
  test('sessions at hand are lent, and leases go on', async () => {
    const fixture = makePool({ breaker });
    const { lease, connector, pool } = fixture;
    const held = await lease(BOB);
    (await lease(ADA)).release();
    connector.gates = { open: 'fails' };
    await trip(fixture, as('eve'));
    expect(pool.stats().circuits.open).toBe(1);
    expect((await lease(ADA)).reused).toBe(true);
    await expect(held.client.call()).resolves.toBe(held.client.session.id);
  });

  test('who can hope for a lease that ends waits for it, in line', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, lease } = fixture;
    const held = await lease(BOB);
    await trip(fixture);
    const waiting = [watch(pool.acquire(BOB)), watch(pool.acquire(BOB))];
    await clock.settle();
    expect(waiting.map(({ state }) => state)).toEqual(['pending', 'pending']);
    held.release();
    await clock.settle();
    expect(waiting[0]?.got.reused).toBe(true);
    expect(waiting[1]?.state).toBe('pending');
  });

  test('and is refused the moment that hope is gone', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, lease } = fixture;
    const held = await lease(BOB);
    await trip(fixture);
    const waiting = watch(pool.acquire(BOB));
    await clock.settle();
    held.discard();
    await clock.settle();
    expect(waiting.code).toBe('CIRCUIT_OPEN');
  });

  test('a second waiter is refused beside the one open that a full key has', async () => {
    const fixture = makePool({ breaker, maxSessionsPerKey: 1 });
    const { pool, clock, connector } = fixture;
    connector.gates = { open: 'held' };
    const first = watch(pool.acquire(BOB));
    await clock.settle();
    await trip(fixture);
    const second = watch(pool.acquire(BOB));
    await clock.settle();
    expect([first.state, second.code]).toEqual(['pending', 'CIRCUIT_OPEN']);
  });

  test('an open that was under way and succeeds closes it', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector } = fixture;
    connector.gates = { open: 'held' };
    const waiting = watch(pool.acquire(BOB));
    await clock.settle();
    await trip(fixture);
    connector.sessions[0]?.let('ok');
    await clock.settle();
    expect(waiting.state).toBe('fulfilled');
    expect(pool.stats().circuits).toEqual({ open: 0, halfOpen: 0 });
  });
});

describe('the trial', () => {
  test('is one open for the whole endpoint, begun by the next acquire', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector } = fixture;
    await trip(fixture);
    const opens = connector.sessions.length;
    connector.gates = { open: 'held' };
    await clock.advance(RESET_MS);
    expect(connector.sessions).toHaveLength(opens);
    const waiting = [BOB, BOB, ADA, as('eve')].map((target) => watch(pool.acquire(target)));
    await clock.settle();
    expect(connector.sessions).toHaveLength(opens + 1);
    expect(waiting.map(({ code }) => code)).toEqual([
      undefined,
      'CIRCUIT_OPEN',
      'CIRCUIT_OPEN',
      'CIRCUIT_OPEN',
    ]);
    const late = watch(pool.acquire(ADA));
    await clock.advance(3_000);
    // It has ended after `connectTimeoutMs` at the latest.
    for (const { error } of [...waiting.slice(1), late]) {
      expect(error).toMatchObject({ code: 'CIRCUIT_OPEN', retryAfterMs: 10_000 });
    }
    expect(pool.stats().circuits).toEqual({ open: 0, halfOpen: 1 });
  });

  test('that succeeds closes the circuit for all keys, and wakes who waits', async () => {
    const fixture = makePool({ breaker, maxSessionsPerKey: 2 });
    const { pool, clock, connector, lease } = fixture;
    const held = await lease(BOB);
    await trip(fixture);
    const waiting = watch(pool.acquire(BOB, { timeoutMs: 60_000 }));
    await clock.advance(RESET_MS - 1_500);
    connector.gates = { open: 'held' };
    await clock.advance(1_500);
    // Nobody had to come for it: who waited was woken.
    expect(pool.stats().circuits.halfOpen).toBe(1);
    const trial = connector.last;
    connector.gates = {};
    const refused = watch(pool.acquire(ADA));
    await clock.settle();
    expect(refused.code).toBe('CIRCUIT_OPEN');
    trial.let('ok');
    await clock.settle();
    expect(waiting.got.client.session).toBe(trial);
    expect(pool.stats().circuits).toEqual({ open: 0, halfOpen: 0 });
    expect((await lease(ADA)).reused).toBe(false);
    held.release();
  });

  test("of one key wakes another key's waiters, whose back-off is over with it", async () => {
    const fixture = makePool({ breaker: { ...breaker, resetAfterMs: 100 }, maxSessionsPerKey: 2 });
    const { pool, clock, connector, lease } = fixture;
    const held = await lease(BOB);
    connector.gates = { open: 'fails' };
    // Failures of Bob's own make him back off for long.
    for (let count = 0; count < 9; count += 1) {
      const failed = watch(pool.acquire(BOB));
      await clock.advance(6_000);
      expect(failed.code).toBe('OPEN_FAILED');
    }
    const failed = watch(pool.acquire(BOB));
    await clock.settle();
    expect(failed.code).toBe('OPEN_FAILED');
    connector.gates = { open: 'held' };
    await clock.advance(100);
    const trial = watch(pool.acquire(ADA));
    await clock.settle();
    const waiting = watch(pool.acquire(BOB));
    await clock.settle();
    expect([trial.state, waiting.state]).toEqual(['pending', 'pending']);
    connector.gates = {};
    connector.last.let('ok');
    await clock.settle();
    expect([trial.state, waiting.state]).toEqual(['fulfilled', 'fulfilled']);
    held.release();
  });

  test('that fails rejects its waiter with the cause, and opens the circuit again', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector } = fixture;
    await trip(fixture);
    await clock.advance(RESET_MS);
    connector.gates = { open: 'fails' };
    const [trial, other] = [watch(pool.acquire(ADA)), watch(pool.acquire(BOB))];
    await clock.settle();
    expect([trial.code, other.code]).toEqual(['OPEN_FAILED', 'CIRCUIT_OPEN']);
    const opens = connector.sessions.length;
    for (let waitedMs = 0; waitedMs < RESET_MS; waitedMs += 500) {
      const refused = watch(pool.acquire(BOB));
      await clock.settle();
      expect((refused.error as CircuitOpenError).retryAfterMs).toBe(RESET_MS - waitedMs);
      await clock.advance(500);
    }
    expect(connector.sessions).toHaveLength(opens);
    connector.gates = {};
    expect((await fixture.lease(BOB)).reused).toBe(false);
  });

  test('still is the trial when its waiter has left', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector } = fixture;
    await trip(fixture);
    await clock.advance(RESET_MS);
    connector.gates = { open: 'held' };
    const controller = new AbortController();
    const left = watch(pool.acquire(ADA, { signal: controller.signal }));
    await clock.settle();
    controller.abort('enough');
    const other = watch(pool.acquire(BOB));
    const heir = watch(pool.acquire(ADA));
    await clock.settle();
    expect([left.error, other.code, heir.state]).toEqual(['enough', 'CIRCUIT_OPEN', 'pending']);
    connector.last.let('ok');
    await clock.settle();
    expect(heir.state).toBe('fulfilled');
    expect(pool.stats().circuits).toEqual({ open: 0, halfOpen: 0 });
  });

  test('that never settles is over after connectTimeoutMs', async () => {
    const fixture = makePool({ breaker, connectTimeoutMs: 700 });
    const { pool, clock, connector } = fixture;
    await trip(fixture);
    await clock.advance(RESET_MS);
    connector.gates = { open: 'never' };
    const trial = watch(pool.acquire(ADA));
    await clock.advance(699);
    expect(pool.stats().circuits.halfOpen).toBe(1);
    await clock.advance(1);
    expect(trial.error).toMatchObject({ code: 'OPEN_FAILED', kind: 'timeout' });
    expect(pool.stats().circuits).toEqual({ open: 1, halfOpen: 0 });
  });

  test('does not hold up the close of the pool', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector } = fixture;
    await trip(fixture);
    await clock.advance(RESET_MS);
    connector.gates = { open: 'held' };
    const trial = watch(pool.acquire(ADA));
    await clock.settle();
    const closing = watch(pool.close());
    connector.last.let('fails');
    await clock.settle();
    expect([trial.code, closing.state]).toEqual(['POOL_CLOSED', 'fulfilled']);
    connector.last.context.throttled?.(1_000);
    expect(clock.pendingCount).toBe(0);
  });
});
