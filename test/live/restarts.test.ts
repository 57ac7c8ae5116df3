// A server that is killed and comes back, again and again, under users that do not stop: no call
// runs twice, failures say truly whether it ran, and all is well the moment the server is back.

import { type PoolEvent, SessionPool } from 'mcp-session-pool';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { pause } from '../support/raw-server.ts';
import { startToolServer } from '../support/tool-server.ts';

const closing = closeAfterEach();
const RESTARTS = Number(process.env['RESTARTS'] ?? 20);
const USERS = 8;
const OUTAGE_MS = 100;

interface Call {
  readonly id: string;
  readonly startedAt: number;
  endedAt: number;
  /** What it rejected with. */
  error?: { readonly code?: unknown; readonly execution?: unknown } | undefined;
}

/** No call of these was sent: there was no session to send it on. */
const UNSENT = new Set(['OPEN_FAILED', 'ACQUIRE_TIMEOUT', 'CIRCUIT_OPEN']);

test.each([1, 4])(
  `${RESTARTS} times killed and restarted under ${USERS} users, %i to a session`,
  { timeout: 180_000 },
  async (leasesPerSession) => {
    const restarts = Math.ceil(RESTARTS / (leasesPerSession === 1 ? 1 : 4));
    const server = closing(await startToolServer());
    // Opens that failed although somebody listened: a kill cut them short.
    let cutOpens = 0;
    const onEvent = (event: PoolEvent): void => {
      if (event.type === 'session-open-failed' && event.failure.kind !== 'refused') cutOpens += 1;
    };
    const pool = closing(new SessionPool({ leasesPerSession, onEvent }));
    const target = { url: server.url, identity: 'ada' };
    const calls: Call[] = [];
    const outages: { readonly from: number; to: number }[] = [];
    let isOver = false;
    const call = async (id: string): Promise<void> => {
      const made: Call = { id, startedAt: performance.now(), endedAt: 0 };
      calls.push(made);
      try {
        const result = await pool.use(target, (client) =>
          client.callTool({ name: 'run', arguments: { id } }),
        );
        expect(textOf(result)).toBe(id);
      } catch (error) {
        made.error = error as NonNullable<Call['error']>;
      }
      made.endedAt = performance.now();
    };
    const user = async (name: number): Promise<void> => {
      for (let count = 0; !isOver; count += 1) {
        await call(`${name}-${count}`);
        await pause(Math.random() * 10);
      }
    };
    const users = Array.from({ length: USERS }, (_, name) => user(name));
    for (let round = 0; round < restarts; round += 1) {
      await pause(150 + Math.random() * 100);
      const outage = { from: performance.now(), to: Number.POSITIVE_INFINITY };
      outages.push(outage);
      await server.kill();
      await pause(OUTAGE_MS);
      await server.restart();
      outage.to = performance.now();
      const first = `first-${round}`;
      await call(first);
      expect(calls.find(({ id }) => id === first)?.error).toBeUndefined();
    }
    isOver = true;
    await Promise.all(users);

    const executions = server.executions();
    const twice = [...executions].filter(([, times]) => times > 1);
    const failed = calls.filter(({ error }) => error !== undefined);
    const unexecuted = failed.filter(
      ({ error }) => error?.execution === 'not-executed' || UNSENT.has(String(error?.code)),
    );
    const untold = failed.filter(
      (each) => !unexecuted.includes(each) && each.error?.execution !== 'unknown',
    );
    const liars = unexecuted.filter(({ id }) => executions.has(id));
    const outside = failed.filter(
      ({ startedAt, endedAt }) =>
        !outages.some(({ from, to }) => startedAt <= to && endedAt >= from),
    );
    const { totals } = pool.stats();
    const ended = totals.lost + totals.worn + totals.probeFailed;
    const figures = {
      calls: calls.length,
      failed: failed.length,
      unexecuted: unexecuted.length,
      initializes: server.initializes(),
      opened: totals.opened,
      openFailed: totals.openFailed,
      cutOpens,
      ended,
    };
    console.info(`${restarts} restarts, ${leasesPerSession} to a session`, figures);
    expect(twice).toEqual([]);
    expect(untold).toEqual([]);
    expect(liars).toEqual([]);
    expect(outside).toEqual([]);
    for (const { id, error } of calls)
      if (!error) expect([id, executions.get(id)]).toEqual([id, 1]);
    // The first ones (the call of this test among them), and at most one for each session that was
    // lost; an open that a kill cut short may have been answered already.
    const needed = Math.ceil((USERS + 1) / leasesPerSession);
    expect(totals.opened).toBeLessThanOrEqual(needed + ended);
    expect(server.initializes()).toBeLessThanOrEqual(totals.opened + cutOpens);
    expect(cutOpens).toBeLessThanOrEqual(restarts * 4);
    expect(failed.length).toBeGreaterThan(0);
  },
);
