// A session over the older HTTP+SSE protocol at work: whose headers its messages carry, in which
// order what came is heard, and what frees a call's socket.

import type { ServerResponse } from 'node:http';
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { describe, expect, it } from 'vitest';
import { describeConnection } from '../support/connection-contract.ts';
import { HttpSessions, lend, type OpenSession, textOf } from '../support/http-sessions.ts';
import { eventOf, pause, until } from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import {
  echo,
  initialized,
  type SseExchange,
  type SseServer,
  startSseServer,
  take,
} from '../support/sse-server.ts';

const { newSessions, serveSse } = useSessions();

const call = (client: Client, n: unknown = 0): Promise<unknown> =>
  client.callTool({ name: 'echo', arguments: { n } });

const open = (server: SseServer, context: Parameters<HttpSessions['open']>[1] = {}) =>
  newSessions().open({ url: server.url, transport: 'sse', leasesPerSession: 4 }, context);

const postsOf = (server: SseServer, method: string) =>
  server.exchanges.filter(({ message }) => message.method === method);

describeConnection('a session over SSE', async () => {
  const server = await startSseServer({ 'tools/call': echo });
  const sessions = new HttpSessions();
  const session = await sessions.open({ url: server.url, transport: 'sse' });
  return {
    connection: session,
    call: (client: Client) => call(client),
    settle: () => Promise.resolve(),
    dispose: () => server.close(),
  };
});

describe('the headers of a message over SSE', () => {
  it('are those of its lease, however the leases overlap', async () => {
    const server = await serveSse({
      // So that answers overtake each other.
      'tools/call': (exchange) => {
        setTimeout(() => echo(exchange), Number(exchange.message.id) % 3);
      },
    });
    const session = await open(server);
    const names = ['ada', 'bob', 'cyd', 'dan'];
    // The later a lease is asked, the sooner its headers come: an order would show.
    const leases = names.map((name, at) => {
      const client = session.lend({
        end: () => {},
        endedWith: () => undefined,
        headers: async () => {
          await pause(12 - 3 * at);
          return { authorization: name, 'x-turn': String(at) };
        },
      });
      return { name, client };
    });
    const rounds = Array.from({ length: 5 }, (_, n) => n);
    await Promise.all(
      leases.flatMap(({ client, name }) => rounds.map((n) => call(client, `${name} ${n}`))),
    );
    await Promise.all(leases.map(({ client }) => client.sendRootsListChanged()));
    const calls = postsOf(server, 'tools/call');
    expect(calls).toHaveLength(20);
    for (const { headers, message } of calls) {
      const [name] = JSON.stringify(message.params).match(/ada|bob|cyd|dan/) ?? [];
      expect(headers.authorization).toBe(name);
    }
    const told = postsOf(server, 'notifications/roots/list_changed');
    expect(told.map(({ headers }) => headers.authorization).toSorted()).toEqual(names);
    for (const { client } of leases) session.giveBack(client);
  });

  it('are the newest of the target where there is no lease: stream, handshake, ping', async () => {
    const server = await serveSse();
    let token = 'first';
    const session = await open(server, { headers: () => ({ authorization: token }) });
    token = 'second';
    await session.probe(new AbortController().signal);
    const [stream] = server.streams;
    stream?.send({ jsonrpc: '2.0', id: 'p', method: 'ping' });
    await until(() => server.exchanges.length === 5);
    expect(server.exchanges.map(({ headers }) => headers.authorization)).toEqual([
      ...['first', 'first', 'first'],
      ...['second', 'second'],
    ]);
    expect(server.exchanges[4]?.message).toEqual({ jsonrpc: '2.0', id: 'p', result: {} });
  });

  it('can name no session and no host of their own', async () => {
    const server = await serveSse({ 'tools/call': echo });
    const session = await open(server);
    const { client } = lend(session, {
      headers: { 'Mcp-Session-Id': 'x', 'mcp-protocol-version': '1', HOST: 'evil', 'X-Fine': 'y' },
    });
    await call(client);
    const [post] = postsOf(server, 'tools/call');
    expect(post?.headers).toMatchObject({ 'x-fine': 'y', host: server.url.host });
    expect(post?.headers).not.toHaveProperty('mcp-session-id');
    expect(post?.headers['mcp-protocol-version']).not.toBe('1');
  });

  it.each([{}, { code: 'ECONNREFUSED' }, { status: 404 }])(
    'fail the call that they could not be had for, and no more, with an error of %o',
    async (facts) => {
      const server = await serveSse({ 'tools/call': echo });
      const session = await open(server);
      const broken = Object.assign(new Error('no vault'), facts);
      const client = session.lend({
        end: () => {},
        endedWith: () => undefined,
        headers: () => Promise.reject(broken),
      });
      await expect(call(client)).rejects.toBe(broken);
      await expect(call(lend(session).client)).resolves.toBeDefined();
      expect(session.lost?.aborted).toBe(false);
    },
  );
});

describe('what comes over the stream of an SSE session', () => {
  it.each<[string, (response: ServerResponse) => void]>([
    ['end', (response) => void response.end()],
    ['cut', (response) => void response.socket?.end()],
  ])('is heard in order: progress before the answer, and that before the %s', async (_, end) => {
    const server = await serveSse({
      'tools/call': ({ message, response, stream }) => {
        response.writeHead(202).end();
        const progress = Array.from({ length: 20 }, (_, at) => {
          const params = { progressToken: message.id, progress: at + 1 };
          return eventOf({ jsonrpc: '2.0', method: 'notifications/progress', params });
        });
        const answer = eventOf({ jsonrpc: '2.0', id: message.id, result: { content: [] } });
        if (stream === undefined) return;
        // In one packet, and the end with it.
        stream.response.socket?.cork();
        stream.response.write(`${progress.join('')}${answer}`);
        end(stream.response);
      },
    });
    const session = await open(server);
    const heard: number[] = [];
    const { client } = lend(session);
    const result = await client.callTool({ name: 'long' }, undefined, {
      onprogress: ({ progress }) => void heard.push(progress),
    });
    expect(result).toEqual({ content: [] });
    expect(heard).toEqual(Array.from({ length: 20 }, (_, at) => at + 1));
    await until(() => session.lost?.aborted === true);
    expect(session.lost?.reason).toMatchObject({ cause: { code: 'RESPONSE_CUT' } });
  });

  it('may come before the call was taken, in parts and with any line ends', async () => {
    const server = await serveSse({
      'tools/call': ({ message, stream }) => {
        const answer = eventOf({ jsonrpc: '2.0', id: message.id, result: { content: [] } });
        const bytes = Buffer.from(`: hello\r\n\r\nid: 7\r${answer.replaceAll('\n', '\r\n')}`);
        for (const byte of bytes) stream?.response.write(Buffer.of(byte));
      },
    });
    const session = await open(server);
    await expect(call(lend(session).client)).resolves.toEqual({ content: [] });
    // The POST that is never answered has lost its socket.
    await until(() => server.pending === 1);
    expect(session.lost?.aborted).toBe(false);
  });

  it('reaches no lease when it is for nobody in particular and several share the session', async () => {
    const server = await serveSse();
    const asked: string[] = [];
    const session = await open(server, {
      onRequest: async ({ method }) => {
        asked.push(method);
        return { result: { roots: [] } };
      },
    });
    const heard: string[] = [];
    for (const name of ['ada', 'bob']) {
      lend(session, { onRequest: () => Promise.reject(heard.push(name)) });
    }
    server.streams[0]?.send({ jsonrpc: '2.0', id: 1, method: 'roots/list' });
    await until(() => server.exchanges.at(-1)?.message.id === 1);
    expect(server.exchanges.at(-1)?.message).toMatchObject({ result: { roots: [] } });
    expect({ asked, heard }).toEqual({ asked: ['roots/list'], heard: [] });
  });
});

describe('a call over SSE', () => {
  it('that is cancelled tells the server, and frees the socket that its POST holds', async () => {
    const server = await serveSse({ 'tools/call': () => {} });
    const session = await open(server);
    const { client } = lend(session);
    const controller = new AbortController();
    const { signal } = controller;
    const outcome = client
      .callTool({ name: 'hang' }, undefined, { signal })
      .catch((error) => error);
    await until(() => server.count('POST', 'tools/call') === 1);
    expect(server.pending).toBe(2);
    controller.abort('enough');
    expect(await outcome).toMatchObject({ message: expect.stringContaining('enough') });
    await until(() => server.count('POST', 'notifications/cancelled') === 1);
    await until(() => server.pending === 1);
    const [hung] = postsOf(server, 'tools/call');
    const [cancelled] = postsOf(server, 'notifications/cancelled');
    expect(cancelled?.message.params).toMatchObject({ requestId: hung?.message.id });
    expect(session.lost?.aborted).toBe(false);
  });

  it('that was taken waits for its own timeout, and the session goes on', async () => {
    const server = await serveSse({ 'tools/call': take });
    const session = await open(server);
    const { client } = lend(session);
    const waiting = client.callTool({ name: 'slow' }, undefined, { timeout: 60 });
    await expect(waiting).rejects.toMatchObject({ code: -32_001 });
    await session.probe(new AbortController().signal);
    expect(session.lost?.aborted).toBe(false);
  });

  it('that was taken by an answer that never ends loses that socket, and goes on', async () => {
    const server = await serveSse({
      'tools/call': ({ response }) => void response.writeHead(202).write('Acc'),
    });
    const { client } = lend(await open(server));
    const outcome = call(client, 'answered');
    await until(() => server.count('POST', 'tools/call') === 1);
    await until(() => server.pending === 1);
    const id = postsOf(server, 'tools/call')[0]?.message.id;
    server.streams[0]?.send({ jsonrpc: '2.0', id, result: { content: [] } });
    await expect(outcome).resolves.toEqual({ content: [] });
  });

  it('that was taken by an answer that is cut goes on', async () => {
    const server = await serveSse({
      'tools/call': ({ response, message, stream }) => {
        response.writeHead(202, { 'content-length': '8' }).write('Acc', () => response.destroy());
        response.once('close', () =>
          setTimeout(
            () => stream?.send({ jsonrpc: '2.0', id: message.id, result: { content: [] } }),
            40,
          ),
        );
      },
    });
    let worn = 0;
    const session = await open(server, { worn: () => (worn += 1) });
    await expect(call(lend(session).client)).resolves.toEqual({ content: [] });
    expect({ worn, lost: session.lost?.aborted }).toEqual({ worn: 0, lost: false });
  });

  it('reuses connections: the stream has one, and calls in turn share another', async () => {
    const server = await serveSse({ 'tools/call': echo });
    const { client } = lend(await open(server));
    for (let n = 0; n < 20; n += 1) {
      expect(textOf(await call(client, n))).toBe(JSON.stringify({ n }));
    }
    expect(server.connections).toBeLessThanOrEqual(6);
  });
});

it('a server that takes no pongs costs an SSE session 16 sockets, and no more', async () => {
  const server = await serveSse({ response: () => {} });
  const session: OpenSession = await open(server);
  const [stream] = server.streams;
  for (let id = 0; id < 40; id += 1) stream?.send({ jsonrpc: '2.0', id, method: 'ping' });
  await until(() => server.pending === 17);
  await pause(50);
  expect(server.pending).toBe(17);
  expect(session.lost?.aborted).toBe(false);
});

it('a server may name another endpoint of its origin later', async () => {
  const server = await serveSse({
    'tools/call': (exchange: SseExchange) => {
      const [stream] = server.streams;
      echo({ ...exchange, stream });
    },
    initialize: (exchange) => {
      take(exchange);
      exchange.stream?.send(initialized(exchange));
      exchange.stream?.response.write('event: endpoint\ndata: /elsewhere\n\n');
    },
    'notifications/initialized': take,
  });
  const { client } = lend(await open(server));
  await call(client);
  expect(postsOf(server, 'tools/call')[0]?.path).toBe('/elsewhere');
});
