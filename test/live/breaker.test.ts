// A server that is down under load: once the circuit is open, one connection is tried in each window;
// when the server is back, the next trial finds it; and another server never notices.
// `OUTAGE_MS=10000 npx vitest run … test/live/breaker.test.ts` takes longer.

import { type PoolEvent, SessionPool } from 'mcp-session-pool';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { answerJson, pause, speakMcp, startRawServer, until } from '../support/raw-server.ts';
import { startTcpFront } from '../support/tcp-front.ts';
import { startToolServer } from '../support/tool-server.ts';

const closing = closeAfterEach();
/** From when no session is left. */
const OUTAGE_MS = Number(process.env['OUTAGE_MS'] ?? 2_000);
const RESET_MS = Number(process.env['RESET_MS'] ?? 300);
const CALLS_PER_SECOND = 200;
const USERS = 20;
/** What a very busy machine may add to a wait. */
const LAG_MS = 5_000;

interface Call {
  readonly isOfSick: boolean;
  readonly startedAt: number;
  endedAt: number;
  /** `undefined`: it succeeded. */
  error?: { readonly code?: unknown; readonly retryAfterMs?: number } | undefined;
}

type TimedEvent = PoolEvent & { readonly at: number };

test(`a server that is down under ${CALLS_PER_SECOND} callers a second is tried once in each window`, {
  timeout: OUTAGE_MS + 30_000,
}, async () => {
  const sick = closing(await startToolServer());
  const front = closing(await startTcpFront(Number(new URL(sick.url).port)));
  const answer = speakMcp({ 'tools/call': (each) => answerJson(each, { content: [] }) });
  const healthy = closing(await startRawServer(answer));
  const events: TimedEvent[] = [];
  const pool = closing(
    new SessionPool({
      breaker: { failureThreshold: 5, resetAfterMs: RESET_MS },
      onEvent: (event) => events.push({ ...event, at: performance.now() }),
    }),
  );
  const sickUrl = `http://127.0.0.1:${front.port}/mcp`;
  const calls: Call[] = [];
  const call = async (isOfSick: boolean, id: string): Promise<void> => {
    const made: Call = { isOfSick, startedAt: performance.now(), endedAt: 0 };
    calls.push(made);
    const identity = `user ${calls.length % USERS}`;
    const target = { url: isOfSick ? sickUrl : healthy.url, identity };
    try {
      const result = await pool.use(target, (client) =>
        client.callTool({ name: 'run', arguments: { id } }),
      );
      if (isOfSick) expect(textOf(result)).toBe(id);
    } catch (error) {
      made.error = error as NonNullable<Call['error']>;
    }
    made.endedAt = performance.now();
  };
  let isOver = false;
  const startedAt = performance.now();
  const load = (async () => {
    for (let count = 0; !isOver; ) {
      // As many as are due by now: a timer that lags must not thin out the load.
      const due = ((performance.now() - startedAt) / 1_000) * CALLS_PER_SECOND;
      for (; count < due; count += 1) void call(count % 10 !== 0, `${count}`);
      await pause(5);
    }
  })();
  const firstSuccess = (from: number): Call | undefined =>
    calls.find((each) => {
      const { isOfSick, endedAt, error } = each;
      return isOfSick && each.startedAt >= from && endedAt > 0 && error === undefined;
    });

  await until(() => firstSuccess(startedAt) !== undefined);
  await pause(300);
  await sick.kill();
  const downAt = performance.now();
  // Sessions that were open are lent until they are lost: their calls try to connect as well.
  await until(() => {
    const { perKey = [], circuits } = pool.stats({ perKey: true });
    const sessionsOfSick = perKey
      .filter(({ server }) => sickUrl.startsWith(server))
      .flatMap(({ sessions }) => Object.values(sessions));
    return circuits.open === 1 && sessionsOfSick.every((count) => count === 0);
  });
  const drainedAt = performance.now();
  await pause(OUTAGE_MS);
  await sick.restart();
  const backAt = performance.now();
  await until(() => firstSuccess(backAt) !== undefined);
  const recoveredMs = performance.now() - backAt;
  await pause(300);
  isOver = true;
  await load;
  await until(() => calls.every(({ endedAt }) => endedAt > 0));

  const of = <T extends PoolEvent['type']>(type: T) =>
    events.filter((event) => event.type === type && event.at > downAt) as (TimedEvent & {
      type: T;
    })[];
  const openings = of('circuit-opened');
  const trials = of('circuit-half-opened').filter(({ at }) => at > drainedAt);
  const attempts = front.attempts.filter((at) => at > drainedAt && at < backAt);
  const failedFast = calls.filter(({ error }) => error?.code === 'CIRCUIT_OPEN');
  const waits = of('acquire-rejected').filter(
    ({ at, reason }) => at > drainedAt && reason === 'circuit-open',
  );
  console.info({
    calls: calls.length,
    failedFast: failedFast.length,
    openedAfterMs: Math.round((openings[0]?.at ?? 0) - downAt),
    opensUntilThen: of('session-open-failed').filter(({ at }) => at <= drainedAt).length,
    outageMs: Math.round(backAt - downAt),
    trials: trials.length,
    attemptsInOutage: attempts.length,
    recoveredMs: Math.round(recoveredMs),
  });
  // One connection for each window, and no window shorter than it should be.
  expect(attempts.length).toBeGreaterThan(1);
  expect(attempts.length).toBeLessThanOrEqual(trials.length);
  expect(trials.length).toBeLessThanOrEqual(2 + (OUTAGE_MS + recoveredMs) / (0.9 * RESET_MS));
  // Within one window: the first trial that began after the server was back found it.
  const failedTrials = of('session-open-failed').filter(
    ({ at, durationMs }) => at - durationMs > backAt,
  );
  expect(failedTrials).toEqual([]);
  for (const { retryAfterMs } of openings) {
    expect(retryAfterMs).toBeLessThanOrEqual(1.1 * RESET_MS);
  }
  expect(recoveredMs).toBeLessThan(1.1 * RESET_MS + LAG_MS);
  // Who was refused was refused at once.
  expect(failedFast.length).toBeGreaterThan((CALLS_PER_SECOND * OUTAGE_MS) / 1_000 / 2);
  for (const { error } of failedFast) expect(error?.retryAfterMs).toBeGreaterThan(0);
  expect(waits.length).toBeGreaterThan(10);
  // All but a few, whom a busy machine kept in the middle of their turn.
  const slow = waits.filter(({ waitedMs }) => waitedMs > 50);
  expect(slow.length).toBeLessThan(waits.length / 10);
  expect(calls.filter(({ isOfSick, error }) => !isOfSick && error !== undefined)).toEqual([]);
  expect(pool.stats()).toMatchObject({ waiting: 0, circuits: { open: 0, halfOpen: 0 } });
  for (const [id, count] of sick.executions()) expect([id, count]).toEqual([id, 1]);
});
