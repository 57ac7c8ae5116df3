// Teardown beyond single gates: many at once, the limit of 256 DELETEs, an event loop that lags, and
// peers that settle when nobody waits any more.

import { ManualClock } from 'mcp-session-pool/testing';
import { expect, test } from 'vitest';
import type { Connection } from '../src/connect/connector.ts';
import { Loss } from '../src/loss.ts';
import type { TeardownOutcome } from '../src/observe/events.ts';
import { TeardownCrew } from '../src/teardown-crew.ts';
import { makePool, type PoolFixture, TARGET, targetOf, watch } from './support/pool-fixture.ts';

const CLOSE_TIMEOUT_MS = 5_000;

/** A pool with `count` idle sessions of one key. */
async function poolWith(
  count: number,
  gates: Parameters<typeof makePool>[0] = {},
): Promise<PoolFixture> {
  const fixture = makePool({
    maxSessions: count,
    maxSessionsPerKey: count,
    maxOpeningPerKey: count,
    maxWaitersPerKey: count,
    ...gates,
  });
  const acquires = Array.from({ length: count }, () => fixture.pool.acquire(TARGET));
  await fixture.clock.settle();
  for (const acquire of acquires) (await acquire).release();
  return fixture;
}

for (const count of [1, 100, 1_000, 10_000]) {
  test(`closing ${count} sessions that never acknowledge takes closeTimeoutMs, each closed once`, async () => {
    const fixture = await poolWith(count, {
      gates: { terminate: 'never', clientClose: 'never', transportClose: 'never' },
    });
    const { pool, clock, connector } = fixture;
    const closing = watch(pool.close());
    await clock.advance(CLOSE_TIMEOUT_MS - 1);
    expect(pool.stats().sessions.closing).toBe(count);
    expect(closing.state).toBe('pending');
    await clock.advance(1);
    expect(closing.got).toEqual({
      sessions: count,
      closed: 0,
      abandoned: count,
      unterminated: count,
      durationMs: CLOSE_TIMEOUT_MS,
    });
    for (const session of connector.sessions) {
      const counts = (['fence', 'clientClose', 'transportClose', 'sever'] as const).map((name) =>
        session.count(name),
      );
      expect(counts).toEqual([1, 1, 1, 1]);
    }
    expect(connector.count('terminate')).toBe(Math.min(count, 256));
    expect(clock.pendingCount).toBe(0);
    expect(clock.signalListeners).toBe(0);
  });
}

test('at most 256 DELETEs are in flight, refilled as they settle, and the unsent are reported', async () => {
  const { pool, clock, connector, events } = await poolWith(1_000, {
    gates: { terminate: 'held' },
  });
  const closing = watch(pool.close());
  await clock.settle();
  expect(connector.count('terminate')).toBe(256);
  for (const session of connector.sessions.slice(0, 100)) session.let('ok');
  await clock.settle();
  expect(connector.count('terminate')).toBe(356);
  for (const session of connector.sessions.slice(100, 150)) session.let('fails');
  await clock.settle();
  expect(connector.count('terminate')).toBe(406);
  await clock.advance(CLOSE_TIMEOUT_MS / 2);
  expect(closing.got).toMatchObject({ closed: 1_000, abandoned: 0, unterminated: 900 });
  expect(connector.count('terminate')).toBe(406);
  const results = events.flatMap((each) =>
    each.type === 'session-closed' ? [each.outcome.terminate] : [],
  );
  expect(countOf(results)).toEqual({ done: 100, failed: 50, 'timed-out': 256, 'not-sent': 594 });
});

test('a DELETE that is cut off has its signal aborted', async () => {
  const { pool, clock, connector } = await poolWith(1, { gates: { terminate: 'never' } });
  void pool.close();
  await clock.advance(CLOSE_TIMEOUT_MS / 2 - 1);
  const { signal } = connector.last.calls.find(({ name }) => name === 'terminate') ?? {};
  expect(signal?.aborted).toBe(false);
  await clock.advance(1);
  expect(signal?.aborted).toBe(true);
});

test('thousands of DELETEs that throw behind 256 that hang do not exhaust the stack', async () => {
  const { pool, clock, connector } = await poolWith(10_000, {
    gates: { terminate: 'held' },
  });
  for (const session of connector.sessions.slice(256)) session.gates.terminate = 'throws';
  // Idle sessions go newest first: the hanging ones are put there.
  for (const session of connector.sessions.slice(-256)) session.gates.terminate = 'held';
  const closing = watch(pool.close());
  await clock.settle();
  expect(connector.count('terminate')).toBe(256);
  connector.calls.find(({ name }) => name === 'terminate')?.session.let('ok');
  await clock.advance(CLOSE_TIMEOUT_MS);
  expect(closing.got).toMatchObject({ sessions: 10_000, closed: 10_000 });
});

test('two pools close apart: each has its own 256 and its own deadline', async () => {
  const first = await poolWith(300, { gates: { terminate: 'never' } });
  const second = await poolWith(300, { clock: first.clock, gates: { terminate: 'never' } });
  const { clock } = first;
  const closings = [watch(first.pool.close())];
  await clock.advance(1_000);
  closings.push(watch(second.pool.close()));
  await clock.settle();
  expect(first.connector.count('terminate')).toBe(256);
  expect(second.connector.count('terminate')).toBe(256);
  await clock.advance(2 * CLOSE_TIMEOUT_MS);
  expect(closings.map(({ got }) => got.durationMs)).toEqual([2_500, 2_500]);
  expect(clock.pendingCount).toBe(0);
});

test('a peer that settles after its teardown ended is absorbed and counted, once per rung', async () => {
  const { pool, clock, connector } = await poolWith(1, {
    gates: { terminate: 'held', clientClose: 'held', transportClose: 'held' },
  });
  const closing = watch(pool.close());
  await clock.advance(CLOSE_TIMEOUT_MS);
  expect(closing.got).toMatchObject({ abandoned: 1, unterminated: 1 });
  expect(pool.stats().totals.lateSettlements).toBe(0);
  expect(connector.last.let('fails')).toBe(3);
  await clock.settle();
  expect(pool.stats().totals).toMatchObject({ lateSettlements: 3, abandoned: 1, closed: 0 });
});

test('a sever that throws is an outcome, not an error', async () => {
  const { pool, clock, events } = await poolWith(1, { gates: { sever: 'throws' } });
  const closing = watch(pool.close());
  await clock.settle();
  expect(closing.got).toMatchObject({ closed: 1 });
  expect(events).toContainEqual(
    expect.objectContaining({
      type: 'session-closed',
      outcome: expect.objectContaining({ sever: 'failed' }),
    }),
  );
});

test('sessions taken down within 1 % of the time of each other share one deadline; later ones get their own', async () => {
  const { pool, clock, warm } = makePool({ gates: { clientClose: 'never' } });
  for (const name of ['one', 'two', 'three']) await warm(targetOf(name));
  pool.retire({ url: 'https://one.example/mcp' });
  await clock.advance(CLOSE_TIMEOUT_MS / 100 - 1);
  pool.retire({ url: 'https://two.example/mcp' });
  expect(clock.referencedCount).toBe(4);
  await clock.advance(1);
  pool.retire({ url: 'https://three.example/mcp' });
  expect(clock.referencedCount).toBe(7);
  await clock.advance(CLOSE_TIMEOUT_MS);
  expect(pool.stats()).toMatchObject({ sessions: { closing: 0 }, totals: { abandoned: 3 } });
  expect(clock.referencedCount).toBe(0);
});

/** A connection whose every step is recorded, over a crew of its own. */
function lagged(parts: Partial<Connection<unknown>> = {}): {
  readonly clock: ManualClock;
  readonly crew: TeardownCrew;
  readonly calls: string[];
  readonly outcomes: TeardownOutcome[];
  tearDown(): void;
} {
  const clock = new ManualClock();
  const crew = new TeardownCrew(clock, CLOSE_TIMEOUT_MS);
  const calls: string[] = [];
  const outcomes: TeardownOutcome[] = [];
  const step = (name: string): Promise<void> => {
    calls.push(name);
    return Promise.resolve();
  };
  const connection: Connection<unknown> = {
    client: { close: () => step('client') },
    transport: { close: () => step('transport') },
    fence: () => void step('fence'),
    sever: () => void step('sever'),
    ...parts,
  };
  const tearDown = (): void =>
    crew.tearDown(connection, new Loss('server', 'retired'), (outcome) => outcomes.push(outcome));
  return { clock, crew, calls, outcomes, tearDown };
}

const closeThatThrows = (calls: string[], name: string) => ({
  close: (): never => {
    calls.push(name);
    throw new Error('the close throws');
  },
});

test('a teardown whose first turn comes only at the deadline still calls each rung once', async () => {
  const { clock, crew, calls, outcomes, tearDown } = lagged();
  // The slice is used up, so the teardown's first rung waits for the next.
  crew.pacer.run(() => clock.burn(11));
  tearDown();
  expect(calls).toEqual([]);
  clock.burn(CLOSE_TIMEOUT_MS);
  await clock.advance(0);
  expect(calls).toEqual(['fence', 'client', 'transport', 'sever']);
  expect(outcomes).toHaveLength(1);
});

test('peers that were called only at the deadline, and settle at once, are not abandoned', async () => {
  const { clock, crew, outcomes, tearDown } = lagged();
  crew.pacer.run(() => clock.burn(11));
  tearDown();
  clock.burn(CLOSE_TIMEOUT_MS);
  clock.fireDue();
  await clock.settle();
  expect(outcomes).toMatchObject([
    { result: 'closed', clientClose: 'done', transportClose: 'done', sever: 'done' },
  ]);
  expect(crew.lateSettlements).toBe(0);
});

test('a client that was called only when its time was over, and settles at once, is not abandoned', async () => {
  const { clock, crew, outcomes, tearDown } = lagged({
    // Uses up its slice, so that the close waits in the pace behind the end of its time.
    fence: () => clock.burn(11),
  });
  tearDown();
  clock.burn(CLOSE_TIMEOUT_MS * 0.8);
  clock.fireDue();
  await clock.settle();
  expect(outcomes).toMatchObject([{ result: 'closed', clientClose: 'done' }]);
  expect(crew.lateSettlements).toBe(0);
});

test('a peer that was called only at the deadline, and never settles, is abandoned', async () => {
  const { clock, crew, outcomes, tearDown } = lagged({
    client: { close: () => new Promise(() => {}) },
  });
  crew.pacer.run(() => clock.burn(11));
  tearDown();
  clock.burn(CLOSE_TIMEOUT_MS);
  clock.fireDue();
  await clock.settle();
  expect(outcomes).toMatchObject([
    { result: 'abandoned', clientClose: 'timed-out', transportClose: 'done' },
  ]);
  expect(clock.pendingCount).toBe(0);
});

for (const part of ['client', 'transport'] as const) {
  test(`a ${part} close that throws when begun at its deadline ends the teardown once`, async () => {
    const thrown: string[] = [];
    const { clock, outcomes, tearDown } = lagged({
      [part]: closeThatThrows(thrown, part),
      // The fence uses up its slice, so that the close waits in the pace when the time is over.
      fence: () => clock.burn(11),
    });
    tearDown();
    clock.burn(CLOSE_TIMEOUT_MS);
    clock.fireDue();
    await clock.advance(CLOSE_TIMEOUT_MS);
    expect(thrown).toEqual([part]);
    expect(outcomes).toHaveLength(1);
    const { clientClose, transportClose } = outcomes[0] as TeardownOutcome;
    expect(part === 'client' ? clientClose : transportClose).toBe('failed');
  });
}

test('a teardown that is late at every mark, with closes that throw, ends once', async () => {
  const thrown: string[] = [];
  const { clock, crew, outcomes, tearDown } = lagged({
    client: closeThatThrows(thrown, 'client'),
    transport: closeThatThrows(thrown, 'transport'),
  });
  crew.pacer.run(() => clock.burn(11));
  tearDown();
  clock.burn(CLOSE_TIMEOUT_MS);
  clock.fireDue();
  await clock.settle();
  expect(thrown).toEqual(['client', 'transport']);
  expect(outcomes).toHaveLength(1);
  expect(outcomes[0]).toMatchObject({ clientClose: 'failed', transportClose: 'failed' });
});

function countOf(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
