// Closing sessions whose server holds on to everything: calls and notification streams that hang,
// DELETEs that are never answered (promises P1, P2). The full size is `bench/idle-cpu`.

import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import { SessionPool } from 'mcp-session-pool';
import { hostileServer } from 'mcp-session-pool/testing';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { answerJson, pause, speakMcp, startRawServer, until } from '../support/raw-server.ts';

const SESSIONS = 100;
const CLOSE_TIMEOUT_MS = 3_000;
/** The event loop's lag, of a client and a server in one process. */
const LAG_MS = 750;

const closing = closeAfterEach();

test('100 sessions with hung calls and streams end in time: no socket, no request, no call is left', async () => {
  const server = closing(await hostileServer('never-ends', { also: ['delete-unanswered'] }));
  const options = { maxSessionsPerKey: SESSIONS, closeTimeoutMs: CLOSE_TIMEOUT_MS };
  const pool = closing(new SessionPool(options));
  const target = { url: server.url, identity: 'ada', notifications: true };
  const leases = await Promise.all(Array.from({ length: SESSIONS }, () => pool.acquire(target)));
  const codes: unknown[] = [];
  for (const { client } of leases) {
    client.callTool({ name: 'hang' }).catch((error) => codes.push(error.code));
  }
  await until(() => server.pending === 2 * SESSIONS, 10_000);

  const report = await pool.close();
  await new Promise(setImmediate);
  expect(codes).toEqual(Array(SESSIONS).fill('SESSION_LOST'));
  expect(report).toMatchObject({ sessions: SESSIONS, closed: SESSIONS, abandoned: 0 });
  expect(report.unterminated).toBe(SESSIONS);
  expect(report.durationMs).toBeLessThan(CLOSE_TIMEOUT_MS + 250 + LAG_MS);
  expect(server.count('DELETE')).toBe(SESSIONS);
  await until(() => server.openSockets === 0);
  const { connections, requests } = server;
  const atClose = requests.length;
  await pause(1_000);
  expect(requests).toHaveLength(atClose);
  expect(server.connections).toBe(connections);
  expect(server.openSockets).toBe(0);
  for (const { signal } of leases) expect(signal.aborted).toBe(true);
}, 20_000);

test('a server without sessions hears of the call in flight that a close takes back', async () => {
  const server = closing(
    await startRawServer(
      speakMcp({
        initialize: (exchange) => {
          const { protocolVersion } = exchange.message.params ?? {};
          const serverInfo = { name: 'stateless', version: '1' };
          answerJson(exchange, { protocolVersion, capabilities: { tools: {} }, serverInfo });
        },
        'tools/call': () => {},
      }),
    ),
  );
  const authProvider = {
    tokens: () => ({ access_token: 'a', token_type: 'Bearer' }),
  } as unknown as OAuthClientProvider;
  const pool = closing(new SessionPool());
  const lease = await pool.acquire({ url: server.url, identity: 'ada', authProvider });
  const outcome = lease.client.callTool({ name: 'hang' }).catch((error) => error.code);
  await until(() => server.count('POST', 'tools/call') === 1);

  const report = await pool.close();
  expect(await outcome).toBe('SESSION_LOST');
  expect(report).toMatchObject({ closed: 1, abandoned: 0, unterminated: 0 });
  const call = server.exchanges.find(({ message }) => message.method === 'tools/call');
  const cancels = server.exchanges.filter(
    ({ message }) => message.method === 'notifications/cancelled',
  );
  expect(cancels.map(({ message }) => message.params?.['requestId'])).toEqual([call?.message.id]);
  expect(cancels[0]?.headers.authorization).toBe('Bearer a');
  expect(server.count('DELETE')).toBe(0);
  await until(() => server.openSockets === 0);
});

test('a notification that waits for a token for ever rejects when its lease is released', async () => {
  const server = closing(await startRawServer(speakMcp()));
  let isHung = false;
  const authProvider = {
    tokens: () => (isHung ? new Promise(() => {}) : { access_token: 'a', token_type: 'Bearer' }),
  } as unknown as OAuthClientProvider;
  const pool = closing(new SessionPool({ closeTimeoutMs: 200 }));
  const lease = await pool.acquire({ url: server.url, identity: 'ada', authProvider });
  isHung = true;
  const params = { progressToken: 1, progress: 1 };
  const sent = lease.client.notification({ method: 'notifications/progress', params });
  const outcome = sent.then(
    () => 'sent',
    (error) => error.code,
  );
  await pause(5);
  lease.release();
  expect(await Promise.race([outcome, pause(500)])).toBe('LEASE_RELEASED');
  await pool.close();
});
