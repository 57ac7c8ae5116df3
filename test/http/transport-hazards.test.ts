// The rows of the hazards table through a pool, on our own transport: what a server does to one
// session must not outlive it, nor reach another. Row 9 also on the bare transport.

import { createServer } from 'node:net';
import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import {
  type HostileServer,
  type HostileServerName,
  hostileServer,
} from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import type { PoolEvent } from '../../src/observe/events.ts';
import type { SessionPoolOptions } from '../../src/options.ts';
import { SessionPool } from '../../src/session-pool.ts';
import {
  answerInitialize,
  answerJson,
  beginEvents,
  eventOf,
  pause,
  type RawExchange,
  type RawHandlers,
  type RawServer,
  until,
} from '../support/raw-server.ts';
import {
  notification,
  rejectionOf,
  request,
  resultOf,
  stateWithin,
  useTransports,
} from '../support/transport-fixture.ts';

const { closers, serve, start, prepare } = useTransports();

const hang = (): void => {};
const hold = (each: RawExchange): void => void beginEvents(each);
const answerCall = (each: RawExchange): void => answerJson(each, { content: [] });
const endWith =
  (text: string) =>
  (each: RawExchange): void =>
    void beginEvents(each, text).end();

/** A server whose every session has an id of its own. */
const serveSessions = (handlers: RawHandlers): Promise<RawServer> =>
  serve({
    initialize: (each) => answerInitialize(each, `session-${each.count}`),
    'tools/call': answerCall,
    ...handlers,
  });

async function serveHostile(name: HostileServerName): Promise<HostileServer> {
  const server = await hostileServer(name);
  closers.push(() => server.close());
  return server;
}

function makePool(options: SessionPoolOptions = {}): { pool: SessionPool; events: PoolEvent[] } {
  const events: PoolEvent[] = [];
  const pool = new SessionPool({ onEvent: (event) => events.push(event), ...options });
  closers.push(() => pool.close());
  return { pool, events };
}

const targetOf = (server: Pick<RawServer, 'url'>, identity = 'ada', notifications = true) => ({
  url: server.url,
  identity,
  notifications,
});

const call = (pool: SessionPool, server: Pick<RawServer, 'url'>): Promise<unknown> =>
  pool.use(targetOf(server), (client) => client.callTool({ name: 'x' }));

// Row 1.
test('a DELETE that is never answered holds the close of a pool for half its budget', async () => {
  const server = await serveHostile('delete-unanswered');
  const { pool } = makePool({ closeTimeoutMs: 400 });
  for (const identity of ['ada', 'bob', 'cy']) {
    await pool.use(targetOf(server, identity), (client) => client.callTool({ name: 'x' }));
  }
  const report = await pool.close();
  expect(report).toMatchObject({ sessions: 3, closed: 3, abandoned: 0, unterminated: 3 });
  expect(server.count('DELETE')).toBe(3);
  await until(() => server.openSockets === 0);
});

// Row 3, and 3c.
test.each([
  ['`retry: 0`', 'retry: 0\n\n'],
  ['no `retry`', ''],
])('streams that end at once, with %s, are told as slowed and asked for less', async (_, text) => {
  const server = await serveSessions({ GET: endWith(text) });
  const { pool, events } = makePool();
  await call(pool, server);
  await until(() => server.count('GET') === 2);
  await pause(300);
  expect(server.count('GET')).toBe(2);
  const slowed = events.filter(({ type }) => type === 'stream-slowed');
  expect(slowed.length).toBeGreaterThan(0);
  await call(pool, server);
  expect(server.count('POST', 'initialize')).toBe(1);
});

// Rows 4 and 5.
test('sessions whose streams are asked for again in vain are quiet once closed', async () => {
  const seen = new Set<unknown>();
  const server = await serveSessions({
    GET: (each) => {
      const id = each.headers['mcp-session-id'];
      if (!seen.has(id)) endWith('retry: 0\nid: e1\ndata:\n\n')(each);
      seen.add(id);
    },
    'tools/call': endWith('retry: 30\nid: c1\ndata:\n\n'),
  });
  const { pool } = makePool({ closeTimeoutMs: 500 });
  const names = Array.from({ length: 10 }, (_, n) => `user-${n}`);
  const leases = await Promise.all(names.map((name) => pool.acquire(targetOf(server, name))));
  const failed = leases.map(({ client }) => rejectionOf(client.callTool({ name: 'x' })));
  await until(() => server.count('GET') === 30);
  await pool.close();
  await Promise.all(failed);
  await until(() => server.openSockets === 0);
  const { length } = server.exchanges;
  const { connections } = server;
  await pause(1_200);
  expect(server.exchanges).toHaveLength(length);
  expect(server.connections).toBe(connections);
});

// Row 4b.
test('a server that dies under idle sessions is dialled a few times, and not after close', async () => {
  const server = await serveSessions({ GET: (each) => void beginEvents(each, 'retry: 0\n\n') });
  const { pool, events } = makePool();
  for (const identity of ['ada', 'bob', 'cy']) {
    await pool.use(targetOf(server, identity), (client) => client.callTool({ name: 'x' }));
  }
  await until(() => server.count('GET') === 3);
  const { port } = server;
  await server.close();
  // The stream's first reconnect, a second later, finds nobody: the session is lost.
  await until(() => pool.stats().totals.lost === 3);
  await pool.close();
  let dialled = 0;
  const listener = createServer((socket) => {
    dialled += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => listener.listen(port, '127.0.0.1', resolve));
  closers.push(() => new Promise((resolve) => listener.close(resolve)));
  await pause(300);
  expect(dialled).toBe(0);
  expect(events.filter(({ type }) => type === 'stream-slowed').length).toBeLessThanOrEqual(6);
});

// Row 6b.
test('an open whose `initialized` is not taken fails at connectTimeoutMs, and frees all', async () => {
  const server = await serveHostile('initialized-unanswered');
  const { pool } = makePool({ connectTimeoutMs: 150, acquireTimeoutMs: 600, closeTimeoutMs: 200 });
  const error = await rejectionOf(call(pool, server));
  expect(error).toMatchObject({ code: 'OPEN_FAILED', kind: 'timeout' });
  await until(() => server.openSockets === 0);
});

// Row 9.
describe('an `authProvider` whose tokens never come', () => {
  const authProvider = {
    tokens: () => new Promise(() => {}),
    redirectUrl: undefined,
    clientMetadata: { redirect_uris: [] },
    clientInformation: () => undefined,
  } as unknown as OAuthClientProvider;

  test('holds no call, no message and no DELETE beyond their bounds', async () => {
    const server = await serveSessions({});
    const { transport } = await start(server.url, { authProvider, acceptTimeoutMs: 80 });
    const sent = rejectionOf(transport.send(request(1)));
    const message = await rejectionOf(transport.send(notification()));
    expect(message).toMatchObject({ code: 'TIMEOUT' });
    const signal = AbortSignal.timeout(60);
    await rejectionOf(transport.terminateSession({ signal }));
    const unbounded = transport.terminateSession();
    unbounded.catch(() => {});
    await transport.close();
    await sent;
    expect(await stateWithin(1_000, unbounded)).toBe('rejected');
    expect(server.connections).toBe(0);
  });

  test('holds no connect beyond its timeout', async () => {
    const server = await serveSessions({});
    const { client, transport } = prepare(server.url, { authProvider });
    const failed = client.connect(transport, { timeout: 80 });
    expect(await rejectionOf(failed)).toMatchObject({ code: -32_001 });
    expect(server.connections).toBe(0);
  });

  test('holds no pool: the open fails in time, and close settles', async () => {
    const server = await serveSessions({});
    const { pool } = makePool({ connectTimeoutMs: 100, closeTimeoutMs: 200 });
    const error = await rejectionOf(
      pool.use({ ...targetOf(server), authProvider }, (client) => client.ping()),
    );
    expect(error).toMatchObject({ code: 'OPEN_FAILED', kind: 'timeout' });
    await pool.close();
    expect(server.connections).toBe(0);
  });
});

// Row 10.
test('a flood hands nothing on once its session was given back or closed', async () => {
  const flood = (each: RawExchange): void => {
    const response = beginEvents(each);
    const more = (): void => {
      if (response.destroyed) return;
      response.write(eventOf(notification('notifications/message')).repeat(20), () =>
        setImmediate(more),
      );
    };
    more();
  };
  const server = await serveSessions({ GET: flood, 'tools/call': flood });
  const { pool } = makePool({ closeTimeoutMs: 400 });
  let told = 0;
  const onNotification = (): void => {
    told += 1;
  };
  const lease = await pool.acquire(targetOf(server), { onNotification });
  const failed = rejectionOf(lease.client.callTool({ name: 'x' }));
  await until(() => told > 200);
  await pool.close();
  const atClose = told;
  await failed;
  await until(() => server.openSockets === 0);
  expect(told).toBe(atClose);
});

// Row 10d.
test('a message over `maxMessageBytes` loses the session; the next lease has a fresh one', async () => {
  const server = await serveSessions({
    'tools/call': (each) => {
      if (each.headers['mcp-session-id'] !== 'session-1') return answerCall(each);
      const response = beginEvents(each, 'data: ');
      const more = (): void => {
        if (!response.destroyed) response.write('x'.repeat(5_000), () => setImmediate(more));
      };
      more();
    },
  });
  const { pool } = makePool({ maxMessageBytes: 20_000 });
  const error = await rejectionOf(call(pool, server));
  expect(error).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
  await call(pool, server);
  expect(pool.stats().totals).toMatchObject({ opened: 2, lost: 1 });
});

// Rows 11 and 11b.
test('a lease that is released in mid-call leaves no socket and no resumption', async () => {
  const server = await serveSessions({
    GET: (each) => {
      if (each.headers['last-event-id'] === undefined) each.response.writeHead(405).end();
      else endWith('retry: 0\nid: c\ndata:\n\n')(each);
    },
    'tools/call': endWith('retry: 0\nid: c\ndata:\n\n'),
    'tools/list': hold,
  });
  const { pool } = makePool();
  const lease = await pool.acquire(targetOf(server));
  const failed = [
    rejectionOf(lease.client.callTool({ name: 'x' })),
    rejectionOf(lease.client.listTools()),
  ];
  await until(() => server.count('GET') >= 3 && server.count('POST', 'tools/list') === 1);
  lease.release();
  await Promise.all(failed);
  await until(() => server.pending === 0);
  await until(() => server.count('POST', 'notifications/cancelled') === 2);
  const gets = server.count('GET');
  await pause(300);
  expect(server.count('GET')).toBe(gets);
});

// Row 11c.
test('a cut response stream fails its call; the next lease has a fresh session', async () => {
  const server = await serveSessions({
    'tools/call': (each) => {
      if (each.headers['mcp-session-id'] === 'session-1') beginEvents(each).end();
      else beginEvents(each, eventOf(resultOf(each.message.id))).end();
    },
  });
  const { pool } = makePool();
  const failed = call(pool, server);
  failed.catch(() => {});
  // The SDK's transport waits for the call's timeout, 60 s.
  expect(await stateWithin(2_000, failed)).toBe('rejected');
  expect(await rejectionOf(failed)).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
  await call(pool, server);
  expect(server.count('POST', 'initialize')).toBe(2);
  // The lost session may still be there on the server: it is ended.
  await until(() => server.count('DELETE') === 1);
});

// Row 12.
test('404 for an old session is the end of it: no DELETE, not executed, a fresh one next', async () => {
  const server = await serveSessions({
    'tools/call': (each) => {
      if (each.headers['mcp-session-id'] !== 'session-1') answerCall(each);
      else each.response.writeHead(404).end('no such session');
    },
  });
  const { pool } = makePool();
  const lease = await pool.acquire(targetOf(server));
  const error = await rejectionOf(lease.client.callTool({ name: 'x' }));
  expect(error).toMatchObject({ code: 'SESSION_LOST', execution: 'not-executed' });
  expect(error['cause']).toMatchObject({ code: 404, body: 'no such session' });
  expect(lease.signal.aborted).toBe(true);
  lease.release();
  await call(pool, server);
  expect(server.count('POST', 'initialize')).toBe(2);
  expect(server.count('DELETE')).toBe(0);
});

// Rows 13 and 13b.
test('100 sessions with hung calls and streams close within their budget, and leave nothing', async () => {
  const server = await serveSessions({ GET: hold, 'tools/call': hang, DELETE: hang });
  const { pool } = makePool({ maxSessions: 200, closeTimeoutMs: 4_000 });
  const names = Array.from({ length: 100 }, (_, n) => `user-${n}`);
  const leases = await Promise.all(names.map((name) => pool.acquire(targetOf(server, name))));
  const failed = leases.map(({ client }) => rejectionOf(client.callTool({ name: 'x' })));
  await until(() => server.count('POST', 'tools/call') === 100 && server.count('GET') === 100);
  const report = await pool.close();
  expect(report).toMatchObject({ sessions: 100, closed: 100, abandoned: 0 });
  for (const error of await Promise.all(failed)) {
    expect(error).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
  }
  await until(() => server.openSockets === 0);
  const { connections } = server;
  await pause(100);
  expect(server.connections).toBe(connections);
});
