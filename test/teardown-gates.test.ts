// Design section 4, points 3 and 7: a close with a deadline, whatever the peer does. Every
// combination of how a peer may open, be fenced, terminate and close, on a manual clock. The model
// below says to the millisecond when each rung begins and how it ends; a failure prints the gates.

import type { FakeSession, Gate, Gates, PeerCall, SyncGate } from 'mcp-session-pool/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CloseReport } from '../src/closing.ts';
import type { PoolEvent, RungResult, TeardownOutcome } from '../src/observe/events.ts';
import { makePool, type PoolFixture, TARGET, watch } from './support/pool-fixture.ts';

const CLOSE_TIMEOUT_MS = 5_000;
/** For connectors that never settle: `close` waits so much longer than for sessions. */
const GRACE_MS = 10;
/** When a pool with an open that is under way is closed, from the start of that open. */
const CLOSED_AFTER_MS = 1_000;
const SLOW_OPEN_MS = 3_000;

type Answer = 'ok' | 'fails' | 'throws' | 'slow' | 'never';
const ANSWERS: readonly Answer[] = ['ok', 'fails', 'throws', 'slow', 'never'];

interface Combination {
  readonly open: Answer;
  readonly fence: Answer;
  readonly terminate: Answer;
  readonly clientClose: Answer;
  readonly transportClose: Answer;
  readonly slowMs: number;
}

/** A fence is synchronous: it may throw whatever, take time, or not be there. */
const FENCES: Record<Answer, SyncGate> = {
  ok: 'ok',
  fails: 'throws-nothing',
  throws: 'throws',
  slow: 'slow',
  never: 'absent',
};

const gatesOf = ({ fence, slowMs, open: _, ...rest }: Combination): Partial<Gates> => ({
  ...rest,
  fence: FENCES[fence],
  slowMs,
});

function* combinations(open: Answer, slowMs: number): Generator<Combination> {
  for (const fence of ANSWERS) {
    for (const terminate of ANSWERS) {
      for (const clientClose of ANSWERS) {
        for (const transportClose of ANSWERS) {
          yield { open, fence, terminate, clientClose, transportClose, slowMs };
        }
      }
    }
  }
}

const rejections: unknown[] = [];
const onRejection = (reason: unknown): void => {
  rejections.push(reason);
};
beforeAll(() => {
  process.on('unhandledRejection', onRejection);
});
afterAll(() => {
  process.off('unhandledRejection', onRejection);
});

interface Rung {
  readonly at: number;
  readonly result: RungResult;
}
interface Course {
  readonly terminate: Rung;
  readonly clientClose: Rung;
  readonly transportClose: Rung;
  readonly endsAt: number;
  readonly lateSettlements: number;
}

/** What has to happen, in ms from the first rung. */
function courseOf(gates: Combination, timeoutMs = CLOSE_TIMEOUT_MS): Course {
  let at = gates.fence === 'slow' ? 20 : 0;
  let lateSettlements = 0;
  const rung = (answer: Answer, shareEndsAt: number): Rung => {
    const startedAt = at;
    if (answer === 'ok') return { at, result: 'done' };
    if (answer === 'fails' || answer === 'throws') return { at, result: 'failed' };
    const isInTime = answer === 'slow' && at + gates.slowMs < shareEndsAt;
    if (answer === 'slow' && !isInTime) lateSettlements += 1;
    at = isInTime ? at + gates.slowMs : shareEndsAt;
    return { at: startedAt, result: isInTime ? 'done' : 'timed-out' };
  };
  const terminate = rung(gates.terminate, timeoutMs / 2);
  const clientClose = rung(gates.clientClose, timeoutMs * 0.75);
  const transportClose = rung(gates.transportClose, timeoutMs);
  return { terminate, clientClose, transportClose, endsAt: at, lateSettlements };
}

const RUNGS: readonly PeerCall[] = ['fence', 'terminate', 'clientClose', 'transportClose', 'sever'];

/** Each peer function once, in order, and each no earlier than the rung before it ended. */
function expectRungs(
  session: FakeSession,
  gates: Combination,
  startedAt: number,
  timeoutMs?: number,
): void {
  const course = courseOf(gates, timeoutMs);
  const called = session.calls.filter(({ name }) => RUNGS.includes(name));
  const names = gates.fence === 'never' ? RUNGS.slice(1) : RUNGS;
  expect(called.map(({ name }) => name)).toEqual(names);
  const times = Object.fromEntries(called.map(({ name, at }) => [name, at - startedAt]));
  expect(times).toEqual({
    ...(gates.fence === 'never' ? {} : { fence: 0 }),
    terminate: course.terminate.at,
    clientClose: course.clientClose.at,
    transportClose: course.transportClose.at,
    sever: course.endsAt,
  });
}

function expectOutcome(
  events: readonly PoolEvent[],
  gates: Combination,
  timeoutMs?: number,
): TeardownOutcome {
  const course = courseOf(gates, timeoutMs);
  const ends = events.filter(
    ({ type }) => type === 'session-closed' || type === 'session-abandoned',
  );
  expect(ends).toHaveLength(1);
  const { outcome, type } = ends[0] as Extract<PoolEvent, { outcome: TeardownOutcome }>;
  const isAbandoned = [course.clientClose, course.transportClose].some(
    ({ result }) => result === 'timed-out',
  );
  const fences: Record<Answer, RungResult> = {
    ok: 'done',
    fails: 'failed',
    throws: 'failed',
    slow: 'done',
    never: 'absent',
  };
  expect(outcome).toEqual({
    result: isAbandoned ? 'abandoned' : 'closed',
    fence: fences[gates.fence],
    terminate: course.terminate.result,
    clientClose: course.clientClose.result,
    transportClose: course.transportClose.result,
    sever: 'done',
    durationMs: course.endsAt,
  });
  expect(type).toBe(isAbandoned ? 'session-abandoned' : 'session-closed');
  return outcome;
}

function expectReport(report: CloseReport, outcomes: readonly TeardownOutcome[]): void {
  const abandoned = outcomes.filter(({ result }) => result === 'abandoned').length;
  const unterminated = outcomes.filter(({ terminate }) => terminate !== 'done').length;
  expect(report).toMatchObject({
    sessions: outcomes.length,
    closed: outcomes.length - abandoned,
    abandoned,
    unterminated,
  });
  expect(report.sessions).toBe(report.closed + report.abandoned);
}

async function expectNothingLeft({ pool, clock }: PoolFixture): Promise<void> {
  await clock.settle();
  expect(clock.pendingCount).toBe(0);
  expect(clock.signalListeners).toBe(0);
  expect(pool.stats()).toMatchObject({
    sessions: { opening: 0, probing: 0, idle: 0, leased: 0, closing: 0 },
    waiting: 0,
  });
  expect(rejections).toEqual([]);
}

/** The session is open and idle when the pool closes. */
async function closeOpened(gates: Combination): Promise<void> {
  const fixture = makePool({ gates: gatesOf(gates), closeTimeoutMs: CLOSE_TIMEOUT_MS });
  const { pool, clock, connector, events } = fixture;
  await fixture.warm();
  const startedAt = clock.now();
  const closing = watch(pool.close());
  await clock.settle();
  const { endsAt, lateSettlements } = courseOf(gates);
  // The slot is held until the session is gone, to the millisecond.
  if (clock.now() < startedAt + endsAt) {
    await clock.advance(startedAt + endsAt - 1 - clock.now());
    expect(pool.stats().sessions.closing).toBe(1);
    expect(closing.state).toBe('pending');
    await clock.advance(1);
  }
  expect(closing.got.durationMs).toBe(endsAt);
  expectRungs(connector.last, gates, startedAt);
  expectReport(closing.got, [expectOutcome(events, gates)]);
  await expectNothingLeft(fixture);
  await clock.advance(2 * CLOSE_TIMEOUT_MS);
  expect(pool.stats().totals.lateSettlements).toBe(lateSettlements);
  expectRungs(connector.last, gates, startedAt);
  await expectNothingLeft(fixture);
}

/** The open fails, so there is nothing to tear down. */
async function closeUnopened(gates: Combination): Promise<void> {
  const fixture = makePool({ gates: { ...gatesOf(gates), open: gates.open as Gate } });
  const { pool, clock, connector } = fixture;
  const acquiring = watch(pool.acquire(TARGET));
  await clock.settle();
  expect(acquiring.code).toBe('OPEN_FAILED');
  const closing = watch(pool.close());
  await clock.settle();
  expect(closing.got).toMatchObject({ sessions: 0, durationMs: 0 });
  expect(connector.last.calls.map(({ name }) => name)).toEqual(['open']);
  await expectNothingLeft(fixture);
}

/** The pool closes while the connector is at work; what arrives is taken down all the same. */
async function closeOpening(gates: Combination): Promise<void> {
  const open: Partial<Gates> = { open: gates.open as Gate, slowMs: SLOW_OPEN_MS };
  const fixture = makePool({
    gates: { ...gatesOf(gates), ...open },
    closeTimeoutMs: CLOSE_TIMEOUT_MS,
  });
  const { pool, clock, connector, events } = fixture;
  const acquiring = watch(pool.acquire(TARGET));
  await clock.advance(CLOSED_AFTER_MS);
  // From here on the rungs take what the combination says.
  connector.last.gates.slowMs = gates.slowMs;
  const startedAt = clock.now();
  const closing = watch(pool.close());
  await clock.settle();
  expect(acquiring.code).toBe('POOL_CLOSED');
  expect(connector.last.calls[0]?.signal?.aborted).toBe(true);
  const arrivesAfter = SLOW_OPEN_MS - CLOSED_AFTER_MS;
  // What comes late has what is left of the time.
  const timeoutMs = CLOSE_TIMEOUT_MS - arrivesAfter;
  const course = courseOf(gates, timeoutMs);
  const endsAt =
    gates.open === 'never' ? CLOSE_TIMEOUT_MS + GRACE_MS : arrivesAfter + course.endsAt;
  await clock.advance(endsAt);
  expect(closing.got.durationMs).toBe(endsAt);
  await clock.advance(4 * CLOSE_TIMEOUT_MS);
  if (gates.open === 'slow') {
    expectRungs(connector.last, gates, startedAt + arrivesAfter, timeoutMs);
    expectReport(closing.got, [expectOutcome(events, gates, timeoutMs)]);
  } else {
    expectReport(closing.got, []);
    expect(connector.last.calls.map(({ name }) => name)).toEqual(['open']);
  }
  await expectNothingLeft(fixture);
}

const COURSES: Record<Answer, (gates: Combination) => Promise<void>> = {
  ok: closeOpened,
  fails: closeUnopened,
  throws: closeUnopened,
  slow: closeOpening,
  never: closeOpening,
};

async function runAll(all: Iterable<Combination>): Promise<number> {
  let count = 0;
  for (const gates of all) {
    count += 1;
    try {
      await COURSES[gates.open](gates);
    } catch (error) {
      throw new Error(`gates: ${JSON.stringify(gates)}\n${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  return count;
}

for (const open of ANSWERS) {
  test(`close keeps its deadline and calls each rung once: open ${open}, all other gates`, async () => {
    expect(await runAll(combinations(open, 1_000))).toBe(625);
  });
}

test('a rung that takes longer than its share is cut off there, and its late end is counted', async () => {
  expect(await runAll(combinations('ok', 3_100))).toBe(625);
});

test('a teardown of rungs that all take long is cut off at each mark', async () => {
  expect(await runAll(combinations('ok', 2_400))).toBe(625);
});
