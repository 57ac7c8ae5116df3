// The SDK's own SSE transport in a pool: its EventSource comes back by itself, to a session that
// knows nothing of `initialize`, and a sign-in may open another one after the close.

import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { SessionPool } from 'mcp-session-pool';
import { expect, type TestContext, test } from 'vitest';
import { type CountedTarget, countedTarget } from '../support/custom-targets.ts';
import { MemoryOAuthProvider } from '../support/memory-oauth-provider.ts';
import { startOAuthServer } from '../support/oauth-server.ts';
import {
  beginEvents,
  eventOf,
  pause,
  type RawExchange,
  type RawServer,
  startRawServer,
  until,
} from '../support/raw-server.ts';

const WATCH_MS = 250;
/** Of the event loop on a busy machine. */
const LAG_MS = 250;

type Cleanup = Pick<TestContext, 'onTestFinished'>;

const endpoint = 'retry: 0\nevent: endpoint\ndata: /mcp\n\n';

function sseTarget(context: Cleanup, url: URL, authProvider?: MemoryOAuthProvider): CountedTarget {
  return countedTarget(context, url, {
    make: (fetch) => new SSEClientTransport(url, { fetch, ...(authProvider && { authProvider }) }),
  });
}

function poolFor(context: Cleanup, options = {}): SessionPool {
  const pool = new SessionPool({ closeTimeoutMs: 1_000, breaker: false, ...options });
  context.onTestFinished(async () => void (await pool.close()));
  return pool;
}

/** Speaks the old protocol; `end` ends the one stream that is open. */
async function startSseServer(
  context: Cleanup,
): Promise<{ server: RawServer; end: (how: 'end' | 'destroy') => void }> {
  let stream: ReturnType<typeof beginEvents> | undefined;
  const server = await startRawServer((exchange: RawExchange) => {
    const { method, message, response } = exchange;
    if (method === 'GET') {
      stream = beginEvents(exchange, endpoint);
      return;
    }
    response.writeHead(202).end();
    const { id, params } = message;
    if (message.method !== 'initialize') return;
    const serverInfo = { name: 'old', version: '1' };
    const { protocolVersion } = params ?? {};
    const result = { protocolVersion, capabilities: { tools: {} }, serverInfo };
    stream?.write(eventOf({ jsonrpc: '2.0', id, result }));
  });
  context.onTestFinished(() => server.close());
  return { server, end: (how) => void stream?.[how]() };
}

// Row 7c.
test('a server that ends every stream with `retry: 0` fails opens, and is never dialled by itself', async (context) => {
  const server = await startRawServer((exchange) => void beginEvents(exchange, endpoint).end());
  context.onTestFinished(() => server.close());
  const { target, asked } = sseTarget(context, server.url);
  const pool = poolFor(context);
  for (let n = 1; n <= 3; n += 1) {
    await expect(pool.acquire({ ...target, identity: `caller ${n}` })).rejects.toMatchObject({
      code: 'OPEN_FAILED',
    });
  }
  await pool.close();
  await until(() => server.openSockets === 0);
  const before = asked.length;
  await pause(1_200);
  expect(asked.length).toBe(before);
  expect(server.count('GET')).toBe(3);
});

// Rows 7b and 7c.
test.for(['end', 'destroy'] as const)(
  'a stream that is cut (%s) is a lost session, not a fresh one without a handshake',
  async (how, context) => {
    const { server, end } = await startSseServer(context);
    const { target } = sseTarget(context, server.url);
    const pool = poolFor(context);
    const lease = await pool.acquire(target);
    const call = lease.client.callTool({ name: 'hang' });
    const outcome = call.catch((error: unknown) => error);
    await until(() => server.count('POST', 'tools/call') === 1);
    end(how);
    expect(await outcome).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    expect(lease.signal.aborted).toBe(true);
    await until(() => pool.stats().totals.closed === 1);
    await pause(1_200);
    expect(server.count('GET')).toBe(1);
    expect((await pool.acquire(target)).reused).toBe(false);
    expect(server.count('POST', 'initialize')).toBe(2);
  },
);

// Row 7a.
test('an endpoint that never comes is a failed open in time, and leaves no socket', async (context) => {
  const server = await startRawServer((exchange) => void beginEvents(exchange, ': silence\n\n'));
  context.onTestFinished(() => server.close());
  const { target } = sseTarget(context, server.url);
  const pool = poolFor(context, { connectTimeoutMs: 300 });
  await expect(pool.acquire(target)).rejects.toMatchObject({
    code: 'OPEN_FAILED',
    kind: 'timeout',
  });
  await until(() => server.openSockets === 0);
  const began = performance.now();
  expect(await pool.close()).toMatchObject({ abandoned: 0 });
  expect(performance.now() - began).toBeLessThan(1_000 + 250 + LAG_MS);
  expect(server.count('GET')).toBe(1);
});

// Row 7e.
test('a sign-in that ends after the close opens no other stream', async (context) => {
  const server = await startOAuthServer({
    onProtected: ({ response }) => {
      const metadata = new URL('/elsewhere', server.url);
      response.writeHead(401, { 'www-authenticate': `Bearer resource_metadata="${metadata}"` });
      response.end();
    },
  });
  context.onTestFinished(() => server.close());
  const provider = new MemoryOAuthProvider({ refresh_token: server.tokens.refresh_token });
  let letGo = (): void => {};
  const saved = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  let isSaving = false;
  provider.before.saveTokens = () => {
    isSaving = true;
    return saved;
  };
  const { target, asked } = sseTarget(context, server.url, provider);
  const pool = poolFor(context);
  const outcome = pool.acquire(target).catch((error: unknown) => error);
  await until(() => isSaving);
  await pool.close();
  expect(await outcome).toMatchObject({ code: 'POOL_CLOSED' });
  const [paths, before] = [server.paths.length, asked.length];
  letGo();
  // The SDK goes on: it asks for another stream, and waits for it for ever.
  await until(() => asked.length > before);
  await pause(WATCH_MS);
  expect(server.paths.length).toBe(paths);
  expect(server.pending).toBe(0);
});
