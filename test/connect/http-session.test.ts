// How a session over HTTP is probed, lost and taken down, in front of servers that don't play
// along.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { describe, expect, it } from 'vitest';
import { lend, type OpenSession } from '../support/http-sessions.ts';
import { startMcpServer } from '../support/mcp-server.ts';
import { answerJson, beginEvents, pause, type RawExchange, until } from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';

const { closers, newSessions, serveRaw } = useSessions();

const over = new Error('taken down');

/** The rungs after `terminate`. */
async function takeDown(session: OpenSession): Promise<void> {
  await session.client.close();
  await session.transport.close();
  session.sever(over);
}

/** A 200 whose body never ends. */
const endless =
  (type: string, status = 200) =>
  ({ response }: RawExchange): void => {
    response.writeHead(status, { 'content-type': type, 'mcp-session-id': 's' });
    response.write(type === 'application/json' ? '{"jsonrpc"' : ': silence\n\n');
  };
const silent = (): void => {};

/** Holds nothing: the helper's lease, or one made in a test, would hold the session by itself. */
const BARE_LEASE = { headers: () => ({}), end: () => {}, endedWith: () => undefined };

describe('a session is lost', () => {
  it('when the server no longer knows it: nothing was executed, no DELETE is sent', async () => {
    const server = await startMcpServer();
    closers.push(() => server.close());
    const session = await newSessions().open(server.url);
    const { client } = lend(session);
    await client.callTool({ name: 'count' });
    await server.forget(session.sessionId!);
    await expect(client.callTool({ name: 'count' })).rejects.toMatchObject({
      code: 'SESSION_LOST',
      execution: 'not-executed',
      cause: { code: 404 },
    });
    expect(session.lost?.reason).toMatchObject({ code: 'SESSION_LOST' });
    session.fence(over);
    await session.terminate(new AbortController().signal);
    await takeDown(session);
    expect(server.count('DELETE')).toBe(0);
  });

  it('when the server is gone', async () => {
    const server = await serveRaw();
    const session = await newSessions().open(server.url);
    await server.close();
    await until(() => server.openSockets === 0);
    const { client } = lend(session);
    // The first call may still take a socket that is just being closed.
    const failures = [await client.ping().catch(codeOf), await client.ping().catch(codeOf)];
    expect(failures).toContain('SESSION_LOST');
    expect(session.lost?.aborted).toBe(true);
  });

  it('not when a call is refused', async () => {
    const server = await serveRaw({
      'tools/call': ({ response }) => response.writeHead(400).end('Bad Request'),
    });
    const session = await newSessions().open(server.url);
    const { client } = lend(session);
    await expect(client.callTool({ name: 'x' })).rejects.toMatchObject({ code: 400 });
    expect(session.lost?.aborted).toBe(false);
  });

  it.each([
    { status: 404 },
    { code: 404 },
    { code: 'ECONNREFUSED' },
    { cause: { code: 'ECONNREFUSED' } },
  ])('not when the token service of its headers fails with %o', async (words) => {
    const server = await serveRaw({ 'tools/call': (each) => answerJson(each, { content: [] }) });
    let trouble: Error | undefined;
    const headers = (): Record<string, string> => {
      if (trouble !== undefined) throw trouble;
      return {};
    };
    const session = await newSessions().open(server.url, { headers });
    const lease = { ...BARE_LEASE, headers };
    const client = session.lend(lease) as Client;
    trouble = Object.assign(new Error('no token'), words);
    await expect(client.callTool({ name: 'x' })).rejects.toBe(trouble);
    trouble = undefined;
    await client.callTool({ name: 'x' });
    expect(session.lost?.aborted).toBe(false);
    session.giveBack(client);
  });
});

const codeOf = (error: { code?: unknown }): unknown => error.code;

describe('a probe', () => {
  it('passes when the server answers, even that it knows no ping', async () => {
    const server = await serveRaw({
      ping: ({ message, response }) => {
        const error = { code: -32_601, message: 'Method not found' };
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, error }));
      },
    });
    const session = await newSessions().open(server.url);
    await expect(session.probe(new AbortController().signal)).resolves.toBeUndefined();
  });

  it('rejects with the reason of its signal, at once, when the server hangs', async () => {
    const server = await serveRaw({ ping: silent });
    const session = await newSessions().open(server.url);
    const controller = new AbortController();
    const probing = session.probe(controller.signal);
    await until(() => server.pending === 1);
    controller.abort(over);
    await expect(probing).rejects.toBe(over);
    await until(() => server.pending === 0);
  });

  it('rejects when the server no longer knows the session', async () => {
    const server = await serveRaw({ ping: ({ response }) => response.writeHead(404).end() });
    const session = await newSessions().open(server.url);
    await expect(session.probe(new AbortController().signal)).rejects.toMatchObject({
      code: 'SESSION_LOST',
    });
    expect(session.lost?.aborted).toBe(true);
  });
});

describe('the teardown', () => {
  it('of a session with hung calls and streams leaves no socket, sends nothing more', async () => {
    const server = await serveRaw({ GET: (each) => beginEvents(each), DELETE: silent });
    const session = await newSessions().open({ url: server.url, notifications: true });
    const { client } = lend(session);
    const calls = Array.from({ length: 5 }, () => client.callTool({ name: 'hang' }));
    const outcomes = Promise.allSettled(calls);
    await until(() => server.pending === 6);
    session.fence(over);
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({
        reason: { code: 'SESSION_LOST', execution: 'unknown', cause: over },
      });
    }
    await expect(client.ping()).rejects.toMatchObject({ code: 'SESSION_LOST' });
    const controller = new AbortController();
    const terminating = session.terminate(controller.signal);
    const rejected = expect(terminating).rejects.toBe(over);
    await until(() => server.count('DELETE') === 1);
    controller.abort(over);
    await rejected;
    await takeDown(session);
    await until(() => server.openSockets === 0);
    const before = server.exchanges.length;
    await pause(50);
    expect(server.exchanges).toHaveLength(before);
    expect(server.openSockets).toBe(0);
  });

  it.each([200, 202, 404, 405])('takes %i for a DELETE as done', async (status) => {
    const server = await serveRaw({ DELETE: endless('text/plain', status) });
    const session = await newSessions().open(server.url);
    session.fence(over);
    await session.terminate(new AbortController().signal);
    expect(server.exchanges.at(-1)?.headers).toMatchObject({
      'mcp-session-id': 'session-1',
      'mcp-protocol-version': expect.stringMatching(/^20/),
    });
    await until(() => server.pending === 0);
    await takeDown(session);
    await until(() => server.openSockets === 0);
  });

  it.each([301, 401, 500])('tells that a DELETE was refused with %i', async (status) => {
    const DELETE = ({ response }: RawExchange): void => {
      response.writeHead(status, { location: '/elsewhere' }).end();
    };
    const server = await serveRaw({ DELETE });
    const session = await newSessions().open(server.url);
    session.fence(over);
    await expect(session.terminate(new AbortController().signal)).rejects.toMatchObject({ status });
    expect(server.count('DELETE')).toBe(1);
  });

  it('of a server without sessions cancels what is in flight, and sends no DELETE', async () => {
    const server = await serveRaw({
      initialize: (each) => {
        each.response.removeHeader('mcp-session-id');
        const { message } = each;
        answerJson(each, {
          protocolVersion: message.params?.['protocolVersion'],
          capabilities: {},
          serverInfo: { name: 's', version: '1' },
        });
      },
    });
    const session = await newSessions().open(server.url);
    const calls = Promise.allSettled([lend(session).client.callTool({ name: 'hang' })]);
    await until(() => server.pending === 1);
    session.fence(over);
    await calls;
    await session.terminate(new AbortController().signal);
    await until(() => server.count('POST', 'notifications/cancelled') === 1);
    const { id } = server.exchanges.find(({ message }) => message.method === 'tools/call')!.message;
    expect(server.exchanges.at(-1)?.message.params).toMatchObject({ requestId: id });
    await takeDown(session);
    expect(server.count('DELETE')).toBe(0);
    await until(() => server.openSockets === 0);
  });

  it('of one session leaves another of the same server alone', async () => {
    const server = await serveRaw({ 'tools/call': (each) => answerJson(each, { content: [] }) });
    const sessions = newSessions();
    const [first, second] = [await sessions.open(server.url), await sessions.open(server.url)];
    await sessions.close(first!);
    await expect(lend(second!).client.callTool({ name: 'x' })).resolves.toBeDefined();
    await sessions.close(second!);
    await until(() => server.openSockets === 0);
  });

  it('lets nothing out that waited for its headers when the fence fell', async () => {
    const server = await serveRaw();
    const session = await newSessions().open(server.url);
    let give = (_: Record<string, string>): void => {};
    const client = session.lend({
      headers: () => new Promise((resolve) => (give = resolve)),
      end: () => {},
      endedWith: () => undefined,
    });
    const outcome = Promise.allSettled([client.ping()]);
    await pause(5);
    session.fence(over);
    give({});
    expect(await outcome).toMatchObject([{ reason: { code: 'SESSION_LOST' } }]);
    await pause(20);
    expect(server.count('POST', 'ping')).toBe(0);
  });

  it.each(['hung', 'lost'])(
    'leaves nothing of a session rooted whose calls were %s',
    async (how) => {
      const server = await serveRaw({
        GET: (each) => beginEvents(each),
        DELETE: silent,
        'tools/call': ({ response }) => {
          if (how === 'lost') response.writeHead(404).end();
        },
      });
      const sessions = newSessions();
      const refs: WeakRef<object>[] = [];
      const saved: unknown[] = [];
      for (let n = 0; n < 10; n += 1) {
        const session = await sessions.open({ url: server.url, notifications: true });
        const client = session.lend(BARE_LEASE);
        const outcome = client.callTool({ name: 'x' }).catch((error: unknown) => error);
        await until(() => (how === 'lost' ? session.lost?.aborted === true : server.pending >= 2));
        refs.push(new WeakRef(session), new WeakRef(session.transport));
        sessions.forget(session);
        session.fence(over);
        // What a careless caller keeps must not keep the session.
        saved.push(client, await outcome);
        await takeDown(session);
      }
      await until(() => server.openSockets === 0);
      // The last one may still be held by a variable of the loop.
      await until(() => {
        (globalThis as { gc?: () => void }).gc?.();
        return refs.filter((ref) => ref.deref() !== undefined).length <= 2;
      }, 5_000);
      expect(saved).toHaveLength(20);
    },
  );
});

// Rung 2 waits for the cancels of rung 1. It may come late, or never: 256 sessions terminate at once.
it('a cancel that fails before anybody waits for it is no unhandled rejection', async () => {
  const server = await serveRaw({
    initialize: (each) => {
      const { protocolVersion } = each.message.params ?? {};
      const serverInfo = { name: 'raw', version: '1' };
      answerJson(each, { protocolVersion, capabilities: { tools: {} }, serverInfo });
    },
    'tools/call': silent,
    'notifications/cancelled': ({ response }) => response.writeHead(500).end(),
  });
  const session = await newSessions().open(server.url);
  const call = lend(session).client.callTool({ name: 'x' }).catch(codeOf);
  await until(() => server.count('POST', 'tools/call') === 1);
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', onUnhandled);
  session.fence(over);
  await until(() => server.count('POST', 'notifications/cancelled') === 1);
  await pause(50);
  session.sever(over);
  expect(await call).toBe('SESSION_LOST');
  await pause(20);
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
});
