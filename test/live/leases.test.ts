// Leases of real sessions, through the pool: nothing of one is left for the next, and what a lease
// held back (a client, a call, a handler) can do nothing any more (promise P4).

import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { SessionPool } from 'mcp-session-pool';
import { describe, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { startMcpServer, type TestMcpServer } from '../support/mcp-server.ts';
import { answerJson, pause, speakMcp, startRawServer, until } from '../support/raw-server.ts';

const closing = closeAfterEach();
const serve = async (): Promise<TestMcpServer> => closing(await startMcpServer());
const newPool = (): SessionPool =>
  closing(new SessionPool({ capabilities: { elicitation: {}, sampling: {} } }));

describe('after a lease has ended', () => {
  test('its saved client sends nothing: every way to use it rejects', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    const client = await pool.use(target, async (lent) => {
      await lent.callTool({ name: 'count' });
      return lent;
    });
    const before = server.seen.length;
    const attempts = [
      client.callTool({ name: 'count' }),
      client.listTools(),
      client.ping(),
      client.setLoggingLevel('debug'),
      client.notification({ method: 'notifications/roots/list_changed' }),
    ];
    for (const attempt of attempts) {
      await expect(attempt).rejects.toMatchObject({ code: 'LEASE_RELEASED', reason: 'released' });
    }
    await client.close();
    await pause(50);
    expect(server.seen).toHaveLength(before);
    // The session is as good as before.
    const text = await pool.use(target, async (c) => textOf(await c.callTool({ name: 'count' })));
    expect(text).toBe('2');
    expect(server.sessions.size).toBe(1);
  });

  test('its handlers are not asked: the next lease is refused for want of one', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    const elicit = { name: 'elicit', arguments: { name: 'colour' } };
    const handler = vi.fn(() => ({ action: 'accept' as const, content: { name: 'from one' } }));
    const answered = await pool.use(target, async (client) => {
      client.setRequestHandler(ElicitRequestSchema, handler);
      return textOf(await client.callTool(elicit));
    });
    expect(answered).toBe('from one');
    await pool.use(target, async (client, lease) => {
      expect(lease.reused).toBe(true);
      expect(await client.callTool(elicit)).toMatchObject({ isError: true });
    });
    expect(handler).toHaveBeenCalledTimes(1);
  });

  test('its onRequest and headers are gone with it', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada', headers: { authorization: 'Bearer one' } };
    const onRequest = vi.fn(() => ({ action: 'accept', content: { name: 'from one' } }));
    const options = { onRequest, headers: { traceparent: 'trace-1', authorization: 'Bearer two' } };
    const whoami = { name: 'whoami' };
    const first = await pool.use(target, (client) => client.callTool(whoami), options);
    const second = await pool.use(target, (client) => client.callTool(whoami));
    expect(JSON.parse(textOf(first))).toMatchObject({
      authorization: 'Bearer two',
      traceparent: 'trace-1',
    });
    const headers = JSON.parse(textOf(second));
    expect(headers).toMatchObject({ authorization: 'Bearer one' });
    expect(headers).not.toHaveProperty('traceparent');
    const elicit = { name: 'elicit', arguments: { name: 'x' } };
    const refused = await pool.use(target, (client) => client.callTool(elicit));
    expect(refused.isError).toBe(true);
    expect(onRequest).not.toHaveBeenCalled();
    expect(server.sessions.size).toBe(1);
  });

  test('the schemas that it listed judge no result of the next', async () => {
    // Lists a schema that its own answers do not meet.
    const outputSchema = {
      type: 'object',
      properties: { answer: { type: 'number' } },
      required: ['answer'],
    };
    const tools = [{ name: 'ask', inputSchema: { type: 'object' }, outputSchema }];
    const structuredContent = { answer: 'a string' };
    const server = closing(
      await startRawServer(
        speakMcp({
          'tools/list': (exchange) => answerJson(exchange, { tools }),
          'tools/call': (exchange) => answerJson(exchange, { content: [], structuredContent }),
        }),
      ),
    );
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    await pool.use(target, async (client) => {
      await client.listTools();
      await expect(client.callTool({ name: 'ask' })).rejects.toThrow(/output schema|structured/i);
    });
    const result = await pool.use(target, (client) => client.callTool({ name: 'ask' }));
    expect(result.structuredContent).toEqual({ answer: 'a string' });
    expect(server.count('POST', 'initialize')).toBe(1);
  });

  test('its calls in flight are cancelled on the server and reject', async () => {
    const server = await serve();
    const pool = newPool();
    const lease = await pool.acquire({ url: server.url, identity: 'ada' });
    const call = lease.client.callTool({ name: 'hang' });
    call.catch(() => {});
    await until(() => server.count('tools/call') === 1);
    lease.release();
    await expect(call).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    await until(() => server.aborted.length === 1);
  });
});

describe('an abort in the middle of a call', () => {
  test('rejects with its reason at once, cancels on the server and keeps the session', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    const controller = new AbortController();
    const { signal } = controller;
    const reason = new Error('the user went away');
    const use = pool.use(target, (client) => client.callTool({ name: 'hang' }), { signal });
    use.catch(() => {});
    await until(() => server.count('tools/call') === 1);
    const abortedAt = performance.now();
    controller.abort(reason);
    await expect(use).rejects.toBe(reason);
    expect(performance.now() - abortedAt).toBeLessThan(200);
    await until(() => server.aborted.length === 1);
    expect(server.count('notifications/cancelled')).toBe(1);
    const reused = await pool.use(target, async (client, lease) => {
      await client.callTool({ name: 'count' });
      return lease.reused;
    });
    expect(reused).toBe(true);
    expect(server.sessions.size).toBe(1);
  });
});

describe('retire({ identity })', () => {
  test('ends the sessions of that identity alone: idle ones now, leased ones later', async () => {
    const server = await serve();
    const pool = newPool();
    const targetOf = (identity: string) => ({ url: server.url, identity });
    const idOf = (identity: string): Promise<string> =>
      pool.use(targetOf(identity), async (client, lease) => {
        await client.ping();
        return lease.sessionId!;
      });
    const held = await pool.acquire(targetOf('ada'));
    const idleOfAda = await idOf('ada');
    const idleOfBob = await idOf('bob');
    expect(server.sessions.size).toBe(3);

    expect(pool.retire({ identity: 'ada' })).toBe(2);
    await until(() => !server.sessions.has(idleOfAda));
    await held.client.callTool({ name: 'count' });
    held.release();
    await until(() => server.sessions.size === 1);
    expect([...server.sessions.keys()]).toEqual([idleOfBob]);
    expect(await idOf('bob')).toBe(idleOfBob);
    expect(await idOf('ada')).not.toBe(idleOfAda);
  });
});

describe('close()', () => {
  test('with a drain lets calls finish, and takes back at its end what has not', async () => {
    const server = await serve();
    const pool = newPool();
    const targetOf = (identity: string) => ({ url: server.url, identity });
    const slow = pool.use(targetOf('ada'), (client) =>
      client.callTool({ name: 'slow', arguments: { ms: 200 } }),
    );
    const stuck = pool.use(targetOf('bob'), (client) => client.callTool({ name: 'hang' }));
    stuck.catch(() => {});
    await until(() => server.count('tools/call') === 2);
    const close = pool.close({ drainTimeoutMs: 600 });
    await expect(pool.acquire(targetOf('ada'))).rejects.toMatchObject({ code: 'POOL_CLOSED' });
    expect(textOf(await slow)).toBe('after 200');
    await expect(stuck).rejects.toMatchObject({ code: 'SESSION_LOST' });
    const report = await close;
    expect(report).toMatchObject({ sessions: 2, closed: 2, abandoned: 0, unterminated: 0 });
    expect(report.durationMs).toBeGreaterThan(550);
    expect(report.durationMs).toBeLessThan(1_500);
    expect(server.sessions.size).toBe(0);
    await until(() => server.openSockets === 0);
  });
});
