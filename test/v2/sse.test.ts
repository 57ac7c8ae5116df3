// Servers of the older HTTP+SSE protocol with clients of SDK 2, over SDK 2's own transport of it:
// the promises are the same as with SDK 1. And `transport: 'auto'`, which finds them.

import type { Client } from '@modelcontextprotocol/client';
import {
  type HttpTarget,
  SessionPool,
  type SessionPoolOptions,
  v2Connector,
} from 'mcp-session-pool/v2';
import { describe, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { startEverythingServer } from '../support/everything-server.ts';
import { textOf } from '../support/http-sessions.ts';
import { startMcpServer } from '../support/mcp-server.ts';
import { startMcpServer2 } from '../support/mcp-server-2.ts';
import { beginEvents, pause, until } from '../support/raw-server.ts';
import { startSseMcpServer } from '../support/sse-mcp-server.ts';
import { type SseHandlers, type SseStream, startSseServer, take } from '../support/sse-server.ts';

const closing = closeAfterEach();
const newPool = (options: SessionPoolOptions<Client> = {}): SessionPool<Client> =>
  closing(new SessionPool({ connector: v2Connector(), closeTimeoutMs: 1_000, ...options }));
const to = (url: URL | string, transport: 'sse' | 'auto' = 'sse'): HttpTarget => ({
  url,
  transport,
  identity: 'ada',
});
const echo = (text: string) => ({ name: 'echo', arguments: { text } });

async function rawScene(handlers: SseHandlers, options: SessionPoolOptions<Client> = {}) {
  const server = closing(await startSseServer({ 'tools/call': take, ...handlers }));
  return { server, pool: newPool(options), target: to(server.url) };
}

describe('a session over SSE', () => {
  test('is opened once without a question, lent with headers, and ended', async () => {
    const server = closing(await startSseMcpServer());
    const pool = newPool({ leasesPerSession: 4 });
    const names = ['one', 'two', 'three', 'four'];
    const said = await Promise.all(
      names.map(async (name) => {
        const lease = await pool.acquire(to(server.url), { headers: { authorization: name } });
        expect(lease.client.getProtocolEra()).toBe('legacy');
        const who = textOf(await lease.client.callTool({ name: 'whoami' }));
        lease.release();
        return (JSON.parse(who) as { authorization: string }).authorization;
      }),
    );
    expect(said).toEqual(names);
    const asked = ['server/discover', 'initialize', 'GET'];
    expect(asked.map((method) => server.count(method))).toEqual([0, 1, 1]);
    expect(await pool.close()).toMatchObject({ sessions: 1, closed: 1, abandoned: 0 });
    await until(() => server.openSockets === 0);
  });

  test('passes on what the server asks in a call', async () => {
    const server = closing(await startSseMcpServer());
    const pool = newPool({ capabilities: { elicitation: {} } });
    const handler = vi.fn(() => ({ action: 'accept' as const, content: { name: 'its own' } }));
    const said = await pool.use(to(server.url), (client) => {
      client.setRequestHandler('elicitation/create', handler);
      return client.callTool({ name: 'elicit', arguments: { name: 'colour' } });
    });
    expect(textOf(said)).toBe('its own');
  });

  test.each<[string, string, (stream: SseStream) => void]>([
    ['ends with `retry: 0`', 'RESPONSE_CUT', ({ response }) => response.end('retry: 0\n\n')],
    ['is cut', 'RESPONSE_CUT', ({ response }) => response.destroy()],
    ['holds no JSON', 'UNEXPECTED_CONTENT', ({ response }) => response.write('data: {\n\n')],
    [
      'has a line that never ends',
      'MESSAGE_TOO_LARGE',
      ({ response }) => response.write(`data: ${'x'.repeat(5_000)}`),
    ],
  ])('is lost at once when its stream %s, and asks for no other', async (_, code, act) => {
    const { server, pool, target } = await rawScene({}, { maxMessageBytes: 4_096 });
    const lease = await pool.acquire(target);
    const called = lease.client.callTool({ name: 'x' }).catch((error: unknown) => error);
    await until(() => server.count('POST', 'tools/call') === 1);
    act(server.streams[0]!);
    const lost = { code: 'SESSION_LOST', execution: 'unknown', cause: { code } };
    expect(await called).toMatchObject(lost);
    await pause(1_200);
    expect(server.count('GET')).toBe(1);
  });

  test('is closed in time though its server holds the request of a call open for ever', async () => {
    const { server, pool, target } = await rawScene({
      'tools/call': (exchange) => {
        const { response, stream, message } = exchange;
        response.writeHead(200).write('never');
        stream?.send({ jsonrpc: '2.0', id: message.id, result: { content: [] } });
      },
    });
    expect(await pool.use(target, (client) => client.callTool({ name: 'x' }))).toBeDefined();
    expect(await pool.close()).toMatchObject({ closed: 1, abandoned: 0 });
    await until(() => server.openSockets === 0);
  });

  test('whose endpoint never comes is given up in time, and leaves no socket', async () => {
    const { server, pool, target } = await rawScene(
      { GET: (exchange) => void beginEvents(exchange) },
      { connectTimeoutMs: 200 },
    );
    await expect(pool.acquire(target)).rejects.toMatchObject({ code: 'OPEN_FAILED' });
    await until(() => server.openSockets === 0);
  });
});

describe("a target with `transport: 'auto'`", () => {
  test('finds servers of every kind, and knows them afterwards', async () => {
    const old = closing(await startSseMcpServer());
    const sessions = closing(await startMcpServer());
    const modern = closing(await startMcpServer2());
    const pool = newPool();
    const eras: unknown[] = [];
    for (const { url } of [old, sessions, modern, old, sessions, modern]) {
      const found = await pool.use(to(url, 'auto'), async (client) => {
        expect(textOf(await client.callTool(echo('here')))).toBe('here');
        return client.getProtocolEra();
      });
      eras.push(found);
      pool.retire();
    }
    expect(eras).toEqual(['legacy', 'legacy', 'modern', 'legacy', 'legacy', 'modern']);
    expect(pool.stats().totals.openFailed).toBe(0);
    // Once as a server of Streamable HTTP: for its era, and to initialize.
    expect([old.count('server/discover'), old.count('initialize')]).toEqual([1, 1 + 2]);
    expect(sessions.count('server/discover')).toBe(1);
    expect([sessions.count('initialize'), sessions.count('DELETE')]).toEqual([2, 2]);
    expect(modern.count('initialize')).toBe(0);
  });

  // Only its start takes seconds on a busy machine.
  const options = { timeout: 30_000 };
  test.each(['sse', 'streamableHttp'] as const)(
    'finds server-everything over %s',
    options,
    async (kind) => {
      const server = closing(await startEverythingServer(0, kind));
      const pool = newPool();
      const said = await pool.use(to(server.url, 'auto'), (client) =>
        client.callTool({ name: 'echo', arguments: { message: 'hello' } }),
      );
      expect(textOf(said)).toBe('Echo: hello');
    },
  );
});
