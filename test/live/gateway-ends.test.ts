// How sessions of the example gateway end: told so, left alone, or left behind by a client that is
// gone. Whichever way, the upstream session ends with them, and nothing stays in the gateway.

import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { expect, test, vi } from 'vitest';
import * as z from 'zod';
import { startChild } from '../support/child-process.ts';
import { closeAfterEach } from '../support/closing.ts';
import {
  connect,
  type Downstream,
  type DownstreamOptions,
  health,
  isEmpty,
  type RunningGateway,
  startGateway,
  startUpstream,
  tokenOf,
  untilHealth,
} from '../support/gateway-fixture.ts';
import { textOf } from '../support/http-sessions.ts';
import type { TestMcpServer } from '../support/mcp-server.ts';
import {
  answerInitialize,
  pause,
  type RawExchange,
  speakMcp,
  startRawServer,
  until,
} from '../support/raw-server.ts';
import { startTcpFront } from '../support/tcp-front.ts';

/** Children, real sockets, and a machine that may be busy. */
vi.setConfig({ testTimeout: 40_000 });

const closing = closeAfterEach();

interface World extends RunningGateway {
  readonly upstream: TestMcpServer;
  join(options?: DownstreamOptions): Promise<Downstream>;
}

async function start(limits: Readonly<Record<string, number>> = {}): Promise<World> {
  const upstream = closing(await startUpstream(['ada']));
  const servers = { main: { url: upstream.url } };
  const running = closing(await startGateway({ users: ['ada'], servers, limits }));
  return {
    ...running,
    upstream,
    join: async (options) => closing(await connect(running.origin, 'ada', options)),
  };
}

async function allGone({ origin, upstream }: World): Promise<void> {
  await untilHealth(origin, isEmpty);
  await until(() => upstream.sessions.size === 0);
}

test('a DELETE ends the session, its calls and its upstream session', async () => {
  const world = await start();
  const { client, transport } = await world.join();
  const ended = expect(client.callTool({ name: 'hang' })).rejects.toMatchObject({
    data: { code: 'SESSION_ENDED', execution: 'unknown' },
  });
  await until(() => world.upstream.count('tools/call') === 1);
  await transport.terminateSession();
  await until(() => world.upstream.aborted.length === 1);
  await allGone(world);
  await ended;
  expect(world.upstream.count('DELETE')).toBe(1);
});

test('a session without a request for too long ends, and one with a call under way does not', async () => {
  const world = await start({ sessionIdleMs: 1_500 });
  const busy = await world.join();
  const call = busy.client.callTool({ name: 'slow', arguments: { ms: 4_000 } });
  const idle = await world.join();
  await until(() => world.upstream.sessions.size === 1);
  await expect(idle.client.callTool({ name: 'count' })).rejects.toMatchObject({ code: 404 });
  expect(textOf(await call)).toBe('after 4000');
  await allGone(world);
  expect(world.upstream.count('DELETE')).toBe(2);
});

test('a client that closes without a word is waited for, and then its session ends', async () => {
  const world = await start();
  const gone = await world.join();
  await until(() => world.upstream.count('GET') === 1);
  // Its stream has come to it, too: one that is aborted before, Node 24 and 26 leave open.
  await untilHealth(world.origin, ({ openResponses }) => openResponses === 2);
  await gone.client.listTools();
  await gone.client.close();
  await allGone(world);
});

test('a client whose connections are cut and that comes back goes on', async () => {
  const vanishGraceMs = 3_000;
  const world = await start({ vanishGraceMs });
  const front = closing(await startTcpFront(Number(new URL(world.origin).port)));
  const { client } = closing(await connect(`http://localhost:${front.port}`, 'ada'));
  expect(textOf(await client.callTool({ name: 'count' }))).toBe('1');
  const call = client.callTool({ name: 'hang' });
  call.catch(() => {});
  await until(() => world.upstream.count('tools/call') === 2);
  await untilHealth(world.origin, ({ openResponses }) => openResponses === 3);
  front.cut();
  // The call does not wait: its answer could reach nobody.
  await untilHealth(world.origin, ({ openResponses }) => openResponses === 1);
  await until(() => world.upstream.aborted.length === 1);
  expect((await health(world.origin)).downstreamSessions).toBe(1);
  expect(textOf(await client.callTool({ name: 'count' }))).toBe('2');
  await pause(vanishGraceMs + 500);
  expect(textOf(await client.callTool({ name: 'count' }))).toBe('3');
  // Its stream was opened again by the SDK.
  await untilHealth(world.origin, ({ openResponses }) => openResponses === 2);
});

test('a client that is killed in mid-call leaves nothing', async () => {
  const world = await start();
  const { child, ended } = startChild('gateway-client', `${world.origin}/main/mcp`, tokenOf('ada'));
  await once(child, 'message');
  await until(() => world.upstream.count('tools/call') === 1);
  child.kill('SIGKILL');
  expect((await ended).code).toBeNull();
  // At once: the call. After the grace: the session.
  await until(() => world.upstream.aborted.length === 1);
  await allGone(world);
  expect(world.upstream.count('DELETE')).toBe(1);
});

test('a client that is killed while it is asked something leaves no question open', async () => {
  const world = await start();
  let asked = 0;
  const { client } = await world.join({
    capabilities: { elicitation: {} },
    prepare: (each) => {
      each.setRequestHandler(ElicitRequestSchema, () => {
        asked += 1;
        return new Promise(() => {});
      });
    },
  });
  client.callTool({ name: 'elicit', arguments: { name: 'x' } }).catch(() => {});
  await until(() => asked === 1);
  await client.close();
  await allGone(world);
  // The upstream server was told that nobody answers: it waits for nothing.
  const answers = world.upstream.seen.filter(
    ({ httpMethod, method, id }) =>
      httpMethod === 'POST' && method === undefined && id !== undefined,
  );
  expect(answers).toHaveLength(1);
});

const INITIALIZE = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: {
    protocolVersion: '2025-06-18',
    capabilities: {},
    clientInfo: { name: 'x', version: '1' },
  },
});

const open = (origin: string, signal?: AbortSignal): Promise<Response> =>
  fetch(`${origin}/main/mcp`, {
    method: 'POST',
    body: INITIALIZE,
    headers: {
      authorization: `Bearer ${tokenOf('ada')}`,
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
    },
    ...(signal && { signal }),
  });

test('clients that leave while their sessions open leave nothing', async () => {
  const held: RawExchange[] = [];
  const hold = speakMcp({ initialize: (exchange) => held.push(exchange) });
  const upstream = closing(await startRawServer(hold));
  const servers = { main: { url: upstream.url } };
  const { origin, lines } = closing(await startGateway({ users: ['ada'], servers }));
  const controllers = Array.from({ length: 20 }, () => new AbortController());
  const settled = Promise.allSettled(controllers.map(({ signal }) => open(origin, signal)));
  await until(() => held.length === 20);
  for (const controller of controllers) controller.abort();
  await settled;
  await untilHealth(origin, ({ openResponses }) => openResponses === 1);
  // What was on its way is opened, and then taken down.
  for (const [n, exchange] of held.entries()) answerInitialize(exchange, `session-${n}`);
  await until(() => upstream.count('DELETE') === 20);
  await untilHealth(origin, isEmpty);
  expect(lines.join('')).not.toContain('A request failed');
});

test('a client that leaves a slow open gives its room back at once', async () => {
  const result = {
    protocolVersion: '2025-06-18',
    capabilities: { tools: {} },
    serverInfo: { name: 'slow', version: '1' },
  };
  const upstream = closing(
    await startRawServer(({ method, message, response }) => {
      if (message.method !== 'initialize') {
        response.writeHead(method === 'POST' ? 202 : 405).end();
      } else if (upstream.count('POST', 'initialize') > 1) {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, result }));
      }
    }),
  );
  const servers = { main: { url: upstream.url } };
  const limits = { maxSessions: 1 };
  const { origin } = closing(await startGateway({ users: ['ada'], servers, limits }));
  const controller = new AbortController();
  const first = open(origin, controller.signal);
  first.catch(() => {});
  await until(() => upstream.exchanges.length === 1);
  expect((await open(origin)).status).toBe(503);
  controller.abort();
  await untilHealth(origin, ({ waiting }) => waiting === 0);
  // The open itself goes on until it fails, ten seconds later.
  const second = await open(origin);
  expect(second.status).toBe(200);
  await second.text();
  expect(upstream.count('POST', 'initialize')).toBe(2);
  expect((await health(origin)).totals).toMatchObject({ opened: 1, openFailed: 0 });
});

test('a client that does not read loses notifications, never its answer, and fills no memory', async () => {
  const COUNT = 300;
  const data = 'x'.repeat(100_000);
  const upstream = closing(
    await startUpstream(['ada'], {
      newServer: () => {
        const server = new McpServer(
          { name: 'm', version: '1' },
          { capabilities: { logging: {} } },
        );
        server.registerTool('flood', {}, async ({ sendNotification }) => {
          const params = { level: 'info' as const, data };
          for (let n = 0; n < COUNT; n += 1) {
            await sendNotification({ method: 'notifications/message', params });
            // So that it is read while it is written.
            await pause(0);
          }
          return { content: [{ type: 'text', text: 'flooded' }] };
        });
        return server;
      },
    }),
  );
  const servers = { main: { url: upstream.url } };
  const { origin } = closing(await startGateway({ users: ['ada'], servers }));
  const { sessionId } = closing(await connect(origin, 'ada'));
  const response = await callUnread(origin, sessionId, 'flood');
  await untilHealth(origin, ({ totals }) => totals['acquired'] === 2 && totals['released'] === 2);
  let bytes = 0;
  let end = '';
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    end = (end + chunk.toString()).slice(-500);
  }
  expect(end).toContain('flooded');
  // What the system's own buffers took; the flood was thirty million.
  expect(bytes).toBeLessThan((COUNT * data.length) / 2);
});

test('a client that does not read is asked nothing more: questions fill no memory', async () => {
  const COUNT = 300;
  const data = 'x'.repeat(100_000);
  let refused = 0;
  const upstream = closing(
    await startUpstream(['ada'], {
      newServer: () => {
        const server = new McpServer({ name: 'm', version: '1' });
        server.registerTool('interrogate', {}, async (extra) => {
          const params = { message: data, requestedSchema: { type: 'object', properties: {} } };
          const ask = (): Promise<unknown> =>
            extra.sendRequest({ method: 'elicitation/create', params } as never, z.any());
          for (let n = 0; n < COUNT; n += 1) {
            ask().catch(() => {
              refused += 1;
            });
            await pause(0);
          }
          await until(() => refused > COUNT / 2);
          return { content: [{ type: 'text', text: 'asked' }] };
        });
        return server;
      },
    }),
  );
  const servers = { main: { url: upstream.url } };
  const { origin } = closing(await startGateway({ users: ['ada'], servers }));
  const { sessionId } = closing(
    await connect(origin, 'ada', { capabilities: { elicitation: {} } }),
  );
  const response = await callUnread(origin, sessionId, 'interrogate');
  await untilHealth(origin, ({ totals }) => totals['acquired'] === 2 && totals['released'] === 2);
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length;
  expect(bytes).toBeLessThan((COUNT * data.length) / 2);
});

/** Calls a tool and reads nothing of the answer. */
async function callUnread(
  origin: string,
  sessionId: string,
  name: string,
): Promise<IncomingMessage> {
  const call = { jsonrpc: '2.0', id: 77, method: 'tools/call', params: { name } };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${tokenOf('ada')}`,
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      'mcp-session-id': sessionId,
    };
    const request = httpRequest(`${origin}/main/mcp`, { method: 'POST', headers, agent: false });
    request.on('response', resolve).on('error', reject).end(JSON.stringify(call));
  });
  response.pause();
  return response;
}
