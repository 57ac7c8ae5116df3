// The rows of the hazards table that a session can meet as it opens, idles and ends, with clients
// of SDK 2. The rows of a session's streams and of its end are of the handshake era alone: servers
// without sessions have neither.

import { OAuthError } from '@modelcontextprotocol/client';
import { v2Connector } from 'mcp-session-pool/v2';
import { describe, expect, test } from 'vitest';
import { startByteServer } from '../support/byte-server.ts';
import { MemoryOAuthProvider } from '../support/memory-oauth-provider.ts';
import { answerCall } from '../support/modern-server.ts';
import {
  answerInitialize,
  beginEvents,
  pause,
  type RawExchange,
  speakMcp,
  startRawServer,
  until,
} from '../support/raw-server.ts';
import { ERAS, speakAs, useSdk2Scenes } from '../support/sdk2-scene.ts';

const scene = useSdk2Scenes();
const call = { name: 'x' };
const hang = (): void => {};
const endWith =
  (text: string) =>
  (each: RawExchange): void =>
    void beginEvents(each, text).end();
const MARGIN_MS = 250;

describe('the end of a session', () => {
  // Row 1.
  test.each([
    ['is never answered', hang, 3],
    ['has an answer that never ends', (each: RawExchange) => void each.response.write('x'), 0],
  ])('comes in time when its DELETE %s', async (_, handler, unterminated) => {
    const { server, pool, target } = await scene('handshake', {
      initialize: (each) => answerInitialize(each, `session-${each.count}`),
      DELETE: handler,
    });
    for (const identity of ['ada', 'bob', 'cy']) {
      await pool.use({ ...target, identity }, (client) => client.callTool(call));
    }
    const report = await pool.close();
    expect(report).toMatchObject({ sessions: 3, closed: 3, abandoned: 0, unterminated });
    expect(report.durationMs).toBeLessThan(1_000 + MARGIN_MS);
    await until(() => server.openSockets === 0);
  });

  // Row 1b.
  test('is told to the server before anything is closed, and once', async () => {
    const { server, pool, target } = await scene('handshake', { 'tools/call': hang });
    const lease = await pool.acquire(target);
    const lost = expect(lease.client.callTool(call)).rejects.toMatchObject({
      code: 'SESSION_LOST',
    });
    await until(() => server.count('POST', 'tools/call') === 1);
    await pool.close();
    await lost;
    expect(server.exchanges.filter(({ method }) => method === 'DELETE')).toMatchObject([
      { headers: { 'mcp-session-id': 'session-1' } },
    ]);
  });
});

describe('notification streams', () => {
  // Rows 3, 3b and 3c.
  test.each([
    ['`retry: 0`', 'retry: 0\n\n'],
    ['a `retry` that no timer takes', 'retry: 3000000000\n\n'],
    ['no `retry`', ''],
  ])(
    'that end at once, with %s, are asked for again a second later at the soonest',
    async (_, text) => {
      const { server, pool, target } = await scene('handshake', { GET: endWith(text) });
      const listening = { ...target, notifications: true };
      await pool.use(listening, (client) => client.callTool(call));
      await until(() => server.count('GET') === 1);
      await pause(700);
      expect(server.count('GET')).toBe(1);
      expect(process.getActiveResourcesInfo().length).toBeLessThan(50);
    },
  );

  // Rows 5 and 20.
  test.each([
    ['closed', false],
    ['cut off and closed', true],
  ])(
    'and streams of calls that wait to go on are quiet once their session is %s',
    async (_, isCut) => {
      const { server, pool, target } = await scene('handshake', {
        GET: endWith('retry: 0\nid: g1\ndata:\n\n'),
        'tools/call': endWith('retry: 300\nid: c1\ndata:\n\n'),
      });
      const lease = await pool.acquire({ ...target, notifications: true });
      const calls = Array.from({ length: 5 }, () => lease.client.callTool(call).catch(() => {}));
      await until(() => server.count('POST', 'tools/call') === 5 && server.count('GET') >= 1);
      await pause(50);
      if (isCut) await server.close();
      const { durationMs } = await pool.close();
      expect(durationMs).toBeLessThan(1_000 + MARGIN_MS);
      await Promise.all(calls);
      const before = server.exchanges.length;
      await pause(400);
      expect(server.exchanges).toHaveLength(before);
      expect(process.getActiveResourcesInfo()).not.toContain('TCPSocketWrap');
    },
  );
});

describe('a server that is killed', () => {
  // Row 4b.
  test('is dialled once a second by each listener, and never after the close', async () => {
    const { server, pool, target } = await scene('handshake', {
      initialize: (each) => answerInitialize(each, `session-${each.count}`),
      GET: (each) => void beginEvents(each, 'retry: 0\n\n'),
    });
    for (const identity of ['ada', 'bob', 'cy']) {
      const listening = { ...target, identity, notifications: true };
      await pool.use(listening, (client) => client.callTool(call));
    }
    await until(() => server.count('GET') === 3);
    await server.close();
    const killed = await startRawServer(
      ({ response }) => void response.destroy(),
      Number(server.url.port),
    );
    const watchedAt = performance.now();
    await pause(900);
    const seconds = (performance.now() - watchedAt) / 1_000;
    expect(killed.connections).toBeLessThanOrEqual(3 * (1 + seconds));
    expect((await pool.close()).durationMs).toBeLessThan(1_000 + MARGIN_MS);
    const dialled = killed.connections;
    await pause(1_200);
    expect(killed.connections).toBe(dialled);
    await killed.close();
  });

  // Row 13b.
  test.each(ERAS)('calls that a close takes back open no spare connection (%s)', async (era) => {
    const { server, pool, target } = await scene(era, { 'tools/call': hang });
    for (let n = 0; n < 10; n += 1) {
      const lease = await pool.acquire({ ...target, identity: `user ${n}` });
      lease.client.callTool(call).catch(() => {});
    }
    await until(() => server.count('POST', 'tools/call') === 10);
    // A DELETE for each may need one; a request that is cut needs none.
    const before = server.connections;
    await pool.close();
    await until(() => server.openSockets === 0);
    await pause(200);
    expect(server.connections - before).toBeLessThanOrEqual(era === 'handshake' ? 10 : 0);
    expect(server.openSockets).toBe(0);
  });
});

describe('an open', () => {
  // Row 6b.
  test('ends in time when `notifications/initialized` is never taken', async () => {
    const { server, pool, target } = await scene(
      'handshake',
      { 'notifications/initialized': hang },
      { connectTimeoutMs: 200 },
    );
    await expect(pool.acquire(target)).rejects.toMatchObject({
      code: 'OPEN_FAILED',
      kind: 'timeout',
    });
    await pool.close();
    await until(() => server.openSockets === 0);
  });

  // Row 6c.
  test('does not wait for the end of a 202', async () => {
    const { pool, target } = await scene('handshake', {
      'notifications/initialized': ({ response }) => void response.writeHead(202).write('x'),
    });
    await pool.use(target, (client) => client.callTool(call));
    expect(pool.stats().totals.opened).toBe(1);
  });

  test.each(['server/discover', 'initialize'])(
    'ends in time when %s is never answered, and cancels nothing',
    async (method) => {
      const { server, pool, target } = await scene(
        'handshake',
        { [method]: hang },
        { connectTimeoutMs: 200 },
      );
      await expect(pool.acquire(target)).rejects.toMatchObject({
        code: 'OPEN_FAILED',
        kind: 'timeout',
      });
      expect(server.count('POST', 'notifications/cancelled')).toBe(0);
      await pool.close();
      await until(() => server.openSockets === 0);
      expect(process.getActiveResourcesInfo()).not.toContain('TCPSocketWrap');
    },
  );

  test('of a black hole ends in time', async () => {
    const server = await startByteServer(() => {});
    const { pool } = await scene('modern', {}, { connectTimeoutMs: 200 });
    const refused = pool.acquire({ url: server.url, identity: 'ada' });
    await expect(refused).rejects.toMatchObject({ code: 'OPEN_FAILED', kind: 'timeout' });
    await pool.close();
    await until(() => server.openSockets === 0);
    await server.close();
  });

  // Row 9.
  test.each(ERAS)('with tokens that never come ends in time (%s)', async (era) => {
    const { server, pool, target } = await scene(era, {}, { connectTimeoutMs: 200 });
    const authProvider = new MemoryOAuthProvider({});
    authProvider.before.tokens = () => new Promise(() => {});
    const refused = pool.acquire({ ...target, authProvider });
    await expect(refused).rejects.toMatchObject({ code: 'OPEN_FAILED', kind: 'timeout' });
    expect(await pool.close()).toMatchObject({ abandoned: 0 });
    expect(server.exchanges).toHaveLength(0);
  });

  // Row 9.
  test.each(ERAS)(
    'with tokens that come no more ends its calls and itself in time (%s)',
    async (era) => {
      const { pool, target } = await scene(era);
      const authProvider = new MemoryOAuthProvider({});
      const lease = await pool.acquire({ ...target, authProvider });
      authProvider.before.tokens = () => new Promise(() => {});
      const late = lease.client.callTool(call, { timeout: 50 });
      await expect(late).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
      const notified = lease.client
        .notification({
          method: 'notifications/progress',
          params: { progressToken: 1, progress: 1 },
        })
        .catch((error: unknown) => error);
      lease.release();
      await notified;
      const { durationMs } = await pool.close();
      expect(durationMs).toBeLessThan(1_000 + MARGIN_MS);
    },
  );

  test.each(ERAS)('that needs a sign-in says so, with the error of SDK 2 (%s)', async (era) => {
    const refuse = ({ response }: RawExchange): void => void response.writeHead(401).end();
    const { pool, target } = await scene(era, { 'server/discover': refuse, initialize: refuse });
    const authProvider = new MemoryOAuthProvider(undefined);
    authProvider.before.clientInformation = () => {
      throw new OAuthError('invalid_client', 'Who are you?');
    };
    const refused = pool.acquire({ ...target, authProvider });
    await expect(refused).rejects.toMatchObject({ code: 'OPEN_FAILED' });
  });
});

describe('a server that is gone', () => {
  // Row 12.
  test.each(ERAS)('costs a failed open, and is used again once it is back (%s)', async (era) => {
    const { server, pool, target } = await scene(era);
    await pool.use(target, (client) => client.callTool(call));
    await server.close();
    // What was idle has to hear of it.
    await pause(50);
    const failed = pool.use(target, (client) => client.callTool(call));
    await expect(failed).rejects.toMatchObject({ code: 'OPEN_FAILED', kind: 'refused' });
    expect(pool.stats().sessions).toMatchObject({ idle: 0, leased: 0 });
    const again = await startRawServer(speakAs(era), Number(server.url.port));
    const used = pool.use(target, (client) => client.callTool(call));
    const [outcome] = await Promise.allSettled([used]);
    await again.close();
    expect(outcome).toMatchObject({ status: 'fulfilled', value: { content: [] } });
    expect(again.count('POST', 'tools/call')).toBe(1);
  });

  test('opens nothing by what it said before, though a lease on it is still held', async () => {
    const { server, pool, target } = await scene('modern');
    const held = await pool.acquire(target);
    await pool.use(target, (client) => client.callTool(call));
    expect(pool.stats().totals.opened).toBe(2);
    await server.close();
    await pause(50);
    const failed = pool.use(target, (client) => client.callTool(call));
    await expect(failed).rejects.toMatchObject({ code: 'OPEN_FAILED', kind: 'refused' });
    held.release();
  });

  test('is asked who it is when it comes back, and may have changed', async () => {
    const { server, pool, target } = await scene('modern');
    const port = Number(server.url.port);
    await pool.use(target, (client) => client.callTool(call));
    await server.close();
    await pause(50);
    await expect(pool.use(target, (client) => client.callTool(call))).rejects.toThrow();
    const older = await startRawServer(
      speakMcp({
        'server/discover': ({ response }) => void response.writeHead(404).end(),
        'tools/list': ({ response, message }) => {
          response.writeHead(200, { 'content-type': 'application/json' });
          response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, result: { tools: [] } }));
        },
      }),
      port,
    );
    const asked = pool.use(target, async (client) => {
      await client.listTools();
      return client.getProtocolEra();
    });
    const [era] = await Promise.allSettled([asked]);
    await older.close();
    expect(era).toEqual({ status: 'fulfilled', value: 'legacy' });
  });

  test.each([
    ['refuses what it took', ({ response }: RawExchange) => void response.writeHead(404).end()],
    [
      'takes another revision only',
      (each: RawExchange) => {
        const error = { code: -32_022, message: 'No', data: { supported: ['2027-01-01'] } };
        const { id } = each.message;
        each.response.writeHead(400, { 'content-type': 'application/json' });
        each.response.end(JSON.stringify({ jsonrpc: '2.0', id, error }));
      },
    ],
  ])('or that another has taken the place of, which %s, is asked who it is', async (_, refuse) => {
    let isAnother = false;
    const { server, pool, target } = await scene('modern', {
      'tools/call': (each) => (isAnother ? refuse(each) : answerCall(each)),
    });
    const use = () => pool.use(target, (client) => client.callTool(call));
    await use();
    isAnother = true;
    await expect(use()).rejects.toThrow();
    isAnother = false;
    await use();
    expect(server.count('POST', 'server/discover')).toBe(2);
  });

  test('is no server any more that a call may run on twice', async () => {
    const cut = ({ response }: RawExchange): void => void response.destroy();
    const { server, pool, target } = await scene('modern', { 'tools/call': cut });
    const failed = pool.use(target, (client) => client.callTool(call));
    await expect(failed).rejects.toMatchObject({ execution: 'unknown' });
    expect(server.count('POST', 'tools/call')).toBe(1);
    expect(pool.stats()).toMatchObject({ sessions: { idle: 1 } });
  });
});

describe('the connector', () => {
  test('refuses options that it does not know', () => {
    expect(() => v2Connector({ prior: {} } as never)).toThrow(/prior/);
  });
});
