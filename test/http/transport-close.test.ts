// The end of a transport, at every stage and against every kind of server: sends settle, sockets are
// gone, nothing is sent or told afterwards. And the DELETE before it.

import { hostileServer, ManualClock } from 'mcp-session-pool/testing';
import { Agent } from 'undici';
import { describe, expect, test, vi } from 'vitest';
import { SessionPool } from '../../src/session-pool.ts';
import { startByteServer } from '../support/byte-server.ts';
import {
  answerInitialize,
  beginEvents,
  eventOf,
  pause,
  type RawExchange,
  type RawHandlers,
  until,
} from '../support/raw-server.ts';
import {
  notification,
  rejectionOf,
  request,
  resultOf,
  stateWithin,
  type TransportPlan,
  useTransports,
} from '../support/transport-fixture.ts';

const { closers, serve, make, start, prepare, connect } = useTransports();

const hang = (): void => {};
/** A dispatcher that a transport does not close. */
const ownAgent = (): Agent => {
  const agent = new Agent();
  closers.push(() => agent.destroy());
  return agent;
};
const hold = (each: RawExchange): void => void beginEvents(each);

describe('close', () => {
  const stages: [string, RawHandlers, TransportPlan?][] = [
    ['before headers', { 'tools/call': hang, 'notifications/x': hang, GET: hang }],
    [
      'in mid-body',
      {
        'tools/call': hold,
        'notifications/x': ({ response }) => void response.writeHead(202).write('x'),
        GET: hold,
      },
    ],
    [
      'in the body of a refusal',
      {
        'tools/call': ({ response }) => void response.writeHead(503).write('x'),
        'notifications/x': ({ response }) => void response.writeHead(503).write('x'),
        GET: ({ response }) => void response.writeHead(503).write('x'),
      },
    ],
    [
      // Row 5.
      'while all its streams wait to be resumed',
      {
        'tools/call': (each) => void beginEvents(each, 'retry: 40\nid: e1\ndata:\n\n').end(),
        'notifications/x': hang,
        GET: (each) => void beginEvents(each, 'retry: 40\nid: e1\ndata:\n\n').end(),
      },
    ],
    [
      // Row 4.
      'while its resumed streams are not answered',
      {
        'tools/call': (each) => void beginEvents(each, 'retry: 0\nid: e1\ndata:\n\n').end(),
        'notifications/x': hang,
        GET: (each) => {
          if (each.count === 1) beginEvents(each, 'retry: 0\nid: e1\ndata:\n\n').end();
        },
      },
    ],
    [
      'while the headers of its requests are asked for',
      {},
      { headers: () => new Promise(() => {}) },
    ],
  ];

  test.each(stages)('%s settles every send and frees every socket', async (_, handlers, plan) => {
    const server = await serve(handlers);
    const { transport, messages, errors } = await start(server.url, plan);
    const sent = Array.from({ length: 5 }, (_each, id) => transport.send(request(id)));
    sent.push(transport.send(notification()));
    transport.listen();
    await pause(150);
    const states = Promise.allSettled(sent);
    await transport.close();
    expect(await stateWithin(1_000, states)).toBe('fulfilled');
    for (const each of (await states).slice(0, 5)) expect(each.status).toBe('rejected');
    await until(() => server.openSockets === 0);
    const { connections } = server;
    const [told, asked] = [messages.length + errors.length, server.exchanges.length];
    // Longer than any wait to resume here, and than the notification stream's floor.
    await pause(1_200);
    expect(server.connections).toBe(connections);
    expect(server.exchanges).toHaveLength(asked);
    expect(messages.length + errors.length).toBe(told);
  });

  test('settles calls that share an id, on a dispatcher of the caller', async () => {
    const server = await serve({ 'tools/call': hang });
    const { transport } = await start(server.url, { dispatcher: ownAgent() });
    const states = Promise.allSettled([transport.send(request(1)), transport.send(request(1))]);
    await until(() => server.count('POST', 'tools/call') > 0);
    await pause(20);
    await transport.close();
    expect(await stateWithin(1_000, states)).toBe('fulfilled');
    await until(() => server.pending === 0);
  });

  test('while it connects frees the socket in the same turn', async () => {
    // A TLS handshake that nobody answers.
    const sockets = await startByteServer(() => {}, { onConnection: (socket) => socket.resume() });
    closers.push(() => sockets.close());
    const url = sockets.url.href.replace('http:', 'https:');
    const { client, transport } = prepare(url);
    const failed = rejectionOf(client.connect(transport));
    await sockets.connection(1);
    await client.close();
    await failed;
    await until(() => sockets.openSockets === 0);
    expect(sockets.connections).toBe(1);
  });

  test('tells `onclose` once, after its sends were settled, and no message any more', async () => {
    // Row 10.
    const server = await serve({
      GET: (each) => {
        const response = beginEvents(each);
        const more = (): void => {
          if (response.destroyed) return;
          response.write(eventOf(notification()).repeat(50), () => setImmediate(more));
        };
        more();
      },
      'tools/call': (each) => void beginEvents(each, eventOf(notification()).repeat(20)),
    });
    const bare = await start(server.url);
    const { transport, messages } = bare;
    const failed = rejectionOf(transport.send(request(1)));
    transport.listen();
    await until(() => messages.length > 500);
    await Promise.all([transport.close(), transport.close()]);
    const told = messages.length;
    await failed;
    await until(() => server.openSockets === 0);
    await pause(50);
    expect(bare.closes).toBe(1);
    expect(messages).toHaveLength(told);
  });

  test('from within a handler ends it there: the rest of the chunk is not told', async () => {
    for (const method of ['tools/call', 'GET']) {
      const flood = (each: RawExchange): void =>
        void beginEvents(each, eventOf(notification()).repeat(100));
      const server = await serve({ [method]: flood });
      const { transport } = await start(server.url);
      const seen: unknown[] = [];
      transport.onmessage = (message) => {
        seen.push(message);
        if (seen.length === 3) void transport.close();
      };
      if (method === 'GET') transport.listen();
      else transport.send(request(1)).catch(() => {});
      await until(() => seen.length === 3);
      await until(() => server.openSockets === 0);
      expect(seen).toHaveLength(3);
    }
  });

  test('of a client with calls in flight is no trouble that anybody hears of', async () => {
    const server = await serve({ 'tools/call': hold });
    const { client, errors } = await connect(server.url);
    const failed = Array.from({ length: 5 }, () => rejectionOf(client.callTool({ name: 'x' })));
    await until(() => server.count('POST', 'tools/call') === 5);
    await client.close();
    await Promise.all(failed);
    await pause(20);
    expect(errors).toEqual([]);
  });

  test('that never started leaves nothing, and nothing can start after it', async () => {
    const transport = make('http://127.0.0.1:1/mcp');
    await transport.close();
    await rejectionOf(transport.start());
    for (const message of [request(1), notification()]) {
      expect(await rejectionOf(transport.send(message))).toMatchObject({
        code: 'SESSION_LOST',
        execution: 'not-executed',
      });
    }
    transport.listen();
    await rejectionOf(transport.terminateSession());
  });

  test('leaves no timer on the clock', async () => {
    const clock = new ManualClock();
    const server = await serve({
      GET: (each) => void beginEvents(each, 'retry: 5000\n\n').end(),
      'tools/call': (each) => void beginEvents(each, 'retry: 9000\nid: e1\ndata:\n\n').end(),
      'tools/refused': ({ response }) => void response.writeHead(500).write('x'),
      'tools/answered': (each) => void beginEvents(each, eventOf(resultOf(each.message.id))),
      DELETE: hang,
      'notifications/x': hang,
    });
    const { transport } = await start(server.url, { clock });
    transport.listen();
    const sent = [
      ...[1, 2, 3].map((id) => transport.send(request(id))),
      transport.send(request(4, 'tools/refused')),
      transport.send(request(5, 'tools/answered')),
      transport.send(notification()),
      transport.terminateSession(),
    ];
    const states = Promise.allSettled(sent);
    await until(() => clock.pendingCount >= 8);
    await transport.close();
    await states;
    expect(clock.pendingCount).toBe(0);
  });
});

// Row 14d.
describe('an `onclose` that throws', () => {
  const boom = (): never => {
    throw new Error('from onclose');
  };

  test('leaves no call waiting', async () => {
    const server = await serve({ 'tools/call': hold });
    const { client } = await connect(server.url);
    const call = client.callTool({ name: 'x' });
    const failed = rejectionOf(call);
    await until(() => server.count('POST', 'tools/call') === 1);
    client.onclose = boom;
    await client.close();
    await failed;
    await until(() => server.openSockets === 0);
  });

  test('makes no unhandled rejection of a failed connect', async () => {
    const server = await serve({ initialize: ({ response }) => response.writeHead(500).end() });
    const { client, transport } = prepare(server.url);
    client.onclose = boom;
    expect(await rejectionOf(client.connect(transport))).toMatchObject({ status: 500 });
  });
});

describe('terminateSession', () => {
  // Row 1.
  test.each([
    ['never answered', hang],
    ['answered with a body that never ends', (each: RawExchange) => void beginEvents(each, 'x')],
    ['refused with a body that never ends', refuseWithoutEnd(500)],
  ])('settles within 5 s when the DELETE is %s', async (_, handler) => {
    const clock = new ManualClock();
    const server = await serve({ DELETE: handler });
    const { transport } = await start(server.url, { clock });
    const ended = transport.terminateSession();
    ended.catch(() => {});
    await until(() => server.count('DELETE') === 1);
    await pause(30);
    await clock.advance(5_000);
    expect(await stateWithin(1_000, ended)).not.toBe('pending');
    await until(() => server.pending === 0);
    expect(clock.pendingCount).toBe(0);
  });

  test('rejects with the reason of its signal, at once', async () => {
    const server = await hostileServer('delete-unanswered');
    closers.push(() => server.close());
    const { transport } = await start(server.url);
    const controller = new AbortController();
    const { signal } = controller;
    const ended = rejectionOf(transport.terminateSession({ signal }));
    await until(() => server.count('DELETE') === 1);
    const reason = new Error('no longer');
    controller.abort(reason);
    expect(await ended).toBe(reason);
    await until(() => server.pending === 0);
    await expect(transport.terminateSession({ signal })).rejects.toBe(reason);
    expect(server.count('DELETE')).toBe(1);
  });

  test.each([200, 202, 204, 404, 405])('is satisfied with %i', async (status) => {
    const server = await serve({ DELETE: ({ response }) => response.writeHead(status).end() });
    const { transport } = await start(server.url);
    await transport.terminateSession();
    expect(transport.sessionId).toBeUndefined();
  });

  test.each([400, 401, 403, 429, 500])('rejects with %i, and keeps the id', async (status) => {
    const server = await serve({ DELETE: ({ response }) => response.writeHead(status).end() });
    const { transport } = await start(server.url);
    expect(await rejectionOf(transport.terminateSession())).toMatchObject({ status });
    expect(transport.sessionId).toBe('session-1');
  });

  test('twice at once sends one DELETE, and both settle', async () => {
    const server = await serve({
      DELETE: ({ response }) => void setTimeout(() => response.writeHead(204).end(), 30),
    });
    const { transport } = await start(server.url);
    await Promise.all([transport.terminateSession(), transport.terminateSession()]);
    expect(server.count('DELETE')).toBe(1);
    await until(() => server.pending === 0);
  });

  test('with a signal that has aborted forgets no DELETE under way', async () => {
    const server = await hostileServer('delete-unanswered');
    closers.push(() => server.close());
    const { transport } = await start(server.url, { dispatcher: ownAgent() });
    const { signal } = new AbortController();
    const first = rejectionOf(transport.terminateSession({ signal }));
    await until(() => server.count('DELETE') === 1);
    await rejectionOf(transport.terminateSession({ signal: AbortSignal.abort() }));
    await transport.close();
    expect(await stateWithin(1_000, first)).toBe('fulfilled');
    await until(() => server.pending === 0);
  });

  test('of one caller who gives up ends the wait of no other', async () => {
    const answer: (() => void)[] = [];
    const server = await serve({
      DELETE: ({ response }) => void answer.push(() => response.writeHead(204).end()),
    });
    const { transport } = await start(server.url);
    const controller = new AbortController();
    const first = transport.terminateSession();
    await until(() => answer.length === 1);
    const second = rejectionOf(transport.terminateSession({ signal: controller.signal }));
    controller.abort(new Error('no longer'));
    expect(await second).toMatchObject({ message: 'no longer' });
    answer[0]?.();
    await first;
    expect(server.count('DELETE')).toBe(1);
  });

  // Row 1b.
  test('works behind a fence, and not after close', async () => {
    const server = await serve();
    const { transport } = await start(server.url);
    transport.fence();
    await transport.terminateSession();
    const other = await start(server.url);
    await other.transport.close();
    await rejectionOf(other.transport.terminateSession());
    expect(server.count('DELETE')).toBe(1);
  });

  test('is done by a pool before it closes each session', async () => {
    const server = await serve({ GET: hold, 'tools/call': hang });
    const pool = new SessionPool();
    closers.push(() => pool.close());
    const lease = await pool.acquire({ url: server.url, identity: 'a', notifications: true });
    await until(() => server.count('GET') === 1);
    lease.release();
    await pool.close();
    expect(server.count('DELETE')).toBe(1);
    await until(() => server.openSockets === 0);
  });
});

// Row 13.
test('200 sessions with hung calls and streams close together, and leave nothing', async () => {
  const server = await serve({ initialize: answerInitialize, GET: hold, 'tools/call': hang });
  const all = await Promise.all(Array.from({ length: 200 }, () => connect(server.url)));
  const failed = all.map(({ client }) => rejectionOf(client.callTool({ name: 'x' })));
  await until(() => server.count('GET') === 200 && server.count('POST', 'tools/call') === 200);
  const onclose = vi.fn();
  for (const { client } of all) client.onclose = onclose;
  await Promise.all(all.map(({ client }) => client.close()));
  await Promise.all(failed);
  expect(onclose).toHaveBeenCalledTimes(200);
  await until(() => server.openSockets === 0);
  const { connections } = server;
  await pause(100);
  // Row 13b.
  expect(server.connections).toBe(connections);
});

function refuseWithoutEnd(status: number): (each: RawExchange) => void {
  return ({ response }) => void response.writeHead(status).write('x');
}
