// Closing sessions of the older HTTP+SSE protocol whose server holds on to everything, and giving up
// opens of them (promises P1, P2; rows 7a, 7d, 7e and 9 of the hazards).

import { type HttpTarget, SessionPool } from 'mcp-session-pool';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { MemoryOAuthProvider } from '../support/memory-oauth-provider.ts';
import { startOAuthServer } from '../support/oauth-server.ts';
import { beginEvents, pause, until } from '../support/raw-server.ts';
import { type SseHandlers, startSseServer, take } from '../support/sse-server.ts';

const SESSIONS = 100;
const CLOSE_TIMEOUT_MS = 6_000;
/** The event loop's lag, of a client and a server in one process, on a machine with others. */
const LAG_MS = 2_750;

const closing = closeAfterEach();

async function scene(handlers: SseHandlers = {}, more: Partial<HttpTarget> = {}) {
  const server = closing(await startSseServer(handlers));
  const target: HttpTarget = { url: server.url, transport: 'sse', identity: 'ada', ...more };
  return { server, target };
}

test.each<[string, SseHandlers, number]>([
  ['never take a call', { 'tools/call': () => {}, 'notifications/cancelled': () => {} }, 100],
  ['take calls and never answer', { 'tools/call': take, 'notifications/cancelled': take }, 3_500],
])(
  '100 SSE sessions whose servers %s end in time: no socket, no request is left',
  async (...row) => {
    const [, handlers, watchMs] = row;
    const { server, target } = await scene(handlers);
    const options = { maxSessionsPerKey: SESSIONS, closeTimeoutMs: CLOSE_TIMEOUT_MS };
    const pool = closing(new SessionPool(options));
    const leases = await Promise.all(Array.from({ length: SESSIONS }, () => pool.acquire(target)));
    const codes: unknown[] = [];
    for (const { client } of leases) {
      client.callTool({ name: 'hang' }).catch((error) => codes.push(error.code));
    }
    await until(() => server.count('POST', 'tools/call') === SESSIONS, 10_000);

    const report = await pool.close();
    await new Promise(setImmediate);
    expect(codes).toEqual(Array(SESSIONS).fill('SESSION_LOST'));
    expect(report).toMatchObject({ sessions: SESSIONS, closed: SESSIONS, abandoned: 0 });
    expect(report.durationMs).toBeLessThan(CLOSE_TIMEOUT_MS + 250 + LAG_MS);
    await until(() => server.openSockets === 0);
    const { connections, exchanges } = server;
    const atClose = exchanges.length;
    // The second time, for longer than an `EventSource` waits before it asks for another stream.
    await pause(watchMs);
    expect(exchanges).toHaveLength(atClose);
    expect(server.connections).toBe(connections);
    expect(server.count('GET')).toBe(SESSIONS);
    expect(server.count('DELETE')).toBe(0);
  },
  25_000,
);

test('an SSE server hears of the calls in flight that a close takes back, with the newest headers', async () => {
  let token = 'first';
  const headers = (): Record<string, string> => ({ authorization: token });
  const { server, target } = await scene({ 'tools/call': take }, { headers });
  const pool = closing(new SessionPool());
  const lease = await pool.acquire(target);
  const codes = ['a', 'b'].map((name) => lease.client.callTool({ name }).catch(({ code }) => code));
  await until(() => server.count('POST', 'tools/call') === 2);
  token = 'second';

  const report = await pool.close();
  expect(await Promise.all(codes)).toEqual(['SESSION_LOST', 'SESSION_LOST']);
  expect(report).toMatchObject({ closed: 1, abandoned: 0, unterminated: 0 });
  const of = (method: string) =>
    server.exchanges.filter(({ message }) => message.method === method);
  const cancels = of('notifications/cancelled');
  expect(cancels.map(({ message }) => message.params?.['requestId'])).toEqual(
    of('tools/call').map(({ message }) => message.id),
  );
  for (const { headers: seen } of cancels) expect(seen.authorization).toBe('second');
  await until(() => server.openSockets === 0);
});

describe('an open over SSE', () => {
  const endless: SseHandlers['GET'] = ({ response }) => {
    response.writeHead(503).write('not');
  };

  test.each<[string, SseHandlers]>([
    ['whose stream never begins', { GET: () => {} }],
    ['whose stream names no endpoint (row 7a)', { GET: (each) => void beginEvents(each) }],
    ['that is never initialized', { initialize: take }],
    ['that is never told of it', { 'notifications/initialized': () => {} }],
  ])('%s ends with connectTimeoutMs', async (_, handlers) => {
    const { server, target } = await scene(handlers);
    const pool = closing(new SessionPool({ connectTimeoutMs: 300 }));
    const error = await pool.acquire(target).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'OPEN_FAILED', kind: 'timeout' });
    await until(() => server.openSockets === 0 && pool.stats().sessions.opening === 0);
    const before = server.exchanges.length;
    await pause(100);
    expect(server.exchanges).toHaveLength(before);
  });

  test.each<[string, SseHandlers]>([
    ['with a refusal whose body never ends (row 7d)', { GET: endless }],
    ['with a stream that names no endpoint', { GET: (each) => void beginEvents(each) }],
  ])('that the pool closes in the midst of, %s, leaves nothing', async (_, handlers) => {
    const { server, target } = await scene(handlers);
    const pool = closing(new SessionPool({ closeTimeoutMs: 500 }));
    const outcome = pool.acquire(target).catch(({ code }) => code);
    await until(() => server.count('GET') === 1);
    await pause(30);
    expect(await pool.close()).toMatchObject({ sessions: 0, abandoned: 0 });
    expect(await outcome).toBe('POOL_CLOSED');
    await until(() => server.openSockets === 0);
    expect(server.count('GET')).toBe(1);
  });

  test('that the pool closes while it is authorized asks for no other stream (row 7e)', async () => {
    const oauth = closing(await startOAuthServer({ resource: () => server.url }));
    oauth.mode = 'held';
    const challenge = `Bearer resource_metadata="${oauth.url.origin}/elsewhere"`;
    const tokens = { ...oauth.tokens, access_token: 'old', issuer: oauth.url.origin };
    const authProvider = new MemoryOAuthProvider(tokens);
    const { server, target } = await scene(
      { GET: ({ response }) => response.writeHead(401, { 'www-authenticate': challenge }).end() },
      { authProvider },
    );
    const pool = closing(new SessionPool({ closeTimeoutMs: 500 }));
    const outcome = pool.acquire(target).catch(({ code }) => code);
    await until(() => oauth.tokenRequests.length === 1);
    await pool.close();
    expect(await outcome).toBe('POOL_CLOSED');
    oauth.mode = 'good';
    oauth.letGo();
    await pause(100);
    expect(server.count('GET')).toBe(1);
    expect(server.openSockets).toBe(0);
  });

  test('whose provider never tells its token ends in time, and sends nothing (row 9)', async () => {
    const authProvider = new MemoryOAuthProvider();
    authProvider.before.tokens = () => new Promise(() => {});
    const { server, target } = await scene({}, { authProvider });
    const pool = closing(new SessionPool({ connectTimeoutMs: 200 }));
    await expect(pool.acquire(target)).rejects.toMatchObject({ code: 'OPEN_FAILED' });
    await pool.close();
    expect(server.connections).toBe(0);
  });
});

test('a call over SSE whose token never comes ends by its timeout, and its session in time', async () => {
  const authProvider = new MemoryOAuthProvider({ access_token: 'good' });
  const { server, target } = await scene({ 'tools/call': take }, { authProvider });
  const pool = closing(new SessionPool({ closeTimeoutMs: 500 }));
  const { client } = await pool.acquire(target);
  authProvider.before.tokens = () => new Promise(() => {});
  const timed = client.callTool({ name: 'x' }, undefined, { timeout: 60 });
  await expect(timed).rejects.toMatchObject({ code: -32_001 });
  const params = { progressToken: 1, progress: 1 };
  const told = client.notification({ method: 'notifications/progress', params });
  const stuck = told.catch(({ code }) => code);
  const report = await pool.close();
  expect(await stuck).toMatch(/^(SESSION_LOST|LEASE_RELEASED)$/);
  expect(report).toMatchObject({ closed: 1, abandoned: 0 });
  expect(report.durationMs).toBeLessThan(500 + 250 + LAG_MS);
  expect(server.count('POST', 'tools/call')).toBe(0);
  await until(() => server.openSockets === 0);
});
