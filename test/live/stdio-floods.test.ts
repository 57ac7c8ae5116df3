// Servers over stdio that write too much, or what they should not: what they may, what it costs
// them, and who hears of it (promise P3; rows 10c and 10d of the hazards).

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import {
  type Logger,
  type PoolEvent,
  SessionPool,
  type SessionPoolOptions,
} from 'mcp-session-pool';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { pause, until } from '../support/raw-server.ts';
import { useStdioLab } from '../support/stdio-lab.ts';

const lab = useStdioLab();
const closing = closeAfterEach();

const newPool = (options: SessionPoolOptions = {}): SessionPool =>
  closing(new SessionPool({ closeTimeoutMs: 1_000, ...options }));

const call = (client: Client, name: string, input: object = {}): Promise<unknown> =>
  client.callTool({ name, arguments: { ...input } });

/** A logger that keeps its lines. */
function newLogger(): { logger: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const at = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, message, ...fields });
  return {
    logger: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') },
    lines,
  };
}

test('a line that is no message is reported, and changes nothing', async () => {
  const events: PoolEvent[] = [];
  const pool = newPool({ onEvent: (event) => void events.push(event) });
  const lease = await pool.acquire(lab.target());
  await call(lease.client, 'nonsense-line', { text: 'Server is starting…' });
  await call(lease.client, 'nonsense-line', { text: '{"jsonrpc":"2.0","result":{}}' });
  await call(lease.client, 'nonsense-line', { text: '' });
  await lease.client.ping();
  expect(pool.stats().totals.troubles).toBe(2);
  await until(() => events.some((event) => event.type === 'session-trouble'));
  expect(JSON.stringify(events)).not.toContain('starting');
});

test.each([
  ['lines that are no messages', 'flood-nonsense', 'FLOODED'],
  ['a line that never ends', 'endless-line', 'MESSAGE_TOO_LARGE'],
])('%s are more than is put up with: the session is lost', async (_, tool, code) => {
  const pool = newPool({ maxMessageBytes: 1024 * 1024 });
  const lease = await pool.acquire(lab.target());
  const before = process.memoryUsage().arrayBuffers;
  call(lease.client, tool).catch(() => {});
  const error = await call(lease.client, 'hang').catch((reason) => reason);
  expect(error).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown', cause: { code } });
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
  await until(() => lab.processes().length === 0);
});

test.each(['flood-notes', 'flood-answers'])(
  'an idle server that floods is closed: %s',
  async (tool) => {
    const pool = newPool();
    const lease = await pool.acquire(lab.target());
    await Promise.race([call(lease.client, tool).catch(() => {}), pause(100)]);
    lease.release();
    await until(() => lab.processes().length === 0);
    await until(() => pool.stats().totals.closed === 1);
  },
);

test('a flood on a leased session leaves the event loop to others too', async () => {
  const pool = newPool();
  const lease = await pool.acquire(lab.target());
  await Promise.race([call(lease.client, 'flood-notes'), pause(100)]);
  let turns = 0;
  const ticker = setInterval(() => {
    turns += 1;
  }, 10);
  // A loop that had to read all that comes would turn every second or so.
  await until(() => turns > 20).finally(() => clearInterval(ticker));
  expect(lease.signal.aborted).toBe(false);
});

test('what a server writes to its stderr is logged line by line, and is no event', async () => {
  const { logger, lines } = newLogger();
  const events: PoolEvent[] = [];
  const pool = newPool({ logger, onEvent: (event) => void events.push(event) });
  const lease = await pool.acquire(lab.target());
  await call(lease.client, 'stderr-lines', { text: 'one\r\n\ntwo \u001b[31mred\nth' });
  await call(lease.client, 'stderr-lines', { text: 'ree\nfour without an end' });
  await pool.close();
  const said = lines.filter((line) => line['message'] === 'server stderr');
  const { key } = events.find((event) => event.type === 'session-opened') as { key: string };
  expect(said.map((line) => line['line'])).toEqual([
    ...['one', 'two \u{fffd}[31mred', 'three', 'four without an end'],
  ]);
  for (const line of said) {
    expect(line).toMatchObject({ level: 'debug', key, server: process.execPath });
  }
  expect(JSON.stringify(events)).not.toContain('three');
});

test('of a flood on stderr few lines are logged, and calls go on', async () => {
  const { logger, lines } = newLogger();
  const pool = newPool({ logger });
  const lease = await pool.acquire(lab.target());
  await Promise.race([call(lease.client, 'flood-stderr'), pause(100)]);
  await pause(300);
  const said = lines.filter((line) => line['message'] === 'server stderr');
  expect(said.length).toBeGreaterThanOrEqual(100);
  // In the second or two that this takes.
  expect(said.length).toBeLessThanOrEqual(500);
  await pool.close();
  expect(lines.some((line) => /\d+ lines were dropped/.test(String(line['line'])))).toBe(true);
});

test('a logger that throws changes nothing', async () => {
  const angry = (): never => {
    throw new Error('no disk left');
  };
  const logger = { debug: angry, info: angry, warn: angry, error: angry };
  const pool = newPool({ logger });
  const lease = await pool.acquire(lab.target());
  await call(lease.client, 'stderr-lines', { text: 'one\n' });
  await lease.client.ping();
  expect(pool.stats().totals.observerFailures).toBeGreaterThan(0);
});
