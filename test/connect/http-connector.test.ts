// Leases of real sessions on the SDK's own server: what they share, and what they must not.

import { AsyncLocalStorage } from 'node:async_hooks';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { Agent } from 'undici';
import { describe, expect, it, vi } from 'vitest';
import type { ConnectContext } from '../../src/connect/connector.ts';
import { createHttpConnector } from '../../src/connect/http-connector.ts';
import { httpMeans } from '../../src/connect/http-shared.ts';
import { lentShared } from '../../src/connect/sdk-1.ts';
import { createSseConnector } from '../../src/connect/sse-connector.ts';
import type { HeaderRecord } from '../../src/target.ts';
import { describeConnection } from '../support/connection-contract.ts';
import { HttpSessions, lend, type OpenSession, textOf } from '../support/http-sessions.ts';
import { startMcpServer, type TestMcpServer } from '../support/mcp-server.ts';
import { answerJson, pause, until } from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';

const { closers, newSessions, serveRaw } = useSessions();

async function serve(options: Parameters<typeof startMcpServer>[0] = {}): Promise<TestMcpServer> {
  const server = await startMcpServer(options);
  closers.push(() => server.close());
  return server;
}

const whoami = async (session: OpenSession, headers: HeaderRecord): Promise<HeaderRecord> => {
  const { client, release } = lend(session, { headers });
  const seen = JSON.parse(textOf(await client.callTool({ name: 'whoami' }))) as HeaderRecord;
  release();
  return seen;
};

describeConnection('a session over HTTP', async () => {
  const server = await startMcpServer();
  const sessions = new HttpSessions();
  const session = await sessions.open(server.url);
  return {
    connection: session,
    call: (client) => client.callTool({ name: 'count' }),
    settle: () => Promise.resolve(),
    dispose: () => server.close(),
  };
});

describe.each([{ json: false }, { json: true }])('a session over HTTP, %j', ({ json }) => {
  it('is opened, lent, used and ended with a DELETE, and leaves no socket', async () => {
    const server = await serve({ json });
    const sessions = newSessions();
    const session = await sessions.open(server.url);
    expect([...server.sessions.keys()]).toEqual([session.sessionId]);
    for (const expected of ['1', '2', '3']) {
      const { client, release } = lend(session);
      expect(client.getServerVersion()).toEqual({ name: 'test-server', version: '1.2.3' });
      expect(textOf(await client.callTool({ name: 'count' }))).toBe(expected);
      expect(release()).toBe('clean');
    }
    expect(server.count('initialize')).toBe(1);
    await sessions.close(session);
    expect(server.sessions.size).toBe(0);
    expect(server.count('GET')).toBe(0);
    await until(() => server.openSockets === 0);
  });
});

describe('leases of one session', () => {
  it('elicit from the lease whose call asks, 50 times interleaved', async () => {
    const server = await serve();
    const session = await newSessions().open({ url: server.url, leasesPerSession: 2 });
    const leases = ['a', 'b'].map((lease) => {
      const { client } = lend(session);
      client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
        // Answered out of order.
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
        return { action: 'accept', content: { name: `${lease} for ${params.message}` } };
      });
      return { lease, client };
    });
    const answers = Array.from({ length: 50 }, async (_, n) => {
      const { lease, client } = leases[n % 2]!;
      const result = await client.callTool({ name: 'elicit', arguments: { name: `${n}` } });
      expect(textOf(result)).toBe(`${lease} for ${n}`);
    });
    await Promise.all(answers);
  });

  it('hear the progress of their own calls', async () => {
    const server = await serve();
    const session = await newSessions().open({ url: server.url, leasesPerSession: 5 });
    const calls = Array.from({ length: 20 }, async (_, n) => {
      const heard: unknown[] = [];
      const { client } = lend(session);
      const onprogress = (progress: unknown): void => void heard.push(progress);
      const params = { name: 'progress', arguments: { name: `${n}` } };
      await client.callTool(params, undefined, { onprogress });
      expect(heard).toEqual([1, 2, 3].map((progress) => ({ progress, message: `${n}` })));
    });
    await Promise.all(calls);
  });

  it('carry their own headers, on their own requests alone', async () => {
    const server = await serve();
    const session = await newSessions().open({ url: server.url, leasesPerSession: 50 });
    const names = Array.from({ length: 50 }, (_, n) => `lease-${n}`);
    const seen = await Promise.all(
      names.map((name) => whoami(session, { 'X-Lease': name, [`x-${name}`]: 'mine' })),
    );
    for (const [n, headers] of seen.entries()) {
      const own = Object.keys(headers).filter((name) => name.startsWith('x-lease'));
      expect(headers['x-lease']).toBe(`lease-${n}`);
      expect(own.sort()).toEqual(['x-lease', `x-lease-${n}`].sort());
    }
    await session.probe(new AbortController().signal);
    expect(server.seen.at(-1)).toMatchObject({ method: 'ping' });
    expect(Object.keys(server.seen.at(-1)!.headers)).not.toContain('x-lease');
  });

  it('fail with what their headers function threw, and the session goes on', async () => {
    const server = await serve();
    const session = await newSessions().open(server.url);
    const failure = new Error('no token');
    const bad = session.lend({
      headers: () => Promise.reject(failure),
      end: () => {},
      endedWith: () => undefined,
    });
    await expect(bad.ping()).rejects.toBe(failure);
    expect(session.lost?.aborted).toBe(false);
    await expect(whoami(session, {})).resolves.toBeDefined();
  });

  it('end with all they set: handlers, headers, schemas, calls in flight', async () => {
    const server = await serve();
    const session = await newSessions().open(server.url);
    const first = lend(session, { headers: { 'x-first': 'yes' } });
    const handler = vi.fn();
    first.client.setRequestHandler(ElicitRequestSchema, handler);
    await first.client.listTools();
    const bad = { name: 'structured', arguments: { answer: 42 } };
    await expect(first.client.callTool(bad)).resolves.toMatchObject({
      structuredContent: { answer: 42 },
    });
    const hung = first.client.callTool({ name: 'hang' });
    const outcome = Promise.allSettled([hung]);
    await until(() => server.count('tools/call') === 2);
    first.release();
    expect(await outcome).toMatchObject([{ reason: { code: 'LEASE_RELEASED' } }]);
    await until(() => server.aborted.length === 1);
    const second = lend(session);
    const elicit = { name: 'elicit', arguments: { name: 'x' } };
    await expect(second.client.callTool(elicit)).resolves.toMatchObject({ isError: true });
    expect(handler).not.toHaveBeenCalled();
    expect(server.seen.at(-1)?.headers['x-first']).toBeUndefined();
    const before = server.seen.length;
    await expect(first.client.callTool({ name: 'count' })).rejects.toMatchObject({
      code: 'LEASE_RELEASED',
    });
    await pause(30);
    expect(server.seen).toHaveLength(before);
  });

  it('send nothing when a signal aborts after 300 calls that followed it', async () => {
    const server = await serveRaw({ 'tools/call': (each) => answerJson(each, { content: [] }) });
    const { client } = lend(await newSessions().open(server.url));
    const controller = new AbortController();
    const options = { signal: controller.signal };
    for (let n = 0; n < 6; n += 1) {
      const calls = Array.from({ length: 50 }, () =>
        client.callTool({ name: 'x' }, undefined, options),
      );
      await Promise.all(calls);
    }
    const before = server.exchanges.length;
    expect(server.count('POST', 'tools/call')).toBe(300);
    controller.abort();
    await pause(50);
    expect(server.exchanges).toHaveLength(before);
  });

  it('tell the server of a call that is cancelled, and hang up on it', async () => {
    const server = await serveRaw();
    const { client } = lend(await newSessions().open(server.url));
    const controller = new AbortController();
    const options = { signal: controller.signal };
    const calls = Promise.allSettled(
      Array.from({ length: 10 }, () => client.callTool({ name: 'hang' }, undefined, options)),
    );
    await until(() => server.pending === 10);
    controller.abort();
    await calls;
    await until(() => server.pending === 0);
    await until(() => server.count('POST', 'notifications/cancelled') === 10);
  });

  it('taint the session by what the server remembers', async () => {
    const server = await serve();
    const session = await newSessions().open(server.url);
    const lease = lend(session);
    await lease.client.setLoggingLevel('debug');
    expect(lease.release()).toBe('tainted');
    expect(lend(session).release()).toBe('clean');
  });
});

describe('the connector', () => {
  it('leaves a dispatcher of the caller open', async () => {
    const server = await serve();
    const agent = new Agent();
    closers.push(() => agent.destroy());
    const sessions = newSessions({ dispatcher: agent });
    await sessions.close(await sessions.open(server.url));
    await expect(sessions.open(server.url)).resolves.toBeDefined();
    expect(agent.destroyed).toBe(false);
  });

  it('hands the async context of no lease to the notification stream', async () => {
    const server = await serve();
    const session = await newSessions().open(server.url);
    const context = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    context.run('of the first lease', () => {
      lend(session, { onNotification: () => void seen.push(context.getStore()) });
    });
    await until(() => server.count('GET') === 1);
    await [...server.sessions.values()][0]!.server.sendToolListChanged();
    await until(() => seen.length === 1);
    expect(seen).toEqual([undefined]);
  });

  it.each([createHttpConnector, createSseConnector])(
    'refuses targets that are not of HTTP: %o',
    async (create) => {
      const connect = create({ ...lentShared(), ...httpMeans({}) });
      const context = { signal: new AbortController().signal } as ConnectContext;
      await expect(connect({ command: 'true' }, context)).rejects.toThrow(TypeError);
    },
  );
});
