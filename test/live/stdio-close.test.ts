// Servers over stdio that do not want to end, as real processes: each is closed in time, with all
// that it started, and the operating system says so (promises P1, P2; rows 8a to 8c of the hazards).

import { readdirSync } from 'node:fs';
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SessionPool, type SessionPoolOptions } from 'mcp-session-pool';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { pause, until } from '../support/raw-server.ts';
import { useStdioLab } from '../support/stdio-lab.ts';

const CLOSE_TIMEOUT_MS = 2_000;
/** The promise is `closeTimeoutMs` + 250 ms, and the lag of the event loop of a busy machine. */
const BOUND_MS = CLOSE_TIMEOUT_MS + 250 + 250;

const lab = useStdioLab();
const closing = closeAfterEach();

const newPool = (options: SessionPoolOptions = {}): SessionPool =>
  closing(new SessionPool({ closeTimeoutMs: CLOSE_TIMEOUT_MS, ...options }));

/** Calls `tool`, and waits for a moment whether or not it answers. */
async function callSoon(client: Client, tool: string): Promise<void> {
  const called = client.callTool({ name: tool }).catch(() => {});
  await Promise.race([called, pause(300)]);
  await pause(50);
}

interface Misbehaviour {
  readonly name: string;
  readonly habits?: readonly string[];
  /** Called before the close; its answer is not waited for. */
  readonly tool?: string;
  /** Processes that are there before the close. Default: 1. */
  readonly processes?: number;
}

const MISBEHAVIOURS: readonly Misbehaviour[] = [
  { name: 'ignores the end of its input', habits: ['ignore-eof'] },
  { name: 'ignores SIGTERM too', habits: ['ignore-eof', 'ignore-sigterm'] },
  { name: 'is in the middle of a call', tool: 'hang' },
  { name: 'stops reading its input', habits: ['ignore-eof'], tool: 'stop-reading' },
  { name: 'is stopped (SIGSTOP)', tool: 'stop-self' },
  { name: 'is stopped and ignores SIGTERM', habits: ['ignore-sigterm'], tool: 'stop-self' },
  { name: 'floods its stdout with messages', habits: ['ignore-eof'], tool: 'flood-notes' },
  { name: 'floods its stderr', habits: ['ignore-eof', 'ignore-sigterm'], tool: 'flood-stderr' },
  { name: 'leaves a child with its pipes', tool: 'grandchild', processes: 2 },
  { name: 'leaves one that ignores SIGTERM', tool: 'stubborn-grandchild', processes: 2 },
];

describe.each(MISBEHAVIOURS)('a server that $name', ({ habits = [], tool, processes = 1 }) => {
  test('is gone when the pool has closed, within `closeTimeoutMs`', async () => {
    const pool = newPool();
    const lease = await pool.acquire(lab.target(...habits));
    if (tool !== undefined) await callSoon(lease.client, tool);
    await until(() => lab.processes().length === processes);
    const { closed, abandoned, durationMs } = await pool.close();
    expect(lab.processes()).toEqual([]);
    expect({ closed, abandoned }).toEqual({ closed: 1, abandoned: 0 });
    expect(durationMs).toBeLessThan(BOUND_MS);
  });
});

test('a server that ends with its input is gone before any signal is due', async () => {
  const pool = newPool({ closeTimeoutMs: 5_000 });
  const lease = await pool.acquire(lab.target('slow-end'));
  await lease.client.ping();
  const { closed, durationMs } = await pool.close();
  expect({ closed, left: lab.processes() }).toEqual({ closed: 1, left: [] });
  // SIGTERM would come after a fifth of the time.
  expect(durationMs).toBeLessThan(1_000);
});

test('by default a server that ignores all but SIGKILL is gone within 5 s', async () => {
  const pool = closing(new SessionPool());
  await pool.acquire(lab.target('ignore-eof', 'ignore-sigterm'));
  const { closed, durationMs } = await pool.close();
  expect({ closed, left: lab.processes() }).toEqual({ closed: 1, left: [] });
  expect(durationMs).toBeLessThan(5_000 + 250);
});

test('a message of 2 MB that nobody reads holds up no close', async () => {
  const pool = newPool();
  const lease = await pool.acquire(lab.target('ignore-eof'));
  await callSoon(lease.client, 'stop-reading');
  const large = lease.client.callTool({ name: 'echo', arguments: { text: 'z'.repeat(2e6) } });
  const small = lease.client.callTool({ name: 'echo', arguments: { text: 'z' } });
  const ends = Promise.allSettled([large, small]);
  await pause(50);
  const { closed, durationMs } = await pool.close();
  expect({ closed, left: lab.processes() }).toEqual({ closed: 1, left: [] });
  expect(durationMs).toBeLessThan(BOUND_MS);
  for (const end of await ends) {
    expect(end).toMatchObject({ status: 'rejected', reason: { code: 'SESSION_LOST' } });
  }
});

test('who left the group of its server is left alone, and holds up nothing', async () => {
  const openFiles = (): number => readdirSync('/proc/self/fd').length;
  const before = openFiles();
  const pool = newPool();
  const lease = await pool.acquire(lab.target());
  await callSoon(lease.client, 'grandchild-apart');
  await until(() => lab.processes().length === 2);
  const { closed, durationMs } = await pool.close();
  expect({ closed, left: lab.processes().length }).toEqual({ closed: 1, left: 1 });
  expect(durationMs).toBeLessThan(BOUND_MS);
  // It has the other ends of the pipes; ours are closed.
  await until(() => openFiles() <= before);
});

test('50 servers at once, of all kinds, are gone within `closeTimeoutMs`', async () => {
  // With what the pool has by default: starting and ending so many takes all there is of a machine.
  const closeTimeoutMs = 5_000;
  const waits = { connectTimeoutMs: 60_000, acquireTimeoutMs: 60_000 };
  const pool = newPool({ closeTimeoutMs, ...waits });
  const kinds = [[], ['ignore-eof'], ['ignore-eof', 'ignore-sigterm'], ['grandchild-at-start']];
  const targets = Array.from({ length: 50 }, (_, n) => ({
    ...lab.target(...kinds[n % kinds.length]!),
    identity: `user ${n}`,
  }));
  await Promise.all(targets.map((target) => pool.acquire(target)));
  await until(() => lab.processes().length === 50 + 12, 30_000);
  const { closed, abandoned, durationMs } = await pool.close();
  expect(lab.processes()).toEqual([]);
  expect({ closed, abandoned }).toEqual({ closed: 50, abandoned: 0 });
  expect(durationMs).toBeLessThan(closeTimeoutMs + 250 + 250);
}, 60_000);
