// Calls from their POST to their end: aborted, timed out, cut, silent for long, by the thousand. What
// is left of each afterwards: no socket, no handler, no listener, no further message.

import { getEventListeners } from 'node:events';
import { Agent } from 'undici';
import { describe, expect, test } from 'vitest';
import { lend } from '../support/http-sessions.ts';
import { leftInTables } from '../support/link-leases.ts';
import {
  answerJson,
  beginEvents,
  eventOf,
  pause,
  type RawExchange,
  type RawHandlers,
  type RawServer,
  until,
} from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import {
  type ClientOnTransport,
  rejectionOf,
  request,
  resultOf,
  stateWithin,
  useTransports,
} from '../support/transport-fixture.ts';

const { closers, serve, make, start, prepare, connect } = useTransports();
const { newSessions, serveRaw } = useSessions();

/** The cancellations share up to 32 connections, which are kept alive for a while. */
const SOCKETS_LEFT = 36;
const NOTHING_LEFT = { handlers: 0, progress: 0, timers: 0 };

const hang = (): void => {};
const hangAfterHead = (each: RawExchange): void => void beginEvents(each);
const hangInBody = ({ response }: RawExchange): void => {
  response.writeHead(200, { 'content-type': 'application/json' }).write('{"jsonrpc":');
};
const streamOn = (each: RawExchange): void => {
  const response = beginEvents(each);
  const more = (): void => {
    if (!response.destroyed) response.write(': more\n', () => setTimeout(more, 2));
  };
  more();
};

const calls = (server: RawServer): number => server.count('POST', 'tools/call');
const cancels = (server: RawServer): readonly unknown[] =>
  server.exchanges
    .filter(({ message }) => message.method === 'notifications/cancelled')
    .map(({ message }) => message.params?.['requestId']);

const callTool = ({ client }: Pick<ClientOnTransport, 'client'>, signal?: AbortSignal) =>
  client.callTool({ name: 'x' }, undefined, signal && { signal });

// Row 11.
describe('50 calls that were given up', () => {
  const CALLS = 50;

  const expectNothingLeft = async (server: RawServer, { client }: ClientOnTransport) => {
    await until(() => new Set(cancels(server)).size === CALLS);
    await until(() => server.pending === 0 && server.openSockets <= SOCKETS_LEFT);
    expect(leftInTables(client)).toEqual(NOTHING_LEFT);
    // The session is as good as before.
    await expect(client.ping()).resolves.toEqual({});
    expect(server.count('POST', 'initialize')).toBe(1);
  };
  const ping: RawHandlers = { ping: (each) => answerJson(each, {}) };

  test.each([
    ['before their headers', hang],
    ['after their headers', hangAfterHead],
    ['in mid-body', hangInBody],
    ['while their streams go on', streamOn],
  ])('by their signals %s leave no socket and no handler', async (_, behave) => {
    const server = await serve({ ...ping, 'tools/call': behave });
    const made = await connect(server.url);
    const controllers = Array.from({ length: CALLS }, () => new AbortController());
    const failed = controllers.map(({ signal }) => rejectionOf(callTool(made, signal)));
    await until(() => calls(server) === CALLS);
    await pause(20);
    for (const controller of controllers) controller.abort(new Error('no more'));
    for (const error of await Promise.all(failed)) {
      expect(error['message']).toContain('no more');
    }
    await expectNothingLeft(server, made);
  });

  test('by their timeouts leave no socket and no handler', async () => {
    const server = await serve({ ...ping, 'tools/call': hangAfterHead });
    const made = await connect(server.url);
    const failed = Array.from({ length: CALLS }, () =>
      rejectionOf(made.client.callTool({ name: 'x' }, undefined, { timeout: 150 })),
    );
    for (const { code } of await Promise.all(failed)) expect(code).toBe(-32_001);
    await until(() => calls(server) === CALLS);
    await expectNothingLeft(server, made);
  });

  test('through leases leave no socket, and the session is tainted by none', async () => {
    const server = await serveRaw({ ...ping, 'tools/call': hangAfterHead });
    const session = await newSessions().open(server.url);
    const lease = lend(session);
    const controller = new AbortController();
    const failed = Array.from({ length: CALLS }, () =>
      rejectionOf(callTool(lease, controller.signal)),
    );
    await until(() => calls(server) === CALLS);
    controller.abort();
    await Promise.all(failed);
    await until(() => server.pending === 0);
    expect(leftInTables(lease.client)).toEqual(NOTHING_LEFT);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    await session.probe(new AbortController().signal);
  });
});

// Row 13b.
test.each(['cancel', 'close'])('100 calls aborted by %s open no spare connection', async (how) => {
  const server = await serve({ 'tools/call': hang });
  const { transport } = await start(server.url);
  const sent = Array.from({ length: 100 }, (_, id) => transport.send(request(id)));
  await until(() => calls(server) === 100);
  const before = server.connections;
  const states = Promise.allSettled(sent);
  if (how === 'close') {
    await transport.close();
  } else {
    const method = 'notifications/cancelled';
    const cancelled = sent.map((_, requestId) =>
      transport.send({ jsonrpc: '2.0', method, params: { requestId } }),
    );
    await Promise.all(cancelled);
  }
  await states;
  await until(() => server.pending === 0);
  await pause(50);
  // The cancellations have connections of their own.
  expect(server.connections - before).toBeLessThanOrEqual(how === 'close' ? 0 : SOCKETS_LEFT);
});

test('2,000 calls, started and aborted in waves, leave no socket and nothing in the tables', async () => {
  const server = await serve({ 'tools/call': hang });
  const made = await connect(server.url);
  for (let wave = 0; wave < 10; wave += 1) {
    const controllers = Array.from({ length: 200 }, () => new AbortController());
    const failed = controllers.map(({ signal }) => rejectionOf(callTool(made, signal)));
    // Of each wave a part is aborted before it is written, a part after.
    if (wave % 2 === 0) await until(() => calls(server) > wave * 100);
    for (const controller of controllers) controller.abort();
    await Promise.all(failed);
  }
  await until(() => server.pending === 0 && server.openSockets <= SOCKETS_LEFT);
  await pause(50);
  expect(server.openSockets).toBeLessThanOrEqual(SOCKETS_LEFT);
  expect(leftInTables(made.client)).toEqual(NOTHING_LEFT);
});

// Row 14b.
test('200 failed calls leave no handler in the client', async () => {
  const server = await serve({
    'tools/call': ({ response, count }) => {
      if (count % 4 === 0) response.writeHead(500).end();
      else if (count % 4 === 1) response.socket?.destroy();
      else if (count % 4 === 2) response.writeHead(202).end();
      else response.writeHead(200, { 'content-type': 'text/event-stream' }).end();
    },
  });
  const { client } = await connect(server.url);
  for (let n = 0; n < 200; n += 1) {
    const onprogress = (): void => {};
    await rejectionOf(client.callTool({ name: 'x' }, undefined, { onprogress }));
  }
  await until(() => leftInTables(client).handlers === 0);
  expect(leftInTables(client)).toEqual(NOTHING_LEFT);
});

// Row 14c.
describe('a signal that outlives its calls', () => {
  const answered: RawHandlers = { 'tools/call': (each) => answerJson(each, { content: [] }) };

  test('posts nothing when it aborts', async () => {
    const server = await serve(answered);
    const made = await connect(server.url);
    const controller = new AbortController();
    for (let n = 0; n < 8; n += 1) await callTool(made, controller.signal);
    const posts = server.count('POST');
    controller.abort();
    await pause(50);
    expect(server.count('POST')).toBe(posts);
  });

  test('has no listener left of 300 calls of a lease', async () => {
    const server = await serveRaw(answered);
    const session = await newSessions().open(server.url);
    const { client } = lend(session);
    const controller = new AbortController();
    for (let n = 0; n < 300; n += 1) await callTool({ client }, controller.signal);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    const posts = server.count('POST');
    controller.abort();
    await pause(50);
    expect(server.count('POST')).toBe(posts);
  });
});

// Row 11c.
describe('a response stream that ends without its response', () => {
  test.each([
    ['ended', ({ response }: RawExchange) => void response.end()],
    ['cut', ({ response }: RawExchange) => void response.destroy()],
    ['reset', ({ response }: RawExchange) => void response.socket?.resetAndDestroy()],
  ])('%s fails its call at once, and no other', async (_, end) => {
    const server = await serve({ 'tools/call': hangAfterHead });
    const { client } = await connect(server.url);
    const first = callTool({ client });
    const second = callTool({ client });
    second.catch(() => {});
    await until(() => calls(server) === 2);
    await pause(20);
    const exchange = server.exchanges.find(({ message }) => message.method === 'tools/call');
    end(exchange as RawExchange);
    expect(await stateWithin(1_000, first)).toBe('rejected');
    expect(await rejectionOf(first)).toMatchObject({ execution: 'unknown', sessionLost: true });
    expect(await stateWithin(50, second)).toBe('pending');
  });

  test('loses the session of a lease: its other calls fail with it', async () => {
    const server = await serveRaw({ 'tools/call': hangAfterHead });
    const session = await newSessions().open(server.url);
    const { client } = lend(session);
    const both = [callTool({ client }), callTool({ client })].map((each) => rejectionOf(each));
    await until(() => calls(server) === 2);
    await pause(20);
    server.exchanges.findLast(({ message }) => message.method === 'tools/call')?.response.end();
    for (const error of await Promise.all(both)) {
      expect(error).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    }
    expect(session.lost?.aborted).toBe(true);
  });
});

// Row 6d.
test('silence ends no stream: not even a dispatcher that would end it', async () => {
  const dispatcher = new Agent({ headersTimeout: 60, bodyTimeout: 60 });
  closers.push(() => dispatcher.destroy());
  const server = await serve({
    GET: hangAfterHead,
    'tools/call': (each) => {
      setTimeout(() => {
        const response = beginEvents(each);
        setTimeout(() => response.end(eventOf(resultOf(each.message.id))), 400);
      }, 400);
    },
  });
  const { client, errors } = await connect(server.url, { dispatcher });
  await callTool({ client });
  expect(server.count('GET')).toBe(1);
  expect(server.pending).toBe(1);
  expect(errors).toEqual([]);
});

describe('a call that is answered', () => {
  test('frees the socket of a stream that the server keeps open, or floods', async () => {
    for (const after of [hang, streamOn]) {
      const server = await serve({
        'tools/call': (each) => {
          const response = beginEvents(each, eventOf(resultOf(each.message.id)));
          if (after === hang) return;
          const flood = (): void => {
            if (!response.destroyed) response.write(': x\n'.repeat(500), () => setImmediate(flood));
          };
          flood();
        },
      });
      const { client } = await connect(server.url);
      await callTool({ client });
      await until(() => server.pending === 0);
    }
  });

  test('keeps its connection when the server ends the stream with the answer', async () => {
    const server = await serve({
      'tools/call': (each) => {
        beginEvents(each, eventOf(resultOf(each.message.id))).end();
      },
    });
    const { client } = await connect(server.url, { notifications: false });
    for (let n = 0; n < 30; n += 1) {
      await callTool({ client });
      await until(() => server.pending === 0);
    }
    expect(server.connections).toBeLessThanOrEqual(3);
  });
});

describe('`initialize`', () => {
  test('that times out is cut off, and never cancelled by a message', async () => {
    const server = await serve({ initialize: hang });
    const { client, transport } = prepare(server.url);
    const failed = client.connect(transport, { timeout: 80 });
    expect(await rejectionOf(failed)).toMatchObject({ code: -32_001 });
    await until(() => server.pending === 0 && server.openSockets === 0);
    expect(cancels(server)).toEqual([]);
  });

  test('that is cancelled by a message is cut off, and the server hears nothing', async () => {
    const server = await serve({ initialize: hang });
    const transport = make(server.url);
    await transport.start();
    const sent = transport.send(request(0, 'initialize'));
    await until(() => server.count('POST') === 1);
    const params = { requestId: 0 };
    await transport.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
    await sent;
    await until(() => server.pending === 0);
    await pause(30);
    expect(cancels(server)).toEqual([]);
  });
});

describe('sending', () => {
  test('rejects before `start`, and `start` rejects the second time', async () => {
    const server = await serve();
    const transport = make(server.url);
    await expect(transport.send(request(1))).rejects.toThrow('not started');
    await transport.start();
    await expect(transport.start()).rejects.toThrow('started already');
    expect(server.connections).toBe(0);
  });

  test('of a cancellation of an unknown call, or a finished one, tells the server nothing', async () => {
    const server = await serve({ 'tools/call': (each) => answerJson(each, { content: [] }) });
    const { transport } = await start(server.url);
    await transport.send(request(1));
    const method = 'notifications/cancelled';
    for (const params of [{ requestId: 1 }, { requestId: 77 }, {}, undefined]) {
      await transport.send({ jsonrpc: '2.0', method, ...(params && { params }) });
    }
    expect(server.count('POST', method)).toBe(0);
  });

  test('of calls with string ids works as with numbers', async () => {
    const server = await serve({
      'tools/call': (each) => answerJson(each, { content: [] }),
      'tools/hang': hang,
    });
    const { transport, messages } = await start(server.url);
    await transport.send(request('a-b-c'));
    expect(messages[0]?.message).toMatchObject({ id: 'a-b-c' });
    const sent = transport.send(request('d', 'tools/hang'));
    await until(() => server.count('POST', 'tools/hang') === 1);
    const params = { requestId: 'd' };
    await transport.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
    await sent;
    await until(() => server.pending === 0);
    expect(cancels(server)).toEqual(['d']);
  });

  test('of an id that is in flight is refused, and what has it goes on', async () => {
    const held: RawExchange[] = [];
    const server = await serve({ 'tools/call': (each) => void held.push(each) });
    // Not closed with the transport: what is forgotten would keep its socket.
    const dispatcher = new Agent();
    closers.push(() => dispatcher.destroy());
    const { transport, messages } = await start(server.url, { dispatcher });
    const first = transport.send(request(1));
    const second = await rejectionOf(transport.send(request(1)));
    expect(second['message']).toBe('A request with the id 1 is in flight already');
    await until(() => held.length === 1);
    for (const each of held) answerJson(each, {});
    await first;
    const third = rejectionOf(transport.send(request(1)));
    await until(() => held.length === 2);
    await transport.close();
    await third;
    await until(() => server.pending === 0);
    expect(messages.filter(({ message }) => 'result' in message)).toHaveLength(1);
  });
});
