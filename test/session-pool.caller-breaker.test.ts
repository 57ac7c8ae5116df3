// The circuit of one caller at an endpoint: refused credentials, and servers that ask for a pause.

import { describe, expect, test } from 'vitest';
import {
  ADA,
  as,
  BOB,
  breaker,
  httpError,
  OTHER,
  RESET_MS,
  trip,
} from './support/breaker-fixture.ts';
import { makePool, watch } from './support/pool-fixture.ts';

describe('what is of one caller holds back nobody else', () => {
  test.each([401, 403])('%i, in a row', async (status) => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector } = fixture;
    connector.openError = httpError(status);
    await trip(fixture);
    const refused = [ADA, as('ada', { affinity: 'x' })].map((each) => watch(pool.acquire(each)));
    await clock.settle();
    for (const { error } of refused) {
      expect(error).toMatchObject({ code: 'CIRCUIT_OPEN', scope: 'endpoint+identity' });
    }
    expect((await fixture.lease(BOB)).reused).toBe(false);
    expect((await fixture.lease(OTHER)).reused).toBe(false);
  });

  test.each([429, 503])('%i with Retry-After, at once and for so long', async (status) => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector } = fixture;
    connector.openError = httpError(status, 7_000);
    connector.gates = { open: 'fails' };
    const first = watch(pool.acquire(ADA));
    await clock.settle();
    expect(first.code).toBe('OPEN_FAILED');
    connector.gates = {};
    const second = watch(pool.acquire(ADA));
    await clock.settle();
    expect(second.error).toMatchObject({
      code: 'CIRCUIT_OPEN',
      scope: 'endpoint+identity',
      retryAfterMs: 7_350,
      cause: { code: 'OPEN_FAILED', status },
    });
    expect((await fixture.lease(BOB)).reused).toBe(false);
    await clock.advance(7_349);
    const third = watch(pool.acquire(ADA));
    await clock.settle();
    expect(third.code).toBe('CIRCUIT_OPEN');
    await clock.advance(1);
    expect((await fixture.lease(ADA)).reused).toBe(false);
  });

  test('the same over a live session, whose calls go on', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector, lease } = fixture;
    const held = await lease(as('ada', { affinity: 'x' }));
    connector.last.context.throttled?.(5_000);
    await expect(held.client.call()).resolves.toBeDefined();
    const refused = watch(pool.acquire(ADA));
    await clock.settle();
    expect(refused.error).toMatchObject({
      code: 'CIRCUIT_OPEN',
      scope: 'endpoint+identity',
      retryAfterMs: 5_250,
    });
    expect('cause' in (refused.error as object)).toBe(false);
    expect((await lease(BOB)).reused).toBe(false);
  });

  test('who waits is refused when a live session is told to pause', async () => {
    const fixture = makePool({ breaker, maxOpeningPerKey: 1 });
    const { pool, clock, connector, lease } = fixture;
    await lease(as('ada', { affinity: 'x' }));
    const live = connector.last;
    connector.gates = { open: 'held' };
    const waiting = [watch(pool.acquire(ADA)), watch(pool.acquire(ADA))];
    await clock.settle();
    live.context.throttled?.(5_000);
    await clock.settle();
    expect(waiting.map(({ code }) => code)).toEqual([undefined, 'CIRCUIT_OPEN']);
  });

  test.each([Number.NaN, -1, '7', undefined])('a pause of %s is none', async (nonsense) => {
    const { connector, lease, pool } = makePool({ breaker });
    await lease(ADA);
    connector.last.context.throttled?.(nonsense as number);
    expect(pool.stats().circuits.open).toBe(0);
  });

  test('a pause told of a session that came too late disturbs nobody', async () => {
    const { pool, clock, connector, lease } = makePool({ breaker, connectTimeoutMs: 100 });
    connector.gates = { open: 'held', clientClose: 'slow' };
    const waiting = watch(pool.acquire(ADA));
    await clock.advance(100);
    expect(waiting.code).toBe('OPEN_FAILED');
    const late = connector.last;
    late.let('ok');
    await clock.advance(500);
    connector.gates = {};
    const held = await lease(ADA);
    late.context.throttled?.(5_000);
    expect(pool.stats()).toMatchObject({ keys: 1, circuits: { open: 0 } });
    held.release();
  });

  test('refused credentials on trial show that the endpoint works', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector } = fixture;
    await trip(fixture);
    await clock.advance(RESET_MS);
    connector.openError = httpError(401);
    connector.gates = { open: 'fails' };
    const trial = watch(pool.acquire(ADA));
    await clock.settle();
    expect(trial.error).toMatchObject({ kind: 'unauthorized' });
    connector.gates = {};
    expect((await fixture.lease(BOB)).reused).toBe(false);
  });

  test('a server that is down says nothing of the caller on trial, who may try again', async () => {
    const fixture = makePool({ breaker });
    const { pool, clock, connector, lease } = fixture;
    await lease(as('ada', { affinity: 'x' }));
    connector.last.context.throttled?.(5_000);
    await clock.advance(5_250);
    connector.gates = { open: 'fails' };
    const trial = watch(pool.acquire(ADA));
    await clock.settle();
    expect(trial.code).toBe('OPEN_FAILED');
    expect(pool.stats().circuits).toEqual({ open: 1, halfOpen: 0 });
    connector.gates = {};
    await clock.advance(50);
    expect((await lease(ADA)).reused).toBe(false);
    expect(pool.stats().circuits).toEqual({ open: 0, halfOpen: 0 });
  });

  test.each([true, false])('a headers function that fails does not, async: %s', async (isAsync) => {
    const { pool, clock, connector, lease } = makePool({ breaker, gates: { open: 'held' } });
    const fail = (): never => {
      throw new Error('no token');
    };
    const target = as('eve', { headers: isAsync ? async () => fail() : fail });
    for (let count = 0; count < 2 * breaker.failureThreshold; count += 1) {
      const failed = watch(pool.acquire(target));
      await clock.settle();
      const cause = await (async () => connector.last.context.headers())().catch((why) => why);
      expect(cause).toMatchObject({ message: 'no token' });
      connector.openError = new Error('the open failed', { cause });
      connector.last.let('fails');
      await clock.advance(6_000);
      expect(failed.code).toBe('OPEN_FAILED');
    }
    expect(pool.stats().totals.circuitsOpened).toBe(0);
    connector.gates = {};
    expect((await lease(BOB)).reused).toBe(false);
  });

  test('a headers function that never answers does not', async () => {
    const { pool, clock, connector, lease } = makePool({ breaker, connectTimeoutMs: 100 });
    connector.gates = { open: 'never' };
    const target = as('eve', { headers: () => new Promise(() => {}) });
    for (let count = 0; count < 2 * breaker.failureThreshold; count += 1) {
      const failed = watch(pool.acquire(target));
      await clock.settle();
      void connector.last.context.headers();
      await clock.advance(6_000);
      expect(failed.error).toMatchObject({ code: 'OPEN_FAILED', kind: 'timeout' });
    }
    expect(pool.stats().totals.circuitsOpened).toBe(0);
    connector.gates = {};
    expect((await lease(BOB)).reused).toBe(false);
  });
});

test('a pause that is no number is none, whoever asks for it', async () => {
  const { pool, clock, connector, lease } = makePool({ breaker });
  connector.gates = { open: 'fails' };
  connector.openError = httpError(429, Number.NaN);
  const failed = watch(pool.acquire(ADA));
  await clock.settle();
  expect(failed.code).toBe('OPEN_FAILED');
  connector.gates = {};
  const held = lease(ADA);
  await clock.advance(100);
  for (const rubbish of [Number.NaN, -1, '5', {}, undefined]) {
    connector.last.context.throttled?.(rubbish as number);
  }
  (await held).discard();
  expect((await lease(ADA)).reused).toBe(false);
  expect(pool.stats().totals.circuitsOpened).toBe(0);
});
