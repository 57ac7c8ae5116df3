// Dead sessions are found before a user finds them, live ones are not taken for dead, and what a
// lease held for too long leaves is gone: on real servers, through the pool.

import { SessionPool } from 'mcp-session-pool';
import { describe, expect, test } from 'vitest';
import type { PoolEvent } from '../../src/observe/events.ts';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { startMcpServer, type TestMcpServer } from '../support/mcp-server.ts';
import {
  answerJson,
  pause,
  type RawExchange,
  type RawHandlers,
  type RawServer,
  speakMcp,
  startRawServer,
  until,
} from '../support/raw-server.ts';

const closing = closeAfterEach();
const count = { name: 'count' };

const serve = async (): Promise<TestMcpServer> => closing(await startMcpServer());
const serveRaw = async (handlers: RawHandlers): Promise<RawServer> =>
  closing(await startRawServer(speakMcp(handlers)));

const refuse = ({ message, response }: RawExchange, code: number): void => {
  response.writeHead(200, { 'content-type': 'application/json' });
  const error = { code, message: 'No' };
  response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, error }));
};
const list = (exchange: RawExchange): void => answerJson(exchange, { tools: [] });

describe('a session that was idle is asked before it is lent', () => {
  test.each([
    { answer: 'a result', ping: (each: RawExchange) => answerJson(each, {}), isAlive: true },
    { answer: '-32601', ping: (each: RawExchange) => refuse(each, -32_601), isAlive: true },
    { answer: '-32603', ping: (each: RawExchange) => refuse(each, -32_603), isAlive: false },
    {
      answer: 'HTTP 500',
      ping: ({ response }: RawExchange) => void response.writeHead(500).end(),
      isAlive: false,
    },
    { answer: 'nothing', ping: () => {}, isAlive: false },
  ])('and $answer means alive: $isAlive', async ({ ping, isAlive }) => {
    const server = await serveRaw({ ping, 'tools/list': list });
    const pool = closing(new SessionPool({ probeAfterIdleMs: 0, probeTimeoutMs: 1_500 }));
    const target = { url: server.url, identity: 'ada' };
    await pool.use(target, (client) => client.listTools());
    await pause(5);
    const reused = await pool.use(target, async (client, lease) => {
      await client.listTools();
      return lease.reused;
    });
    expect(reused).toBe(isAlive);
    expect(server.count('POST', 'ping')).toBe(1);
    expect(server.count('POST', 'initialize')).toBe(isAlive ? 1 : 2);
    const failed = isAlive ? 0 : 1;
    expect(pool.stats().totals).toMatchObject({ probed: 1, probeFailed: failed });
  });

  test('and one that the server forgot reaches no user: the call works at once', async () => {
    const server = await serve();
    const pool = closing(new SessionPool({ probeAfterIdleMs: 0 }));
    const target = { url: server.url, identity: 'ada' };
    const id = await pool.use(target, async (client, lease) => {
      await client.callTool(count);
      return lease.sessionId!;
    });
    await server.forget(id);
    await pause(5);
    const lease = await pool.acquire(target);
    expect([lease.reused, textOf(await lease.client.callTool(count))]).toEqual([false, '1']);
    lease.release();
    expect(pool.stats().totals).toMatchObject({ opened: 2, lost: 1 });
  });
});

describe('a call that times out', () => {
  test('costs no session the first time, and the session the second time in a row', async () => {
    const server = await serve();
    const pool = closing(new SessionPool());
    const target = { url: server.url, identity: 'ada' };
    const hang = (): Promise<string> =>
      pool.use(target, async (client, { sessionId }) => {
        const hanging = client.callTool({ name: 'hang' }, undefined, { timeout: 100 });
        await expect(hanging).rejects.toMatchObject({ code: -32_001 });
        return sessionId!;
      });
    const work = (): Promise<string> =>
      pool.use(target, async (client, { sessionId }) => {
        await client.callTool(count);
        return sessionId!;
      });
    const first = await hang();
    expect(await work()).toBe(first);
    // An answer in between: they are not in a row.
    expect(await hang()).toBe(first);
    expect(await work()).toBe(first);
    expect(await hang()).toBe(first);
    expect(await hang()).toBe(first);
    expect(await work()).not.toBe(first);
    expect(pool.stats().totals).toMatchObject({ opened: 2, worn: 1, lost: 0 });
    // The server was told of each that nobody waits any more.
    await until(() => server.aborted.length === 4);
  });
});

describe('an idle session is asked in the background', () => {
  test('and one that the server forgot is gone before a user comes', async () => {
    const server = await serve();
    const events: PoolEvent[] = [];
    const pool = closing(
      new SessionPool({ keepAliveMs: 1_000, onEvent: (event) => events.push(event) }),
    );
    const target = { url: server.url, identity: 'ada' };
    const id = await pool.use(target, async (client, lease) => {
      await client.callTool(count);
      return lease.sessionId!;
    });
    await until(() => server.count('ping') >= 2 && pool.stats().sessions.idle === 1);
    expect(pool.stats().totals).toMatchObject({ lost: 0, probeFailed: 0 });
    await server.forget(id);
    // Nobody asks for anything meanwhile.
    await until(() => pool.stats().totals.closed === 1);
    expect(pool.stats()).toMatchObject({ sessions: { idle: 0 }, keys: 0, totals: { lost: 1 } });
    const lease = await pool.acquire(target);
    expect([lease.reused, textOf(await lease.client.callTool(count))]).toEqual([false, '1']);
    lease.release();
    expect(events.filter(({ type }) => type === 'acquire-rejected')).toEqual([]);
  });

  test('and one whose server is gone, or hangs, is gone before a user comes', async () => {
    const [crashed, mute] = [await serve(), await serveRaw({ 'tools/list': list })];
    const pool = closing(new SessionPool({ keepAliveMs: 1_000, probeTimeoutMs: 300 }));
    for (const { url } of [crashed, mute]) await pool.warm({ url, identity: 'ada' }, 2);
    expect(pool.stats().sessions.idle).toBe(4);
    await crashed.close();
    await until(() => pool.stats().totals.closed === 4);
    expect(pool.stats()).toMatchObject({ sessions: { idle: 0 }, keys: 0 });
    expect(mute.count('POST', 'ping')).toBe(2);
  });

  test('with -32601 for an answer stays, and is not asked again by who comes', async () => {
    const server = await serveRaw({ ping: (each) => refuse(each, -32_601), 'tools/list': list });
    const pool = closing(new SessionPool({ keepAliveMs: 1_000, probeAfterIdleMs: 1_500 }));
    const target = { url: server.url, identity: 'ada', headers: { authorization: 'Bearer one' } };
    await pool.use(target, (client) => client.listTools());
    await until(() => pool.stats().totals.probed >= 2);
    const asked = server.count('POST', 'ping');
    const lease = await pool.acquire({ ...target, headers: { authorization: 'Bearer two' } });
    expect(lease.reused).toBe(true);
    lease.release();
    expect(server.count('POST', 'ping')).toBe(asked);
    // Traffic without a lease carries the newest credentials of its key.
    await until(() => server.count('POST', 'ping') > asked);
    const pings = server.exchanges.filter(({ message }) => message.method === 'ping');
    expect(pings[asked - 1]?.headers.authorization).toBe('Bearer one');
    expect(pings[asked]?.headers.authorization).toBe('Bearer two');
    expect(server.count('POST', 'initialize')).toBe(1);
  });
});

describe('a lease held for longer than maxLeaseMs', () => {
  const overdue = async (shared: boolean) => {
    const server = await serve();
    const pool = closing(new SessionPool({ maxLeaseMs: 1_500, leasesPerSession: shared ? 2 : 1 }));
    const target = { url: server.url, identity: 'ada' };
    const lease = await pool.acquire(target);
    const { client, sessionId, signal } = lease;
    const hanging = client.callTool({ name: 'hang' });
    hanging.catch(() => {});
    await until(() => server.count('tools/call') === 1);
    return { server, pool, target, client, sessionId, signal, hanging };
  };

  test('is taken back: its call is cancelled on the server, its session retired', async () => {
    const { server, pool, target, client, sessionId, signal, hanging } = await overdue(false);
    await expect(hanging).rejects.toMatchObject({
      code: 'LEASE_RELEASED',
      reason: 'lease-overdue',
    });
    expect(signal.reason).toMatchObject({ code: 'LEASE_RELEASED', reason: 'lease-overdue' });
    await until(() => server.aborted.length === 1);
    // What the borrower kept is dead.
    await expect(client.callTool(count)).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    const text = await pool.use(target, async (next, lease) => {
      expect([lease.reused, lease.sessionId === sessionId]).toEqual([false, false]);
      return textOf(await next.callTool(count));
    });
    expect(text).toBe('1');
    await until(() => server.sessions.size === 1 && !server.sessions.has(sessionId!));
    expect(server.count('DELETE')).toBe(1);
    expect(pool.stats().totals).toMatchObject({ overdue: 1, opened: 2, lost: 0 });
  });

  test('on a shared session ends alone: cancelled on the server, the session stays', async () => {
    const { server, pool, target, sessionId, hanging } = await overdue(true);
    await pause(700);
    const other = await pool.acquire(target);
    await expect(hanging).rejects.toMatchObject({
      code: 'LEASE_RELEASED',
      reason: 'lease-overdue',
    });
    await until(() => server.aborted.length === 1);
    expect([other.sessionId, other.signal.aborted]).toEqual([sessionId, false]);
    expect(textOf(await other.client.callTool(count))).toBe('1');
    other.release();
    expect(server.count('notifications/cancelled')).toBe(1);
    expect(pool.stats()).toMatchObject({
      sessions: { idle: 1 },
      totals: { opened: 1, overdue: 1 },
    });
  });
});
