// Leases of servers over stdio, as real processes: how they start, what they get to see, how they
// crash, and what their callers are told of it (promises P7, P8).

import { inspect } from 'node:util';
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import {
  type PoolEvent,
  SessionPool,
  type SessionPoolOptions,
  type StdioTarget,
} from 'mcp-session-pool';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { pause, until } from '../support/raw-server.ts';
import { useStdioLab } from '../support/stdio-lab.ts';

const lab = useStdioLab();
const closing = closeAfterEach();

const newPool = (options: SessionPoolOptions = {}): SessionPool =>
  closing(new SessionPool({ closeTimeoutMs: 1_000, ...options }));

async function call(client: Client, name: string, input: object = {}): Promise<string> {
  const { content } = await client.callTool({ name, arguments: { ...input } });
  return (content as { text: string }[])[0]!.text;
}

/** What `promise` rejects with. */
const errorOf = (promise: Promise<unknown>): Promise<Error & Record<string, unknown>> =>
  promise.then(
    () => Promise.reject(new Error('Expected it to reject')),
    (error) => error,
  );

/** All that an error says, down its causes. */
const wordsOf = (error: unknown): string =>
  error instanceof Error ? `${error.message} | ${wordsOf(error.cause)}` : '';

describe('a server over stdio', () => {
  test('is started once, and serves lease after lease', async () => {
    const pool = newPool();
    const target = lab.target();
    const first = await pool.use(target, (client) => call(client, 'pid'));
    const second = await pool.use(target, (client) => call(client, 'pid'));
    expect(second).toBe(first);
    expect(lab.processes()).toEqual([{ pid: Number(first), group: Number(first) }]);
  });

  test('answers calls in flight at once, each its own, small and large', async () => {
    const pool = newPool();
    await pool.use(lab.target(), async (client) => {
      const texts = Array.from({ length: 200 }, (_, n) => `${n}: ${'ü'.repeat(n * 10)}`);
      const answers = await Promise.all(texts.map((text) => call(client, 'echo', { text })));
      expect(answers.every((answer, n) => answer === texts[n])).toBe(true);
      const large = await call(client, 'large-answer', { length: 3_000_000 });
      expect(large.length).toBe(3_000_000);
      const text = 'z'.repeat(2_000_000);
      expect((await call(client, 'echo', { text })) === text).toBe(true);
    });
  });

  test('gets its own environment and the harmless part of ours', async () => {
    process.env['STDIO_TEST_SECRET'] = 'sesame';
    const { command, args = [], env } = lab.target();
    const target: StdioTarget = { command, args, env: { ...env, OWN: '1' }, cwd: '/' };
    const pool = newPool();
    const [names, folder] = await pool.use(target, async (client) => [
      JSON.parse(await call(client, 'environment')) as string[],
      await call(client, 'folder'),
    ]);
    delete process.env['STDIO_TEST_SECRET'];
    expect(names).toEqual(expect.arrayContaining(['OWN', 'PATH']));
    expect(names).not.toContain('STDIO_TEST_SECRET');
    expect(folder).toBe('/');
  });

  test('is one process per key unless more are asked for', async () => {
    const pool = newPool();
    const lease = await pool.acquire(lab.target());
    const error = await errorOf(pool.acquire(lab.target(), { timeoutMs: 100 }));
    expect(error['code']).toBe('ACQUIRE_TIMEOUT');
    expect(pool.stats().sessions).toMatchObject({ leased: 1, opening: 0 });
    lease.release();
    const larger = newPool({ maxSessionsPerKey: 2 });
    await larger.acquire(lab.target());
    await larger.acquire(lab.target());
    expect(larger.stats().sessions.leased).toBe(2);
  });

  test('is pinged before it is lent after a while', async () => {
    const pool = newPool({ probeAfterIdleMs: 0 });
    const target = lab.target();
    await pool.use(target, (client) => call(client, 'pid'));
    const events = lab.readLines().length;
    await pool.use(target, (client) => call(client, 'pid'));
    const methods = lab
      .readLines()
      .slice(events)
      .map((line) => JSON.parse(line).method as string);
    expect(methods).toEqual(['ping', 'tools/call']);
  });

  test('hears what was given up, at the latest before its input ends', async () => {
    const pool = newPool();
    const lease = await pool.acquire(lab.target());
    lease.client.callTool({ name: 'hang' }).catch(() => {});
    await until(() => lab.readLines().length === 3);
    await pool.close();
    expect(JSON.parse(lab.readLines().at(-1)!)).toMatchObject({
      method: 'notifications/cancelled',
      params: { requestId: JSON.parse(lab.readLines()[2]!).id },
    });
  });
});

test('what fails before it is written is the fault of its caller, and no loss', async () => {
  const lease = await newPool().acquire(lab.target());
  const text = {
    toJSON: () => {
      throw Object.assign(new Error('mine'), { code: 'ECONNREFUSED' });
    },
  };
  await expect(call(lease.client, 'echo', { text })).rejects.toThrow('mine');
  expect(lease.signal.aborted).toBe(false);
  expect(await call(lease.client, 'echo', { text: 'still here' })).toBe('still here');
});

describe('a server that can not be opened', () => {
  const INVALID = 'ERR_INVALID_ARG_VALUE';
  test.each([
    ['there is no such command', { command: '/nowhere/to/be/found' }, 'ENOENT'],
    ['it is no program', { command: '/etc/passwd' }, 'EACCES'],
    ['its folder is missing', { command: 'node', cwd: '/nowhere' }, 'ENOENT'],
    ['an argument can not be one', { command: 'node', args: ['secret\0'] }, INVALID],
    ['a variable can not be one', { command: 'node', env: { KEY: 'secret\0' } }, INVALID],
  ] as const)('fails at once with the cause when %s', async (_, target, code) => {
    const pool = newPool();
    const args = 'args' in target ? target.args : [];
    const secret = { ...target, args: ['secret', ...args] };
    const error = await errorOf(pool.acquire(secret));
    expect(error).toMatchObject({
      code: 'OPEN_FAILED',
      kind: 'process',
      cause: { code: 'SPAWN_FAILED', execution: 'not-executed', cause: { code } },
    });
    // All that a logger could print of it, members that are no text included.
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('secret');
  });

  test('says in the cause alone what it wrote to its stderr before it ended', async () => {
    const events: PoolEvent[] = [];
    const pool = newPool({ onEvent: (event) => void events.push(event) });
    const error = await errorOf(pool.acquire(lab.target('exit-in-initialize')));
    expect(error).toMatchObject({ code: 'OPEN_FAILED', kind: 'process' });
    expect(error.message).not.toContain('configuration');
    expect(wordsOf(error)).toMatch(/exited with code 9 [\s\S]*no configuration found/);
    await pool.close();
    expect(JSON.stringify(events)).not.toContain('configuration');
    expect(lab.processes()).toEqual([]);
  });

  test('is told at once when it ends before it reads', async () => {
    const error = await errorOf(newPool().acquire(lab.target('exit-at-start')));
    expect(wordsOf(error)).toContain('exited with code 5');
  });

  test('is not asked to cancel `initialize` when its time is over, and leaves no process', async () => {
    const pool = newPool({ connectTimeoutMs: 2_500 });
    const error = await errorOf(pool.acquire(lab.target('hang-initialize', 'ignore-eof')));
    expect(error).toMatchObject({ code: 'OPEN_FAILED', kind: 'timeout' });
    await until(() => lab.processes().length === 0);
    const methods = lab.readLines().map((line) => JSON.parse(line).method as string);
    expect(methods).toEqual(['initialize']);
  });

  test('says in the cause what it wrote, when its time is over', async () => {
    const pool = newPool({ connectTimeoutMs: 2_500 });
    const error = await errorOf(pool.acquire(lab.target('hang-initialize', 'complain')));
    expect(error).toMatchObject({ code: 'OPEN_FAILED', kind: 'timeout' });
    expect(error.message).not.toContain('browser');
    expect(wordsOf(error)).toContain('waiting for a sign-in in the browser');
  });

  test('leaves no process when the pool closes as it opens', async () => {
    const pool = newPool();
    const error = errorOf(pool.acquire(lab.target('hang-initialize', 'ignore-eof')));
    await until(() => lab.readLines().length === 1);
    await pool.close();
    expect(lab.processes()).toEqual([]);
    expect((await error)['code']).toBe('POOL_CLOSED');
  });
});

describe('a server that crashes', () => {
  test.each([
    ['exits', 'exit', 'exited with code 0'],
    ['is killed', 'kill-self', 'was ended by SIGKILL'],
  ])('in mid-call when it %s: SESSION_LOST, nobody knows', async (_, tool, words) => {
    const pool = newPool();
    const lease = await pool.acquire(lab.target());
    const other = errorOf(call(lease.client, 'hang'));
    const error = await errorOf(call(lease.client, tool));
    expect(error).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    expect(await other).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    expect(wordsOf(error)).toContain(words);
    expect(lease.signal.aborted).toBe(true);
    const late = await errorOf(call(lease.client, 'pid'));
    expect(late).toMatchObject({ code: 'SESSION_LOST', execution: 'not-executed' });
  });

  test('says in the cause what it wrote last', async () => {
    const lease = await newPool().acquire(lab.target());
    const error = await errorOf(call(lease.client, 'last-words'));
    expect(error.message).not.toContain('luck');
    expect(wordsOf(error)).toMatch(/exited with code 7 \| [\s\S]*last words: out of luck/);
  });

  test('is heard to the end of its last answer before its own is told', async () => {
    const lease = await newPool().acquire(lab.target());
    // Behind so many lines that they are not read in one turn.
    const answer = await call(lease.client, 'answer-and-exit', { length: 1_000 });
    expect(answer.length).toBe(1_000);
    await until(() => lease.signal.aborted);
  });

  test('while it is idle is not lent again: the next acquire starts another', async () => {
    const events: PoolEvent[] = [];
    const pool = newPool({ onEvent: (event) => void events.push(event) });
    const target = lab.target();
    const first = await pool.use(target, (client) => call(client, 'pid'));
    process.kill(Number(first), 'SIGKILL');
    await until(() => events.some((event) => event.type === 'session-closed'));
    const lease = await pool.acquire(target);
    expect(lease.reused).toBe(false);
    expect(await call(lease.client, 'pid')).not.toBe(first);
  });

  test('takes what it has started with it', async () => {
    const pool = newPool();
    const lease = await pool.acquire(lab.target());
    const error = await errorOf(call(lease.client, 'grandchild-and-exit'));
    expect(error['code']).toBe('SESSION_LOST');
    await until(() => lab.processes().length === 0);
    expect(pool.stats().totals.abandoned).toBe(0);
  });

  test.each(['close-stdin', 'close-stdout'])('in all but name is lost too: %s', async (tool) => {
    const lease = await newPool().acquire(lab.target('ignore-eof'));
    await call(lease.client, tool).catch(() => {});
    lease.client.callTool({ name: 'hang' }).catch(() => {});
    await until(() => lease.signal.aborted);
    expect(wordsOf(lease.signal.reason)).toContain('closed its pipes');
  });
});

test('of messages that a server never read, each says so', async () => {
  const lease = await newPool({ closeTimeoutMs: 600 }).acquire(lab.target('ignore-eof'));
  const pid = Number(await call(lease.client, 'pid'));
  await call(lease.client, 'stop-reading');
  // More than the pipe holds: part of it is written, and what comes after it is not begun.
  const begun = errorOf(call(lease.client, 'echo', { text: 'z'.repeat(2e6) }));
  await pause(20);
  const waiting = errorOf(call(lease.client, 'echo', { text: 'never' }));
  await pause(20);
  process.kill(pid, 'SIGKILL');
  expect(await begun).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
  expect(await waiting).toMatchObject({ code: 'SESSION_LOST', execution: 'not-executed' });
});

test('a call that is given up before it was written is never heard of by the server', async () => {
  const lease = await newPool().acquire(lab.target());
  await call(lease.client, 'read-later');
  const begun = call(lease.client, 'echo', { text: 'z'.repeat(2e6) });
  await pause(20);
  const controller = new AbortController();
  const params = { name: 'echo', arguments: { text: 'never' } };
  const given = errorOf(lease.client.callTool(params, undefined, { signal: controller.signal }));
  controller.abort(new Error('given up'));
  await given;
  await begun;
  await lease.client.ping();
  const methods = lab.readLines().map((line) => JSON.parse(line).method as string);
  expect(methods.slice(2)).toEqual(['tools/call', 'tools/call', 'ping']);
});
