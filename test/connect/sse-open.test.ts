// How a session over the older HTTP+SSE protocol opens, and fails to, in front of servers that do
// not play along (rows 6, 7a, 7c and 7d of the hazards).

import { createServer as createTcpServer, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { ConnectContext } from '../../src/connect/connector.ts';
import { failureOf } from '../../src/policy/failure.ts';
import type { HttpSessions, OpenSession } from '../support/http-sessions.ts';
import { beginEvents, pause, type RawExchange, until } from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import { type SseHandlers, take } from '../support/sse-server.ts';

const { newSessions, serveRaw, serveSse } = useSessions();

const over = new Error('no longer wanted');
const silent = (): void => {};

const openSse = (
  url: URL,
  context: Partial<ConnectContext> = {},
  sessions: HttpSessions = newSessions(),
): Promise<OpenSession> => sessions.open({ url, transport: 'sse' }, context);

/** What an open rejected with. */
const refusalOf = (opening: Promise<unknown>): Promise<unknown> =>
  opening.then(
    () => Promise.reject(new Error('It opened')),
    (error: unknown) => error,
  );

/** An answer whose body never ends. */
const endless =
  (status: number, headers: Record<string, string> = {}) =>
  ({ response }: RawExchange): void => {
    response.writeHead(status, { 'content-type': 'text/plain', ...headers });
    response.write('not yet');
  };

describe('an SSE session', () => {
  it('is opened by a GET, and initialized at the endpoint that the stream names', async () => {
    const server = await serveSse();
    const session = await openSse(server.url);
    expect(session.sessionId).toBeUndefined();
    await until(() => server.count('POST', 'notifications/initialized') === 1);
    const seen = server.exchanges.map(({ method, path, message }) => [
      method,
      path,
      message.method,
    ]);
    expect(seen).toEqual([
      ['GET', '/sse', undefined],
      ['POST', '/messages?session=1', 'initialize'],
      ['POST', '/messages?session=1', 'notifications/initialized'],
    ]);
    const [get, initialize, initialized] = server.exchanges.map(({ headers }) => headers);
    expect(get).toMatchObject({ accept: 'text/event-stream' });
    expect(initialize).toMatchObject({ 'content-type': 'application/json' });
    expect(initialize).not.toHaveProperty('mcp-protocol-version');
    expect(initialized).toHaveProperty('mcp-protocol-version');
  });

  it('carries the query and the user info of its URL, and a path of the endpoint', async () => {
    const server = await serveSse({
      GET: (exchange) => void beginEvents(exchange, 'event: endpoint\ndata: ../in?a=b\n\n'),
    });
    const url = new URL('/v1/sse?tenant=7', server.url);
    url.username = 'ada';
    url.password = 'p%40ss';
    const controller = new AbortController();
    const opening = openSse(url, { signal: controller.signal }).catch(() => {});
    await until(() => server.count('POST') === 1);
    expect(server.exchanges.map(({ path }) => path)).toEqual(['/v1/sse?tenant=7', '/in?a=b']);
    const basic = `Basic ${Buffer.from('ada:p@ss').toString('base64')}`;
    for (const { headers } of server.exchanges) expect(headers.authorization).toBe(basic);
    controller.abort(over);
    await opening;
  });
});

describe('an open over SSE that is aborted', () => {
  it.each<[string, SseHandlers, number]>([
    ['before the headers of the stream', { GET: silent }, 1],
    ['before the endpoint is named', { GET: (exchange) => void beginEvents(exchange) }, 1],
    ['in the body of a refusal', { GET: endless(500) }, 1],
    ['before the answer to initialize', { initialize: take }, 2],
    ['before initialize is taken', { initialize: silent }, 2],
    ['before notifications/initialized is taken', { 'notifications/initialized': silent }, 3],
  ])('%s settles at once with the reason, and leaves nothing (row 7a)', async (...row) => {
    const [, handlers, requests] = row;
    const server = await serveSse(handlers);
    const controller = new AbortController();
    const outcome = Promise.allSettled([openSse(server.url, { signal: controller.signal })]);
    await until(() => server.exchanges.length === requests);
    await pause(20);
    const abortedAt = performance.now();
    controller.abort(over);
    expect(await outcome).toMatchObject([{ reason: over }]);
    // A few milliseconds; the rest is for a busy machine.
    expect(performance.now() - abortedAt).toBeLessThan(2_000);
    await until(() => server.openSockets === 0);
    await pause(30);
    expect(server.exchanges).toHaveLength(requests);
    expect(server.count('POST', 'notifications/cancelled')).toBe(0);
  });

  it('while it connects settles at once, and frees its socket', async () => {
    const sockets = new Set<Socket>();
    const mute = createTcpServer((socket) => {
      sockets.add(socket.resume());
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const { port } = mute.address() as { port: number };
    const controller = new AbortController();
    const { signal } = controller;
    const outcome = Promise.allSettled([
      openSse(new URL(`https://127.0.0.1:${port}/`), { signal }),
    ]);
    await until(() => sockets.size === 1);
    controller.abort(over);
    expect(await outcome).toMatchObject([{ reason: over }]);
    await until(() => sockets.size === 0);
    await new Promise((resolve) => mute.close(resolve));
  });

  it('while headers are asked for settles at once, and nothing was sent', async () => {
    const server = await serveSse();
    const controller = new AbortController();
    const headers = (): Promise<never> => new Promise(() => {});
    const opening = openSse(server.url, { signal: controller.signal, headers });
    const outcome = Promise.allSettled([opening]);
    await pause(30);
    controller.abort(over);
    expect(await outcome).toMatchObject([{ reason: over }]);
    expect(server.connections).toBe(0);
  });

  it('before it began sends nothing', async () => {
    const server = await serveSse();
    await expect(openSse(server.url, { signal: AbortSignal.abort(over) })).rejects.toBe(over);
    expect(server.connections).toBe(0);
  });
});

describe('an open over SSE', () => {
  it.each([401, 404, 405, 500])(
    'rejects with the status %i as cause, and frees its socket',
    async (code) => {
      const server = await serveSse({ GET: ({ response }) => response.writeHead(code).end() });
      await expect(openSse(server.url)).rejects.toMatchObject({ code });
      await until(() => server.openSockets === 0);
      expect(server.count('GET')).toBe(1);
    },
  );

  it('is not held up by a refusal whose body never ends (row 7d)', async () => {
    const server = await serveSse({ GET: endless(503, { 'retry-after': '7' }) });
    const error = await refusalOf(openSse(server.url));
    expect(error).toMatchObject({ status: 503, body: 'not yet', retryAfterMs: 7_000 });
    await until(() => server.openSockets === 0);
  });

  it('is not held up by a message taken with an answer whose body never ends', async () => {
    const server = await serveSse({ 'notifications/initialized': endless(202) });
    await expect(openSse(server.url)).resolves.toBeDefined();
    await until(() => server.pending === 1);
  });

  it('rejects when nothing listens', async () => {
    const server = await serveSse();
    await server.close();
    const error = await refusalOf(openSse(server.url));
    expect(error).toMatchObject({ cause: { code: 'ECONNREFUSED' } });
    expect(failureOf(error, false).kind).toBe('refused');
  });

  it.each<[string, SseHandlers[string]]>([
    ['a page', ({ response }) => response.writeHead(200, { 'content-type': 'text/html' }).end()],
    ['nothing', ({ response }) => response.writeHead(204).end()],
    ['a stream with another status', endless(206)],
    ['an endpoint that is none', endpoint('http://[')],
    ['an endpoint of another origin', endpoint('http://127.0.0.1:9/in')],
    ['an endpoint of another scheme', endpoint('https://127.0.0.1/in')],
    ['what is no message', (exchange) => void beginEvents(exchange, 'data: {\n\n')],
    ['an event over the bound', (exchange) => void beginEvents(exchange, `: ${'x'.repeat(999)}`)],
  ])('rejects as of the wrong protocol when the server gives %s', async (_, get) => {
    const server = await serveSse({ GET: get });
    const sessions = newSessions({ maxMessageBytes: 500 });
    const error = await refusalOf(openSse(server.url, {}, sessions));
    expect(failureOf(error, false).kind).toBe('protocol');
    await until(() => server.openSockets === 0);
    expect(server.exchanges).toHaveLength(1);
  });

  it.each([
    ['before the endpoint', 'retry: 0\n\n', 1],
    ['after it', 'retry: 0\nevent: endpoint\ndata: /messages?session=1\n\n', 2],
  ])(
    'rejects when the stream ends %s, and never asks for another (rows 7b, 7c)',
    async (...row) => {
      const [, text, most] = row;
      const server = await serveSse({ GET: (exchange) => void beginEvents(exchange, text).end() });
      const error = await refusalOf(openSse(server.url));
      expect(failureOf(error, false).kind).toBe('network');
      await pause(1_300);
      expect(server.count('GET')).toBe(1);
      expect(server.exchanges.length).toBeLessThanOrEqual(most);
      expect(server.openSockets).toBe(0);
    },
  );

  it('follows a redirect within its origin, with its headers', async () => {
    const server = await serveSse({
      GET: (exchange) => {
        const { path, response } = exchange;
        if (path === '/sse') response.writeHead(302, { location: '/moved' }).end();
        else beginEvents(exchange, 'event: endpoint\ndata: /here\n\n');
      },
      initialize: ({ path, response }) => {
        if (path === '/here') response.writeHead(307, { location: '/there' }).end();
        else response.writeHead(403).end();
      },
    });
    const opening = openSse(server.url, { headers: () => ({ authorization: 'secret' }) });
    await expect(opening).rejects.toMatchObject({ status: 403 });
    const seen = server.exchanges.map(({ path, headers }) => [path, headers.authorization]);
    const paths = ['/sse', '/moved', '/here', '/there'];
    expect(seen).toEqual(paths.map((path) => [path, 'secret']));
    expect(server.exchanges.at(-1)).toMatchObject({ message: { method: 'initialize' } });
  });

  it.each<[string, (location: string) => SseHandlers]>([
    ['GET', (location) => ({ GET: ({ response }) => response.writeHead(302, { location }).end() })],
    [
      'POST',
      (location) => ({ initialize: ({ response }) => response.writeHead(307, { location }).end() }),
    ],
  ])('follows no redirect of a %s to another origin', async (_, handlersFor) => {
    const other = await serveRaw();
    const server = await serveSse(handlersFor(other.url.href));
    const headers = (): Record<string, string> => ({ authorization: 'secret' });
    const error = await refusalOf(openSse(server.url, { headers }));
    expect(error).toMatchObject({ message: expect.stringContaining('not followed') });
    expect(other.connections).toBe(0);
  });
});

function endpoint(url: string): (exchange: RawExchange) => void {
  return (exchange) => void beginEvents(exchange, `event: endpoint\ndata: ${url}\n\n`);
}
