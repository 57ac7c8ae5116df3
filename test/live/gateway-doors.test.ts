// What the example gateway refuses, and in which words: strangers, pages, oversized bodies, sessions
// of others, too much of anything; and upstream servers that fail, without quoting them.

import { request as httpRequest } from 'node:http';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import {
  connect,
  type Downstream,
  type GatewayFixtureOptions,
  health,
  isEmpty,
  type RunningGateway,
  startGateway,
  startUpstream,
  tokenOf,
  untilHealth,
  userConfig,
} from '../support/gateway-fixture.ts';
import { type Answer, INITIALIZE, send } from '../support/gateway-requests.ts';
import { textOf } from '../support/http-sessions.ts';
import type { TestMcpServer } from '../support/mcp-server.ts';
import { type RawServer, startRawServer, until } from '../support/raw-server.ts';

/** Real sockets, and a machine that may be busy. */
vi.setConfig({ testTimeout: 40_000 });

const closing = closeAfterEach();

interface World extends RunningGateway {
  readonly upstream: TestMcpServer;
  readonly mcp: string;
}

async function start(options: Partial<GatewayFixtureOptions> = {}): Promise<World> {
  const users = ['ada', 'bob'];
  const upstream = closing(await startUpstream(users));
  const servers = { main: { url: upstream.url }, other: { url: upstream.url } };
  const running = closing(await startGateway({ users, servers, ...options }));
  return { ...running, upstream, mcp: `${running.origin}/main/mcp` };
}

const join = async (world: RunningGateway, user: string): Promise<Downstream> =>
  closing(await connect(world.origin, user));

const open = (world: World, headers: Record<string, string> = {}): Promise<Answer> =>
  send(world.mcp, { headers, body: JSON.stringify(INITIALIZE) });

describe('the door', () => {
  test.each([
    ['no token', {}, { authorization: '' }, 401],
    ['a token that nobody has', {}, { authorization: 'Bearer stolen' }, 401],
    ['the token as basic credentials', {}, { authorization: `Basic ${tokenOf('ada')}` }, 401],
    ['a name that is not ours', {}, { host: 'evil.example' }, 403],
    ['a page', {}, { origin: 'https://evil.example' }, 403],
    ['another method', { method: 'PUT' }, {}, 405],
    ['a body that is not JSON', { body: '{' }, {}, 400],
    ['a batch', { body: JSON.stringify([INITIALIZE]) }, {}, 400],
    ['a call without a session', { body: '{"jsonrpc":"2.0","id":1,"method":"ping"}' }, {}, 400],
    ['an unknown session', { body: '{}' }, { 'mcp-session-id': 'nobody' }, 404],
    ['a GET without a session', { method: 'GET' }, {}, 404],
  ])('refuses %s', async (_what, request, headers, status) => {
    const world = await start();
    const body = JSON.stringify(INITIALIZE);
    const method = 'method' in request ? request.method : 'POST';
    const answer = await send(world.mcp, {
      ...(method === 'POST' && { body }),
      ...request,
      headers: headers as Record<string, string>,
    });
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text)).toMatchObject({ error: { code: expect.any(Number) } });
    if (status === 401) expect(answer.headers['www-authenticate']).toMatch(/^Bearer /);
    expect(world.upstream.seen).toEqual([]);
    expect((await health(world.origin)).downstreamSessions).toBe(0);
  });

  test('lets in who is allowed by name: hosts and pages', async () => {
    const world = await start({
      more: { allowedHosts: ['gw.example'], allowedOrigins: ['https://app.example'] },
    });
    const answer = await open(world, { host: 'gw.example', origin: 'https://app.example' });
    expect(answer.status).toBe(200);
    expect(answer.headers['mcp-session-id']).toEqual(expect.any(String));
  });

  test.each(['declared', 'undeclared'])('refuses a body that is too large, %s', async (how) => {
    const world = await start({ limits: { maxBodyBytes: 1_000 } });
    const body = JSON.stringify({ ...INITIALIZE, padding: 'x'.repeat(100_000) });
    const headers: Record<string, string> =
      how === 'declared'
        ? { 'content-length': String(body.length), connection: 'keep-alive' }
        : { 'transfer-encoding': 'chunked', connection: 'keep-alive' };
    const answer = await send(world.mcp, { headers, body });
    expect(answer.status).toBe(413);
    expect(answer.headers['connection']).toBe('close');
    expect((await open(world)).status).toBe(200);
  });

  test('does not wait for a body that it will not read', async () => {
    const world = await start({ limits: { maxBodyBytes: 1_000 } });
    const headers = {
      authorization: `Bearer ${tokenOf('ada')}`,
      'content-type': 'application/json',
      'content-length': '100000',
    };
    const status = await new Promise((resolve, reject) => {
      const request = httpRequest(world.mcp, { method: 'POST', headers, agent: false });
      request.on('response', (response) => {
        resolve(response.statusCode);
        request.destroy();
      });
      request.on('error', reject);
      request.flushHeaders();
    });
    expect(status).toBe(413);
  });

  test('knows the servers that a user may use', async () => {
    const world = await start();
    expect((await send(`${world.origin}/none/mcp`)).status).toBe(404);
    expect((await send(`${world.origin}/constructor/mcp`)).status).toBe(404);
    const strict = await start({ more: { users: [userConfig('ada', ['other'])] } });
    expect((await open(strict)).status).toBe(403);
    expect(strict.upstream.seen).toEqual([]);
  });
});

describe('sessions of others', () => {
  test('are unknown: to another user, and at the path of another server', async () => {
    const world = await start();
    const { sessionId, client } = await join(world, 'ada');
    const headers = { 'mcp-session-id': sessionId, 'mcp-protocol-version': '2025-06-18' };
    const asBob = { ...headers, authorization: `Bearer ${tokenOf('bob')}` };
    const list = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
    for (const method of ['POST', 'GET', 'DELETE']) {
      const body = method === 'POST' ? { body: list } : {};
      const answer = await send(world.mcp, { method, headers: asBob, ...body });
      expect(answer.status).toBe(404);
    }
    const elsewhere = await send(`${world.origin}/other/mcp`, { headers, body: list });
    expect(elsewhere.status).toBe(404);
    // It is there all the same, for its own user.
    expect((await send(world.mcp, { headers, body: list })).status).toBe(200);
    expect(textOf(await client.callTool({ name: 'count' }))).toBe('1');
  });
});

describe('too much of anything', () => {
  test('an id that is in use is refused: neither call could be told from the other', async () => {
    const world = await start();
    const { sessionId } = await join(world, 'ada');
    const headers = { 'mcp-session-id': sessionId };
    const post = (message: object): Promise<Answer> =>
      send(world.mcp, { headers, body: JSON.stringify({ jsonrpc: '2.0', ...message }) });
    const call = (name: string): Promise<Answer> =>
      post({ id: 5, method: 'tools/call', params: { name } });
    const first = call('hang');
    await until(() => world.upstream.count('tools/call') === 1);
    expect((await call('count')).status).toBe(400);
    const batch = JSON.stringify([{ jsonrpc: '2.0', id: 5, method: 'ping' }]);
    expect((await send(world.mcp, { headers, body: batch })).status).toBe(400);
    await post({ method: 'notifications/cancelled', params: { requestId: 5 } });
    expect((await first).status).toBe(200);
    expect((await call('count')).text).toContain('result');
  });

  test('more sessions than there is room for are refused, and the room comes back', async () => {
    const world = await start({ limits: { maxSessions: 3, maxSessionsPerUser: 2 } });
    const [first] = [await join(world, 'ada'), await join(world, 'ada')];
    const refused = await open(world);
    expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    expect(JSON.parse(refused.text)).toMatchObject({
      id: 7,
      error: { data: { code: 'TOO_MANY_SESSIONS' } },
    });
    // One user can't take the room of all.
    await join(world, 'bob');
    await expect(connect(world.origin, 'bob')).rejects.toThrow('Too many sessions');
    await first.transport.terminateSession();
    await join(world, 'bob');
  });

  test('an open that fails gives its room back', async () => {
    const world = await start({ limits: { maxSessions: 1 } });
    await world.upstream.close();
    for (const _ of [1, 2, 3]) expect((await open(world)).status).toBe(502);
  });

  test('more calls at once than a session may have are refused; the others go on', async () => {
    const world = await start({ limits: { maxCallsPerSession: 2 } });
    const { client } = await join(world, 'ada');
    const controllers = [1, 2].map(() => new AbortController());
    const calls = controllers.map(({ signal }) =>
      client.callTool({ name: 'hang' }, undefined, { signal }),
    );
    const settled = Promise.allSettled(calls);
    await until(() => world.upstream.count('tools/call') === 2);
    await expect(client.callTool({ name: 'count' })).rejects.toMatchObject({
      data: { code: 'TOO_MANY_CALLS' },
    });
    expect(world.upstream.aborted).toEqual([]);
    for (const controller of controllers) controller.abort();
    await settled;
    await until(() => world.upstream.aborted.length === 2);
    expect(textOf(await client.callTool({ name: 'count' }))).toBe('1');
  });
});

describe('an upstream server that fails', () => {
  const SECRET = 'words-of-the-peer';
  let raw: RawServer | undefined;
  afterEach(async () => {
    await raw?.close();
    raw = undefined;
  });

  const startBefore = async (status: number, headers = {}): Promise<World> => {
    raw = await startRawServer(({ response }) => {
      response.writeHead(status, headers).end(SECRET);
    });
    return start({ servers: { main: { url: raw.url } } });
  };

  test.each([
    [500, 'http'],
    [401, 'unauthorized'],
  ])('with %i is a bad gateway; nothing of what it said is passed on', async (status, kind) => {
    const world = await startBefore(status);
    const answer = await open(world);
    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.text)).toEqual({
      jsonrpc: '2.0',
      id: 7,
      error: {
        code: -32_010,
        message: 'The upstream server can not be used',
        data: { code: 'OPEN_FAILED', kind },
      },
    });
    expect(answer.text + world.lines.join('')).not.toContain(SECRET);
  });

  test('and asks for a pause, is left alone, and clients are told for how long', async () => {
    const world = await startBefore(503, { 'retry-after': '20' });
    expect((await open(world)).status).toBe(502);
    const before = raw!.exchanges.length;
    const answer = await open(world);
    expect(answer.status).toBe(503);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(10);
    expect(JSON.parse(answer.text)).toMatchObject({ error: { data: { code: 'CIRCUIT_OPEN' } } });
    expect(raw!.exchanges.length).toBe(before);
  });

  test('in mid-call leaves an error that says what is known of the call', async () => {
    const world = await start();
    const { client } = await join(world, 'ada');
    const call = client.callTool({ name: 'hang' });
    const failed = expect(call).rejects.toMatchObject({
      message: expect.not.stringContaining('127.0.0.1'),
      data: { execution: 'unknown' },
    });
    await until(() => world.upstream.count('tools/call') === 1);
    await world.upstream.close();
    await failed;
  });

  test('and forgets the session ends the downstream one: its state is gone', async () => {
    const world = await start();
    const downstream = await join(world, 'ada');
    const { client } = downstream;
    expect(textOf(await client.callTool({ name: 'count' }))).toBe('1');
    await world.upstream.forget([...world.upstream.sessions.keys()][0]!);
    await expect(client.callTool({ name: 'count' })).rejects.toMatchObject({
      code: -32_010,
      data: { code: 'SESSION_LOST', execution: 'not-executed' },
    });
    // Told 404, a client begins anew. Its open stream does not keep what is of no use.
    await untilHealth(world.origin, isEmpty);
    await expect(client.callTool({ name: 'count' })).rejects.toMatchObject({ code: 404 });
    const again = await join(world, 'ada');
    expect(textOf(await again.client.callTool({ name: 'count' }))).toBe('1');
  });

  test('and forgets an idle session is not asked in a new one as if nothing had been', async () => {
    const world = await start();
    const { client } = await join(world, 'ada');
    expect(textOf(await client.callTool({ name: 'count' }))).toBe('1');
    await until(() => world.upstream.count('GET') === 1);
    await world.upstream.forget([...world.upstream.sessions.keys()][0]!);
    // The pool notices when it opens the stream again.
    await untilHealth(world.origin, ({ totals }) => totals['lost'] === 1);
    const before = world.upstream.count('tools/call');
    await expect(client.callTool({ name: 'count' })).rejects.toMatchObject({
      data: { code: 'SESSION_LOST', execution: 'not-executed' },
    });
    expect(world.upstream.count('tools/call')).toBe(before);
    await untilHealth(world.origin, isEmpty);
    await expect(client.callTool({ name: 'count' })).rejects.toMatchObject({ code: 404 });
  });
});
