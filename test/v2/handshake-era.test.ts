// Sessions of the handshake era (2025-11-25) with clients of SDK 2: the promises are the same as
// with clients of SDK 1, which work beside them in the same process.

import type { Client } from '@modelcontextprotocol/client';
import { SessionPool as Sdk1Pool } from 'mcp-session-pool';
import { SessionPool, type SessionPoolOptions, v2Connector } from 'mcp-session-pool/v2';
import { describe, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { startMcpServer, type TestMcpServer } from '../support/mcp-server.ts';
import { startMcpServer2 } from '../support/mcp-server-2.ts';
import { pause, until } from '../support/raw-server.ts';

const closing = closeAfterEach();
const serve = async (): Promise<TestMcpServer> => closing(await startMcpServer());
const newPool = (options: SessionPoolOptions<Client> = {}): SessionPool<Client> =>
  closing(
    new SessionPool({
      connector: v2Connector(),
      capabilities: { elicitation: {}, sampling: {} },
      ...options,
    }),
  );
const echo = (text: string) => ({ name: 'echo', arguments: { text } });

describe('a session', () => {
  test('is opened once, lent again and again, and ended with a DELETE', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    for (const text of ['one', 'two', 'three']) {
      const said = await pool.use(target, async (client) => {
        expect(client.getProtocolEra()).toBe('legacy');
        return textOf(await client.callTool(echo(text)));
      });
      expect(said).toBe(text);
    }
    expect(await pool.close()).toMatchObject({ sessions: 1, closed: 1, unterminated: 0 });
    const asked = ['server/discover', 'initialize', 'notifications/initialized', 'DELETE', 'GET'];
    expect(asked.map((method) => server.count(method))).toEqual([1, 1, 1, 1, 0]);
    const ids = server.seen.map(({ id }) => id).filter((id) => id !== undefined);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('of the server of SDK 2 is the same', async () => {
    const server = closing(await startMcpServer2({ era: 'sessions' }));
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    await pool.use(target, (client) => client.listTools());
    const sum = await pool.use(target, (client) =>
      client.callTool({ name: 'add', arguments: { a: 1, b: 2 } }),
    );
    expect(sum.structuredContent).toEqual({ sum: 3 });
    await pool.close();
    expect(['initialize', 'DELETE'].map((method) => server.count(method))).toEqual([1, 1]);
  });

  test('is asked for its era once by each identity, however many are opened', async () => {
    const server = await serve();
    const pool = newPool();
    for (const identity of ['ada', 'bob']) {
      const target = { url: server.url, identity };
      // One after the other, so that the second knows what the first found out.
      const first = await pool.acquire(target);
      const second = await pool.acquire(target);
      first.release();
      second.release();
      pool.retire({ identity });
      await pool.use(target, (client) => client.listTools());
    }
    expect(server.count('initialize')).toBe(6);
    expect(server.count('server/discover')).toBe(2);
  });

  test('is opened without a question where the era is given', async () => {
    const server = await serve();
    const pool = newPool({ connector: v2Connector({ versionNegotiation: { mode: 'legacy' } }) });
    await pool.use({ url: server.url, identity: 'ada' }, (client) => client.listTools());
    expect(server.count('server/discover')).toBe(0);
  });

  test('that the server forgot costs no caller anything: the work runs on a new one', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    await pool.use(target, (client) => client.callTool(echo('one')));
    for (const id of [...server.sessions.keys()]) await server.forget(id);
    const said = await pool.use(target, (client) => client.callTool(echo('two')));
    expect(textOf(said)).toBe('two');
    expect(server.count('initialize')).toBe(2);
  });
});

describe('a lease', () => {
  test('has a client that can be used in the turn it was granted in', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    await pool.use(target, () => {});
    const { client } = await pool.acquire(target);
    expect(client.getServerVersion()).toMatchObject({ name: 'test-server' });
    expect(client.getServerCapabilities()).toHaveProperty('tools');
    expect(client.getInstructions()).toBe('Be kind');
    expect(client.getNegotiatedProtocolVersion()).toBe('2025-11-25');
    expect(client.getDiscoverResult()).toBeUndefined();
    const [listed, called] = await Promise.all([client.listTools(), client.callTool(echo('now'))]);
    expect(listed.tools.length).toBeGreaterThan(0);
    expect(textOf(called)).toBe('now');
  });

  test('that has ended has a client that sends nothing: every way to use it rejects', async () => {
    const server = await serve();
    const pool = newPool();
    const client = await pool.use({ url: server.url, identity: 'ada' }, (lent) => lent);
    const before = server.seen.length;
    const attempts = [
      client.callTool(echo('late')),
      client.listTools(),
      client.listResources(),
      client.readResource({ uri: 'note://1' }),
      client.ping(),
      client.request({ method: 'tools/list' }),
      client.notification({ method: 'notifications/roots/list_changed' }),
    ];
    for (const attempt of attempts) {
      await expect(attempt).rejects.toMatchObject({ code: 'LEASE_RELEASED', reason: 'released' });
    }
    await client.close();
    await pause(30);
    expect(server.seen).toHaveLength(before);
  });

  test('carries its own headers, on the same session as the one before', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    for (const authorization of ['Bearer one', 'Bearer two']) {
      const lease = await pool.acquire(target, { headers: { authorization } });
      const said = textOf(await lease.client.callTool({ name: 'whoami' }));
      expect(JSON.parse(said)).toMatchObject({ authorization });
      lease.release();
    }
    expect(server.count('initialize')).toBe(1);
  });

  test('answers what the server asks in its calls, and nobody else does', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    const elicit = { name: 'elicit', arguments: { name: 'colour' } };
    const handler = vi.fn(() => ({ action: 'accept' as const, content: { name: 'its own' } }));
    const said = await pool.use(target, async (client) => {
      client.setRequestHandler('elicitation/create', handler);
      return textOf(await client.callTool(elicit));
    });
    expect(said).toBe('its own');
    const refused = await pool.use(target, (client) => client.callTool(elicit));
    expect(refused).toMatchObject({ isError: true });
    const onRequest = vi.fn(() => ({ action: 'accept', content: { name: "the lease's" } }));
    const lease = await pool.acquire(target, { onRequest });
    expect(textOf(await lease.client.callTool(elicit))).toBe("the lease's");
    expect([handler.mock.calls.length, onRequest.mock.calls.length]).toEqual([1, 1]);
  });

  test.each<[string, (client: Client) => void]>([
    ['requests', (client) => client.setRequestHandler('roots/list', () => ({ roots: [] }))],
    [
      'notifications',
      (client) => client.setNotificationHandler('notifications/tools/list_changed', () => {}),
    ],
  ])('that handles %s has the session listen for them, and no other has', async (_, handle) => {
    const server = await serve();
    const pool = newPool({ capabilities: { roots: {} } });
    const lease = await pool.acquire({ url: server.url, identity: 'ada' });
    await lease.client.listTools();
    await pause(50);
    expect(server.count('GET')).toBe(0);
    handle(lease.client);
    await until(() => server.count('GET') === 1);
  });

  test('hears of the progress of its calls, shared session or not', async () => {
    const server = await serve();
    const pool = newPool({ leasesPerSession: 4 });
    const target = { url: server.url, identity: 'ada' };
    const names = ['one', 'two', 'three', 'four'];
    const heard = await Promise.all(
      names.map((name) =>
        pool.use(target, async (client) => {
          const messages: unknown[] = [];
          const call = { name: 'progress', arguments: { name } };
          await client.callTool(call, { onprogress: ({ message }) => messages.push(message) });
          return messages;
        }),
      ),
    );
    expect(heard).toEqual(names.map((name) => [name, name, name]));
    expect(server.count('initialize')).toBe(1);
  });

  test('ends with what it has in flight: the server is told, and the session stays', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    const lease = await pool.acquire(target);
    const call = expect(lease.client.callTool({ name: 'hang' })).rejects.toMatchObject({
      code: 'LEASE_RELEASED',
    });
    await until(() => server.count('tools/call') === 1);
    lease.release();
    await call;
    await until(() => server.aborted.length === 1);
    await pool.use(target, (client) => client.callTool(echo('next')));
    expect(server.count('initialize')).toBe(1);
  });

  test('puts one listener on the signal of its calls, and takes it off', async () => {
    const server = await serve();
    const pool = newPool();
    const lease = await pool.acquire({ url: server.url, identity: 'ada' });
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, 'addEventListener');
    const removed = vi.spyOn(signal, 'removeEventListener');
    const calls = Array.from({ length: 20 }, (_, n) =>
      lease.client.callTool(echo(`${n}`), { signal }),
    );
    expect(added.mock.calls.length).toBeLessThanOrEqual(1);
    await Promise.all(calls);
    expect(added.mock.calls.length).toBe(removed.mock.calls.length);
  });
});

describe('beside a pool with clients of SDK 1', () => {
  test('each lends its own, of one server, and neither sees the other', async () => {
    const server = await serve();
    const sdk1 = closing(new Sdk1Pool());
    const sdk2 = newPool();
    const target = { url: server.url, identity: 'ada' };
    const texts = Array.from({ length: 20 }, (_, n) => `call ${n}`);
    const said = await Promise.all(
      texts.flatMap((text) => [
        sdk1.use(target, async (client) => textOf(await client.callTool(echo(text)))),
        sdk2.use(target, async (client) => textOf(await client.callTool(echo(text)))),
      ]),
    );
    expect(said).toEqual(texts.flatMap((text) => [text, text]));
    await Promise.all([sdk1.close(), sdk2.close()]);
    expect(server.sessions.size).toBe(0);
  });

  test('one pool has both: a target brings the connector of the other line', async () => {
    const [older, newer] = [await serve(), closing(await startMcpServer2())];
    const pool = closing(new Sdk1Pool());
    const connect = v2Connector();
    const modern = { server: newer.url.href, identity: 'ada', connect: open };
    const [first, second] = await Promise.all([
      pool.use({ url: older.url, identity: 'ada' }, (client) => client.callTool(echo('v1'))),
      pool.use(modern, (client) => (client as unknown as Client).callTool(echo('v2'))),
    ]);
    expect([first, second].map(textOf)).toEqual(['v1', 'v2']);

    function open(target: unknown, context: Parameters<typeof connect>[1]) {
      expect(target).toBe(modern);
      return connect({ url: newer.url }, context);
    }
  });
});
