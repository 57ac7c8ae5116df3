// How a session over HTTP opens, and fails to, in front of servers that do not play along.

import { createServer as createTcpServer, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { pause, type RawExchange, type RawHandlers, until } from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';

const { newSessions, serveRaw } = useSessions();

const over = new Error('no longer wanted');

/** A 200 whose body never ends. */
const endless =
  (type: string, status = 200) =>
  ({ response }: RawExchange): void => {
    response.writeHead(status, { 'content-type': type, 'mcp-session-id': 's' });
    response.write(type === 'application/json' ? '{"jsonrpc"' : ': silence\n\n');
  };
const silent = (): void => {};

describe('an open that is aborted', () => {
  it.each([
    ['before the headers of initialize', { initialize: silent }],
    ['in a JSON body of initialize', { initialize: endless('application/json') }],
    ['in an event stream of initialize', { initialize: endless('text/event-stream') }],
    ['in the body of a refusal', { initialize: endless('text/plain', 500) }],
    ['before notifications/initialized is taken', { 'notifications/initialized': silent }],
    ['in the body of its refusal', { 'notifications/initialized': endless('text/plain', 400) }],
  ])('%s settles at once with the reason, and frees its sockets', async (_, handlers) => {
    const server = await serveRaw(handlers as RawHandlers);
    const controller = new AbortController();
    const opening = newSessions().open(server.url, { signal: controller.signal });
    const outcome = Promise.allSettled([opening]);
    await until(() => server.pending === 1);
    await pause(20);
    const abortedAt = performance.now();
    controller.abort(over);
    expect(await outcome).toMatchObject([{ reason: over }]);
    // A few milliseconds; the rest is for a busy machine.
    expect(performance.now() - abortedAt).toBeLessThan(500);
    await until(() => server.openSockets === 0);
    const before = server.exchanges.length;
    await pause(30);
    expect(server.exchanges).toHaveLength(before);
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
    const opening = newSessions().open(new URL(`https://127.0.0.1:${port}/`), { signal });
    const outcome = Promise.allSettled([opening]);
    await until(() => sockets.size === 1);
    controller.abort(over);
    expect(await outcome).toMatchObject([{ reason: over }]);
    await until(() => sockets.size === 0);
    await new Promise((resolve) => mute.close(resolve));
  });

  it('while headers are asked for settles at once, and nothing was sent', async () => {
    const server = await serveRaw();
    const signal = AbortSignal.timeout(30);
    const headers = (): Promise<never> => new Promise(() => {});
    const outcome = Promise.allSettled([newSessions().open(server.url, { signal, headers })]);
    expect(await outcome).toMatchObject([{ reason: { name: 'TimeoutError' } }]);
    expect(server.connections).toBe(0);
  });

  it('before it began sends nothing', async () => {
    const server = await serveRaw();
    const opening = newSessions().open(server.url, { signal: AbortSignal.abort(over) });
    await expect(opening).rejects.toBe(over);
    expect(server.connections).toBe(0);
  });
});

describe('an open', () => {
  it('is not held up by a 202 whose body never ends', async () => {
    const server = await serveRaw({ 'notifications/initialized': endless('text/plain', 202) });
    await expect(newSessions().open(server.url)).resolves.toBeDefined();
  });

  it.each([401, 404, 500])(
    'rejects with the status %i as cause, and frees its socket',
    async (code) => {
      const server = await serveRaw({
        initialize: ({ response }) => response.writeHead(code).end(),
      });
      await expect(newSessions().open(server.url)).rejects.toMatchObject({ code });
      await until(() => server.openSockets === 0);
    },
  );

  it('rejects when nothing listens', async () => {
    const server = await serveRaw();
    await server.close();
    await expect(newSessions().open(server.url)).rejects.toMatchObject({
      cause: { code: 'ECONNREFUSED' },
    });
  });
});

it('an answer to `initialize` that is nested without end fails the open at once', async () => {
  const server = await serveRaw({
    initialize: ({ message, response }) => {
      const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
      const info = '"serverInfo":{"name":"deep","version":"1"}';
      const result = `{"protocolVersion":"2025-06-18","capabilities":{},${info},"x":${deep}}`;
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(`{"jsonrpc":"2.0","id":${message.id},"result":${result}}`);
    },
  });
  await expect(newSessions().open(server.url)).rejects.toThrow(RangeError);
  await until(() => server.openSockets === 0);
});
