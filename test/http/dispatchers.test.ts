import { createServer, type Server, type Socket } from 'node:net';
import { Agent, fetch } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { Dispatchers } from '../../src/http/dispatchers.ts';
import { type RawServer, startRawServer } from '../support/raw-server.ts';

let servers: RawServer[] = [];
afterEach(async () => {
  await Promise.all(servers.map((server) => server.close()));
  servers = [];
});

async function start(...args: Parameters<typeof startRawServer>): Promise<RawServer> {
  const server = await startRawServer(...args);
  servers.push(server);
  return server;
}

const over = new Error('over');

describe('dispatchers', () => {
  it('are one pool per origin, shared by the holds, and gone with the last of them', async () => {
    const server = await start(({ response }) => response.end('ok'));
    const { origin } = server.url;
    const dispatchers = new Dispatchers({ connectTimeoutMs: 1_000 });
    const [first, second] = [dispatchers.hold(), dispatchers.hold()];
    expect(first.for(origin)).toBe(first.for(origin));
    expect(first.for(origin)).toBe(second.for(origin));
    expect(first.for('http://127.0.0.2:1')).not.toBe(first.for(origin));
    await (await fetch(server.url, { dispatcher: first.for(origin) })).text();
    expect(server.openSockets).toBe(1);
    first.release(over);
    first.release(over);
    expect(dispatchers.origins).toEqual([origin]);
    // Undici takes a turn to see that the socket is free.
    await new Promise((resolve) => setImmediate(resolve));
    await (await fetch(server.url, { dispatcher: second.for(origin) })).text();
    expect(server.connections).toBe(1);
    second.release(over);
    expect(dispatchers.origins).toEqual([]);
    await expect.poll(() => server.openSockets).toBe(0);
    expect(() => first.for(origin)).toThrow(over);
  });

  it('open no spare connection for a request that was aborted (row 13b)', async () => {
    const server = await start(({ response, path }) => {
      if (path === '/answers') response.end('ok');
      if (path === '/streams') response.write('…');
    });
    const hold = new Dispatchers({ connectTimeoutMs: 1_000 }).hold();
    const dispatcher = hold.for(server.url.origin);
    const request = async (path: string, signal?: AbortSignal): Promise<string> => {
      const init = { dispatcher, ...(signal && { signal }) };
      return (await fetch(new URL(path, server.url), init)).text();
    };
    const controllers = Array.from({ length: 20 }, () => new AbortController());
    // Half of them hang before the answer begins, the others in the middle of it.
    const hung = controllers.map(({ signal }, n) =>
      request(n % 2 === 0 ? '/hangs' : '/streams', signal).catch((error: unknown) => error),
    );
    await expect.poll(() => server.exchanges.length).toBe(20);
    for (const controller of controllers) controller.abort();
    await Promise.all(hung);
    await expect.poll(() => server.openSockets).toBe(0);
    await expect(request('/answers')).resolves.toBe('ok');
    await expect(request('/answers')).resolves.toBe('ok');
    expect(server.connections).toBeLessThanOrEqual(22);
    hold.release(over);
    await expect.poll(() => server.openSockets).toBe(0);
  });

  it('follow a redirect to the origin that it names', async () => {
    const there = await start(({ response, path }) => response.end(`there ${path}`));
    const here = await start(({ response }) => {
      response.writeHead(302, { location: new URL('/elsewhere', there.url).href }).end();
    });
    const hold = new Dispatchers({ connectTimeoutMs: 1_000 }).hold();
    const answer = await fetch(here.url, { dispatcher: hold.router });
    await expect(answer.text()).resolves.toBe('there /elsewhere');
    expect(here.exchanges).toHaveLength(1);
    hold.release(over);
    await expect(fetch(here.url, { dispatcher: hold.router })).rejects.toMatchObject({
      cause: over,
    });
    await expect.poll(() => here.openSockets + there.openSockets).toBe(0);
  });

  it('lose sockets in use with their last hold, and open no spare one', async () => {
    const server = await start(({ response }) => response.write('never ends'));
    const dispatchers = new Dispatchers({ connectTimeoutMs: 1_000 });
    const hold = dispatchers.hold();
    const controller = new AbortController();
    const answers = Array.from({ length: 20 }, () =>
      fetch(server.url, {
        dispatcher: hold.for(server.url.origin),
        signal: controller.signal,
      }).then((response) => response.text()),
    );
    const outcomes = Promise.allSettled(answers);
    await expect.poll(() => server.openSockets).toBe(20);
    hold.release(over);
    controller.abort();
    for (const { status } of await outcomes) expect(status).toBe('rejected');
    await expect.poll(() => server.openSockets).toBe(0);
    expect(server.connections).toBe(20);
  });

  it('give up connections that are still being made', async () => {
    // A TLS handshake that is never answered: connected, but not there yet.
    const sockets = new Set<Socket>();
    const mute: Server = createServer((socket) => {
      sockets.add(socket);
      socket.resume();
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const { port } = mute.address() as { port: number };
    const hold = new Dispatchers({ connectTimeoutMs: 60_000 }).hold();
    const origin = `https://127.0.0.1:${port}`;
    const answer = fetch(origin, { dispatcher: hold.for(origin) });
    const outcome = Promise.allSettled([answer]);
    await expect.poll(() => sockets.size).toBe(1);
    hold.release(over);
    expect((await outcome)[0]!.status).toBe('rejected');
    await expect.poll(() => sockets.size).toBe(0);
    await new Promise((resolve) => mute.close(resolve));
  });

  it('of the caller are used as given and never closed', async () => {
    const server = await start(({ response }) => response.end('ok'));
    const agent = new Agent();
    const asked: string[] = [];
    const byOrigin = (origin: string): Agent => {
      asked.push(origin);
      return agent;
    };
    for (const source of [agent, byOrigin]) {
      const hold = new Dispatchers({ source, connectTimeoutMs: 1_000 }).hold();
      expect(hold.for(server.url.origin)).toBe(agent);
      hold.release(over);
    }
    expect(asked).toEqual([server.url.origin]);
    await expect((await fetch(server.url, { dispatcher: agent })).text()).resolves.toBe('ok');
    await agent.destroy();
  });
});
