// A server that dies at every point of a tool call's exchange: no call runs twice, and what is said
// of its execution is true. Executions are counted on the server.

import { SessionPool } from 'mcp-session-pool';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { CRASH_POINTS, type CrashPoint, CrashServer } from '../support/crash-server.ts';
import { textOf } from '../support/http-sessions.ts';

const closing = closeAfterEach();

/** What a call in the crash says of itself. With `use` it may run again, where it did not before. */
const EXPECTED: Readonly<Record<CrashPoint, 'not-executed' | 'unknown' | 'done'>> = {
  'before-connect': 'not-executed',
  'after-accept': 'unknown',
  'mid-request': 'unknown',
  'before-execution': 'unknown',
  'after-execution': 'unknown',
  'mid-headers': 'unknown',
  'after-headers': 'unknown',
  'mid-body': 'unknown',
  'mid-event': 'unknown',
  'after-body': 'done',
};

async function scene(leasesPerSession: number) {
  const server = new CrashServer();
  await server.start();
  closing(server);
  const pool = closing(new SessionPool({ leasesPerSession }));
  const target = { url: server.url, identity: 'ada' };
  // Long, so that it takes more than one packet.
  const padding = 'x'.repeat(300_000);
  const call = async (id: string): Promise<string> => {
    try {
      const tool = { name: 'run', arguments: { id, padding } };
      return textOf(await pool.use(target, (client) => client.callTool(tool)));
    } catch (error) {
      const { execution, code } = error as { execution?: string; code?: unknown };
      return execution ?? String(code);
    }
  };
  return { server, pool, target, call };
}

describe.each([1, 4])('with %i leases to a session, a server that dies', (leasesPerSession) => {
  test.each(CRASH_POINTS)('%s: the call says truly what became of it', async (point) => {
    const { server, call } = await scene(leasesPerSession);
    expect(await call('before')).toBe('before');
    await server.crashAt(point);
    const outcome = await call('during');
    const crashes = server.crashes;
    await server.restart();
    expect(crashes).toBe(1);
    const times = server.executions.get('during') ?? 0;
    if (point === 'before-connect') {
      // The second run found nobody either.
      expect([outcome, times]).toEqual(['OPEN_FAILED', 0]);
    } else if (EXPECTED[point] === 'done') {
      expect([outcome, times]).toEqual(['during', 1]);
    } else {
      expect(outcome).toBe(EXPECTED[point]);
      expect(times).toBeLessThanOrEqual(1);
    }
    // What comes after works at once, in a session of the new life.
    expect(await call('after')).toBe('after');
    expect(server.executions.get('after')).toBe(1);
    expect(server.initializes).toBe(2);
  });

  test.each(CRASH_POINTS)('%s: a lease held by hand is told as truly', async (point) => {
    const { server, pool, target } = await scene(leasesPerSession);
    const lease = await pool.acquire(target);
    await lease.client.callTool({ name: 'run', arguments: { id: 'before' } });
    await server.crashAt(point);
    const tool = { name: 'run', arguments: { id: 'during', padding: 'x'.repeat(300_000) } };
    const outcome = await lease.client.callTool(tool).then(
      () => 'done',
      (error: { code: string; execution: string }) => {
        expect(error.code).toBe('SESSION_LOST');
        return error.execution;
      },
    );
    await server.restart();
    expect(outcome).toBe(EXPECTED[point]);
    const times = server.executions.get('during') ?? 0;
    if (outcome === 'not-executed') expect(times).toBe(0);
    expect(times).toBeLessThanOrEqual(1);
    lease.release();
  });
});

test('many calls at once over sessions that die at every point in turn: none runs twice', {
  timeout: 60_000,
}, async () => {
  const { server, call } = await scene(4);
  const outcomes = new Map<string, string>();
  const inPlace = CRASH_POINTS.filter((point) => point !== 'before-connect');
  for (const [round, point] of [...inPlace, ...inPlace].entries()) {
    await server.crashAt(point);
    const ids = Array.from({ length: 12 }, (_, n) => `${round}-${n}`);
    await Promise.all(ids.map(async (id) => void outcomes.set(id, await call(id))));
    await server.restart();
  }
  for (const [id, outcome] of outcomes) {
    const times = server.executions.get(id) ?? 0;
    if (outcome === id) expect([id, times]).toEqual([id, 1]);
    else if (outcome === 'unknown') expect([id, times <= 1]).toEqual([id, true]);
    else expect([id, outcome, times]).toEqual([id, outcome, 0]);
  }
  expect(new Set(outcomes.values()).has('unknown')).toBe(true);
});
