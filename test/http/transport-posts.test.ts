// Messages that get no response: notifications, and answers to what the server asked. Few at a time,
// each with a deadline, and the last words of a teardown.

import { ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { hostileServer, ManualClock } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { lend } from '../support/http-sessions.ts';
import {
  beginEvents,
  eventOf,
  pause,
  type RawExchange,
  type RawServer,
  until,
} from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import {
  notification,
  rejectionOf,
  request,
  resultOf,
  stateWithin,
  useTransports,
} from '../support/transport-fixture.ts';

const { serve, start, prepare, connect } = useTransports();
const { newSessions, serveRaw } = useSessions();
const closing = closeAfterEach();

const hang = (): void => {};
const accept = ({ response }: RawExchange): void => void response.writeHead(202).end();
const acceptWithoutEnd = ({ response }: RawExchange): void => {
  response.writeHead(202, { 'content-type': 'text/plain' }).write('still ');
};

const pings = (count: number): string =>
  Array.from({ length: count }, (_, n) =>
    eventOf({ jsonrpc: '2.0', id: `ping-${n}`, method: 'ping' }),
  ).join('');

/** The most sockets that were open at once, from now on until `stop`. */
function watchSockets(server: RawServer): { peak: () => number; stop: () => void } {
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, server.openSockets);
  }, 1);
  return { peak: () => peak, stop: () => clearInterval(timer) };
}

// Row 6b.
describe('`notifications/initialized` that nobody takes', () => {
  test('fails the open after `acceptTimeoutMs`, and frees its socket', async () => {
    const server = closing(await hostileServer('initialized-unanswered'));
    const { client, transport } = prepare(server.url, { acceptTimeoutMs: 80 });
    const error = await rejectionOf(client.connect(transport));
    expect(error).toMatchObject({ code: 'TIMEOUT', execution: 'unknown', sessionLost: false });
    await until(() => server.openSockets === 0);
  });

  test('is let go of at once by close', async () => {
    const server = closing(await hostileServer('initialized-unanswered'));
    const { client, transport } = prepare(server.url);
    const failed = rejectionOf(client.connect(transport));
    await until(() => server.count('POST') === 2);
    await client.close();
    expect(await failed).toMatchObject({ code: 'SESSION_LOST' });
    await until(() => server.openSockets === 0);
  });

  test("ends an open of a session with the open's signal", async () => {
    const server = closing(await hostileServer('initialized-unanswered'));
    const controller = new AbortController();
    const { signal } = controller;
    const failed = rejectionOf(newSessions({ closeTimeoutMs: 200 }).open(server.url, { signal }));
    await until(() => server.count('POST') === 2);
    controller.abort(new Error('enough'));
    expect(await failed).toMatchObject({ message: 'enough' });
    await until(() => server.openSockets === 0);
    expect(server.count('DELETE')).toBe(1);
  });
});

// Row 6c.
test('a 202 whose body never ends holds neither the open nor its socket', async () => {
  const server = closing(await hostileServer('accepted-never-ends'));
  const { transport } = await connect(server.url);
  await transport.send(notification());
  // All but the notification stream.
  await until(() => server.pending === server.count('GET'));
});

describe('a message that gets no response', () => {
  test.each([
    [200, { 'content-type': 'text/event-stream' }],
    [200, {}],
    [202, {}],
    [204, {}],
  ])('is taken with status %i', async (status, headers) => {
    const server = await serve({
      'notifications/x': ({ response }) => response.writeHead(status, headers).end(),
    });
    const { transport } = await start(server.url);
    await transport.send(notification());
  });

  test.each([400, 403, 404, 429, 500, 302])('is refused with status %i', async (status) => {
    const server = await serve({
      'notifications/x': ({ response }) => response.writeHead(status).end('because'),
    });
    const { transport } = await start(server.url);
    const error = await rejectionOf(transport.send(notification()));
    expect(error).toMatchObject({ status, body: 'because', sessionLost: status === 404 });
  });

  test('waits for its turn: 16 are on their way at once, in the order of their sends', async () => {
    const taken: RawExchange[] = [];
    const server = await serve({ 'notifications/x': (each) => void taken.push(each) });
    const { transport } = await start(server.url);
    const sent = Array.from({ length: 40 }, (_, n) =>
      transport.send({ jsonrpc: '2.0', method: 'notifications/x', params: { n } }),
    );
    await until(() => taken.length === 16);
    await pause(30);
    expect(taken).toHaveLength(16);
    for (let n = 0; n < 40; n += 1) {
      await until(() => taken.length === Math.min(16 + n, 40));
      accept(taken[n] as RawExchange);
    }
    await Promise.all(sent);
    const later = taken.slice(16).map(({ message }) => message.params?.['n']);
    expect(later).toEqual(Array.from({ length: 24 }, (_, n) => 16 + n));
    // A connection that has just been freed takes the next message a turn too late.
    expect(server.connections).toBeLessThanOrEqual(32);
  });

  test('is refused when 1,024 wait, and not executed', async () => {
    const server = await serve({ 'notifications/x': hang });
    const { transport } = await start(server.url);
    const sent = Array.from({ length: 16 + 1_024 }, () => transport.send(notification()));
    const states = Promise.allSettled(sent);
    const error = await rejectionOf(transport.send(notification()));
    expect(error).toMatchObject({ code: 'SATURATED', execution: 'not-executed' });
    await transport.close();
    expect((await states).every(({ status }) => status === 'rejected')).toBe(true);
    await until(() => server.openSockets === 0);
  });
});

describe('a server that asks', () => {
  test('1,000 times and takes no answer costs 16 sockets, also when their time is up', async () => {
    const server = await serve({
      GET: (each) => void beginEvents(each, pings(1_000)),
      response: hang,
    });
    const { errors } = await connect(server.url, { acceptTimeoutMs: 400 });
    const sockets = watchSockets(server);
    await until(() => errors.length === 1_000);
    await until(() => server.pending === 1);
    await pause(50);
    sockets.stop();
    // The stream is one more, and `initialized` may have been on another.
    expect(sockets.peak()).toBeLessThanOrEqual(18);
  });

  test('1,000 times and takes every answer gets each once', async () => {
    const server = await serve({
      GET: (each) => void beginEvents(each, pings(1_000)),
      response: (each) => void setTimeout(() => accept(each), 1),
    });
    const { errors } = await connect(server.url);
    const answers = (): unknown[] =>
      server.exchanges
        .filter(({ body }) => body.includes('"result"'))
        .map(({ message }) => message.id);
    await until(() => answers().length === 1_000);
    expect(new Set(answers()).size).toBe(1_000);
    expect(errors).toEqual([]);
    expect(server.connections).toBeLessThanOrEqual(34);
  });

  test('on the stream of a call is answered while the call waits', async () => {
    const server = await serve({
      'tools/call': (each) => {
        beginEvents(each, eventOf({ jsonrpc: '2.0', id: 'r', method: 'roots/list' }));
      },
      response: (each) => {
        const call = server.exchanges.find(({ message }) => message.method === 'tools/call');
        call?.response.end(eventOf(resultOf(call.message.id, each.body)));
        accept(each);
      },
    });
    const made = prepare(server.url, {}, { capabilities: { roots: {} } });
    made.client.setRequestHandler(ListRootsRequestSchema, () => ({
      roots: [{ uri: 'file:///r' }],
    }));
    await made.client.connect(made.transport);
    const result = await made.client.callTool({ name: 'x' });
    expect(JSON.stringify(result)).toContain('file:///r');
  });

  test('of a session that nobody leases is answered, in a bounded number of sockets', async () => {
    const server = await serveRaw({
      GET: (each) => void beginEvents(each, pings(300)),
      response: hang,
    });
    const session = await newSessions().open({ url: server.url, notifications: true });
    await until(() => server.pending >= 16);
    await pause(50);
    expect(server.openSockets).toBeLessThanOrEqual(18);
    expect(session.lost?.aborted).toBe(false);
    lend(session).release();
  });
});

describe('the deadline of a message', () => {
  test('runs from its send, also while it waits for its turn', async () => {
    const clock = new ManualClock();
    const server = await serve({ 'notifications/x': hang });
    const { transport } = await start(server.url, { clock, acceptTimeoutMs: 5_000 });
    const sent = Array.from({ length: 800 }, () => rejectionOf(transport.send(notification())));
    await until(() => server.count('POST') === 16);
    await clock.advance(5_000);
    for (const error of await Promise.all(sent)) expect(error).toMatchObject({ code: 'TIMEOUT' });
    await until(() => server.openSockets === 0);
    await pause(50);
    expect(server.count('POST')).toBe(16);
    expect(server.connections).toBe(16);
  });

  test('ends with its status, and the rest of the answer has 100 ms', async () => {
    const clock = new ManualClock();
    const server = await serve({ 'notifications/x': acceptWithoutEnd });
    const { transport } = await start(server.url, { clock });
    await transport.send(notification());
    expect(server.pending).toBe(1);
    await clock.advance(100);
    await until(() => server.pending === 0);
  });
});

describe('a fence', () => {
  test('keeps back what waits, and lets go on what is on its way', async () => {
    const taken: RawExchange[] = [];
    const server = await serve({ 'notifications/x': (each) => void taken.push(each) });
    const { transport } = await start(server.url);
    const sent = Array.from({ length: 20 }, () => transport.send(notification()));
    const states = Promise.allSettled(sent);
    await until(() => taken.length === 16);
    const reason = new Error('closing');
    transport.fence(reason);
    expect(await rejectionOf(transport.send(notification()))).toBe(reason);
    expect(await rejectionOf(transport.send(request(1)))).toBe(reason);
    for (const each of taken.slice()) accept(each);
    const settled = await states;
    expect(settled.slice(0, 16).every(({ status }) => status === 'fulfilled')).toBe(true);
    expect(settled.slice(16)).toEqual(Array(4).fill({ status: 'rejected', reason }));
    expect(taken).toHaveLength(16);
  });

  test('lets last words through, before what waits; close rejects them', async () => {
    const taken: RawExchange[] = [];
    const server = await serve({
      'notifications/x': (each) => void taken.push(each),
      'notifications/cancelled': (each) => void taken.push(each),
    });
    const { transport } = await start(server.url);
    const sent = Array.from({ length: 20 }, () => transport.send(notification()));
    for (const each of sent) each.catch(() => {});
    await until(() => taken.length === 16);
    transport.fence();
    const words = ['a', 'b'].map((reason) =>
      transport.sendLastWord({
        jsonrpc: '2.0',
        method: 'notifications/cancelled',
        params: { reason },
      }),
    );
    for (const each of taken.slice(0, 6)) accept(each);
    await until(() => taken.length === 18);
    const told = taken.slice(16).map(({ message }) => message.params?.['reason']);
    expect(told).toEqual(['a', 'b']);
    for (const each of taken.slice(16)) accept(each);
    await Promise.all(words);
    await transport.close();
    const late = transport.sendLastWord(notification());
    expect(await stateWithin(1_000, late)).toBe('rejected');
    await until(() => server.openSockets === 0);
    expect(taken).toHaveLength(18);
  });

  test('lets last words through also when as many messages wait as may', async () => {
    const taken: RawExchange[] = [];
    const server = await serve({
      'notifications/x': (each) => void taken.push(each),
      'notifications/cancelled': accept,
    });
    const { transport } = await start(server.url);
    const sent = Array.from({ length: 16 + 1_024 }, () => transport.send(notification()));
    const states = Promise.allSettled(sent);
    await until(() => taken.length === 16);
    transport.fence();
    const word = transport.sendLastWord(notification('notifications/cancelled'));
    for (const each of taken) accept(each);
    expect(await stateWithin(2_000, word)).toBe('fulfilled');
    await states;
  });
});
