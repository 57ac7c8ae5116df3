// Custom targets over the SDK's own Streamable HTTP transport, in front of the SDK's own server:
// whose headers a request carries, what the server is told at the end, and what a loss is.

import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  type AcquireOptions,
  type CustomTarget,
  createTransportConnector,
  type Lease,
  SessionPool,
  type SessionPoolOptions,
  type TransportContext,
} from 'mcp-session-pool';
import { hostileServer } from 'mcp-session-pool/testing';
import { Agent, fetch as undiciFetch } from 'undici';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { startMcpServer, type TestMcpServerOptions } from '../support/mcp-server.ts';
import { beginEvents, speakMcp, startRawServer, until } from '../support/raw-server.ts';

const closing = closeAfterEach();
/** Of the event loop on a busy machine. */
const LAG_MS = 250;

const call = async (lease: Pick<Lease, 'client'>, name: string, args = {}): Promise<string> =>
  textOf(await lease.client.callTool({ name, arguments: args }));

const targetOf = (url: URL): CustomTarget => ({
  server: url.origin,
  identity: 'ada',
  connect: createTransportConnector(
    ({ fetch }) => new StreamableHTTPClientTransport(url, { fetch }),
  ),
});

async function scene(options: SessionPoolOptions = {}, serverOptions: TestMcpServerOptions = {}) {
  const server = closing(await startMcpServer(serverOptions));
  const pool = closing(new SessionPool({ closeTimeoutMs: 2_000, ...options }));
  return { server, pool, target: targetOf(server.url) };
}

const token = (name: string): AcquireOptions => ({ headers: { authorization: `Bearer ${name}` } });

test('each request carries the headers of its own lease, however many share the session', async () => {
  const { server, pool, target } = await scene({ leasesPerSession: 8 });
  const names = Array.from({ length: 8 }, (_, n) => `lease-${n}`);
  const leases = await Promise.all(names.map((name) => pool.acquire(target, token(name))));
  expect(server.sessions.size).toBe(1);
  for (let round = 0; round < 5; round += 1) {
    const seen = await Promise.all(leases.map((lease) => call(lease, 'whoami')));
    const authorizations = seen.map((each) => JSON.parse(each).authorization);
    expect(authorizations).toEqual(names.map((name) => `Bearer ${name}`));
  }
});

test('notifications and answers carry the headers of the lease that sends them as well', async () => {
  const { server, pool, target } = await scene({ capabilities: { elicitation: {} } });
  const accept = () => ({ action: 'accept' as const, content: { name: 'ada' } });
  const lease = await pool.acquire(target, { ...token('fresh'), onRequest: accept });
  expect(await call(lease, 'elicit', { name: 'who' })).toBe('ada');
  const params = { progressToken: 1, progress: 1 };
  await lease.client.notification({ method: 'notifications/progress', params });
  const own = server.seen.filter(({ method, httpMethod }) => {
    return httpMethod === 'POST' && (method === undefined || method === 'notifications/progress');
  });
  expect(own.map(({ headers }) => headers.authorization)).toEqual(['Bearer fresh', 'Bearer fresh']);
});

test('the headers of a lease end with it, and its transport’s own are not replaced', async () => {
  const { server, pool } = await scene();
  const target: CustomTarget = {
    ...targetOf(server.url),
    connect: createTransportConnector(({ fetch }) => {
      const requestInit = { headers: { 'x-own': 'own', 'x-both': 'own' } };
      return new StreamableHTTPClientTransport(server.url, { fetch, requestInit });
    }),
  };
  const whoami = async (options?: AcquireOptions): Promise<Record<string, unknown>> => {
    await using lease = await pool.acquire(target, options);
    return JSON.parse(await call(lease, 'whoami'));
  };
  const first = await whoami({ headers: { 'x-both': 'lease', traceparent: '00-1' } });
  expect(first).toMatchObject({ 'x-own': 'own', 'x-both': 'lease', traceparent: '00-1' });
  const second = await whoami();
  expect(second).toMatchObject({ 'x-own': 'own', 'x-both': 'own' });
  expect(second).not.toHaveProperty('traceparent');
  expect(server.sessions.size).toBe(1);
});

test('target headers go with every request of a pool whose own connector it is, the newest with the end', async () => {
  const server = closing(await startMcpServer());
  let asked = 0;
  const headers = async (): Promise<Record<string, string>> => {
    asked += 1;
    return { authorization: `Bearer ${asked}` };
  };
  const connector = createTransportConnector(({ target, fetch }) => {
    if (!('url' in target)) throw new Error('Expected a URL');
    return new StreamableHTTPClientTransport(new URL(target.url), { fetch });
  });
  const pool = closing(new SessionPool({ connector }));
  const target = { url: server.url, identity: 'ada', headers };
  await pool.use(target, (client) => client.callTool({ name: 'count' }));
  await pool.close();
  expect(server.count('DELETE')).toBe(1);
  const tokens = server.seen.map((each) => each.headers.authorization);
  expect(new Set(tokens).size).toBe(server.seen.length);
  expect(tokens).not.toContain(undefined);
});

test('headers of a target follow no redirect to another origin, whatever the transport allows', async () => {
  const server = closing(await hostileServer('redirects-elsewhere'));
  const connector = createTransportConnector(
    ({ fetch }) =>
      new StreamableHTTPClientTransport(server.url, { fetch, redirectPolicy: 'follow' }),
  );
  const pool = closing(new SessionPool({ connector }));
  const target = { url: server.url, identity: 'ada', headers: { 'x-api-key': 'sesame' } };
  await expect(pool.acquire(target)).rejects.toMatchObject({ code: 'OPEN_FAILED', status: 307 });
  expect(server.requests.length).toBeGreaterThan(0);
  expect(server.strayed).toEqual([]);
});

test('a headers function that fails fails the call with what it threw, and nothing is sent', async () => {
  const { server } = await scene();
  const failure = new Error('the vault is closed');
  let isFailing = false;
  const headers = (): Record<string, string> => {
    if (isFailing) throw failure;
    return {};
  };
  const connector = createTransportConnector(
    ({ fetch }) => new StreamableHTTPClientTransport(server.url, { fetch }),
  );
  const own = closing(new SessionPool({ connector }));
  const lease = await own.acquire({ url: server.url, identity: 'ada', headers });
  isFailing = true;
  await expect(lease.client.callTool({ name: 'count' })).rejects.toBe(failure);
  isFailing = false;
  expect(await call(lease, 'count')).toBe('1');
  expect(server.count('tools/call')).toBe(1);
});

test('closing a pool sends one DELETE per session, and no cancel that it makes needless', async () => {
  const { server, pool, target } = await scene();
  const leases = await Promise.all([pool.acquire(target), pool.acquire(target)]);
  const hung = leases.map((lease) => lease.client.callTool({ name: 'hang' }));
  const outcomes = Promise.allSettled(hung);
  await until(() => server.count('tools/call') === 2);
  expect(await pool.close()).toMatchObject({ sessions: 2, closed: 2, unterminated: 0 });
  expect(server.count('DELETE')).toBe(2);
  expect(server.count('notifications/cancelled')).toBe(0);
  expect(server.sessions.size).toBe(0);
  for (const outcome of await outcomes) {
    expect(outcome).toMatchObject({ reason: { code: 'SESSION_LOST', execution: 'unknown' } });
  }
  await until(() => server.openSockets === 0);
});

test('a server without sessions is sent the cancels of its calls instead, through the fence', async () => {
  const { server, pool, target } = await scene({}, { stateless: true });
  const lease = await pool.acquire(target);
  const hung = lease.client.callTool({ name: 'hang' });
  const outcome = hung.catch((error: unknown) => error);
  await until(() => server.count('tools/call') === 1);
  expect(await pool.close()).toMatchObject({ sessions: 1, closed: 1, unterminated: 0 });
  expect(await outcome).toMatchObject({ code: 'SESSION_LOST' });
  expect(server.count('notifications/cancelled')).toBe(1);
  expect(server.count('DELETE')).toBe(0);
});

test('a server that forgot the session is sent no DELETE, and the call runs again on a fresh one', async () => {
  const { server, pool, target } = await scene();
  await pool.use(target, (client) => client.callTool({ name: 'count' }));
  for (const id of [...server.sessions.keys()]) await server.forget(id);
  expect(await pool.use(target, (client) => call({ client }, 'count'))).toBe('1');
  await until(() => pool.stats().sessions.closing === 0);
  expect(server.count('DELETE')).toBe(0);
  expect(server.count('initialize')).toBe(2);
});

test('a DELETE that is never answered is given up at half time, and the session is closed', async () => {
  const server = closing(await startRawServer(speakMcp({ DELETE: () => {} })));
  const pool = closing(new SessionPool({ closeTimeoutMs: 600 }));
  (await pool.acquire(targetOf(server.url))).release();
  const report = await pool.close();
  expect(report).toMatchObject({ sessions: 1, closed: 1, abandoned: 0, unterminated: 1 });
  expect(report.durationMs).toBeGreaterThan(250);
  expect(report.durationMs).toBeLessThan(600 + 250 + LAG_MS);
  await until(() => server.openSockets === 0);
});

test('an open that fails after the server made a session ends that session', async () => {
  const raw = speakMcp({
    'notifications/initialized': ({ response }) => response.writeHead(500).end(),
  });
  const server = closing(await startRawServer(raw));
  const pool = closing(new SessionPool());
  await expect(pool.acquire(targetOf(server.url))).rejects.toMatchObject({
    code: 'OPEN_FAILED',
    kind: 'http',
    status: 500,
  });
  expect(server.count('DELETE')).toBe(1);
  expect(server.exchanges.at(-1)?.headers['mcp-session-id']).toBe('session-1');
});

test.each(['fails', 'hangs'])(
  'a factory that fetches and then %s leaves no request behind',
  async (how) => {
    const server = closing(await startRawServer(() => {}));
    const failure = new Error('no transport today');
    const connect = createTransportConnector(async ({ fetch }) => {
      fetch(server.url).catch(() => {});
      await until(() => server.pending === 1);
      if (how === 'fails') throw failure;
      return new Promise<never>(() => {});
    });
    const pool = closing(new SessionPool({ connectTimeoutMs: 1_000, closeTimeoutMs: 300 }));
    const opening = pool.acquire({ server: 'tools', identity: 'ada', connect });
    await expect(opening).rejects.toMatchObject(
      how === 'fails' ? { cause: failure } : { kind: 'timeout' },
    );
    await until(() => server.openSockets === 0);
    expect(server.pending).toBe(0);
  },
);

test('a message over `maxMessageBytes` fails its call, and the session goes on', async () => {
  const text = 'x'.repeat(20_000);
  const { pool, target } = await scene({ maxMessageBytes: 10_000 }, { json: true });
  const lease = await pool.acquire(target);
  await expect(call(lease, 'echo', { text })).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
  expect(await call(lease, 'count')).toBe('1');
});

test.each(['connector', 'pool'])(
  'a dispatcher given to the %s carries it all, and is not closed with the pool',
  async (to) => {
    const server = closing(await startMcpServer());
    const agent = new Agent();
    let dispatched = 0;
    const counting = agent.compose((dispatch) => (options, handler) => {
      dispatched += 1;
      return dispatch(options, handler);
    });
    const connect = createTransportConnector(
      ({ fetch }) => new StreamableHTTPClientTransport(server.url, { fetch }),
      to === 'connector' ? { dispatcher: counting } : {},
    );
    const pool = new SessionPool(to === 'pool' ? { dispatcher: counting } : {});
    await pool.use({ server: 'tools', identity: 'ada', connect }, (client) => client.listTools());
    await pool.close();
    expect(dispatched).toBe(server.seen.length);
    expect([agent.closed, agent.destroyed]).toEqual([false, false]);
    await agent.destroy();
  },
);

test('the request of an answered call that its server holds open is ended, and its socket free', async () => {
  const answer = (id: unknown): string =>
    `data: ${JSON.stringify({ jsonrpc: '2.0', id, result: { content: [] } })}\n\n`;
  const server = closing(
    await startRawServer(
      speakMcp({ 'tools/call': (each) => void beginEvents(each, answer(each.message.id)) }),
    ),
  );
  const pool = closing(new SessionPool());
  const lease = await pool.acquire(targetOf(server.url));
  await lease.client.callTool({ name: 'answered' });
  await until(() => server.pending === 0);
  expect(lease.signal.aborted).toBe(false);
});

test('a fetch of the caller’s does the work below the fence, and knows each session’s context', async () => {
  const server = closing(await startMcpServer());
  const methods: (string | undefined)[] = [];
  const contexts: TransportContext[] = [];
  const connect = createTransportConnector(
    (context) => {
      contexts.push(context);
      return new StreamableHTTPClientTransport(server.url, { fetch: context.fetch });
    },
    {
      fetch: (url, init) => {
        methods.push(init?.method);
        return undiciFetch(url, init as object) as unknown as Promise<Response>;
      },
    },
  );
  const pool = closing(new SessionPool({ closeTimeoutMs: 1_234 }));
  const target = { server: 'tools', identity: 'ada', connect };
  await pool.use(target, (client) => client.callTool({ name: 'count' }));
  await pool.close();
  expect(methods.toSorted()).toEqual(['DELETE', 'GET', 'POST', 'POST', 'POST']);
  expect(contexts[0]?.target).toMatchObject({ server: 'tools', identity: 'ada' });
  expect(contexts[0]?.settings.closeTimeoutMs).toBe(1_234);
});
