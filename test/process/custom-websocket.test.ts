// A process that closes WebSocket sessions ends by itself, though no peer acknowledges their Close
// (row 15 of the hazards): without a cut of their sockets it would stay for half a minute and more.

import type { CloseReport } from 'mcp-session-pool';
import { expect, test } from 'vitest';
import { startChild } from '../support/child-process.ts';
import { until } from '../support/raw-server.ts';
import { startWebSocketServer } from '../support/websocket-server.ts';

const SESSIONS = 10;
const CLOSE_MS = 500;
/** What a process may still take to end, and how far its event loop may lag. */
const AT_ONCE_MS = 2_000;
const LAG_MS = 250;

test('a process ends at once when peers acknowledge no Close', { timeout: 30_000 }, async () => {
  const server = await startWebSocketServer();
  const { child, ended } = startChild('custom-websocket', String(SESSIONS), server.url.href);
  const isHung = (): boolean =>
    server.connections.length === SESSIONS &&
    server.connections.every(({ received }) => received.length === 3);
  await until(isHung, 15_000);
  for (const connection of server.connections) connection.deafen();
  child.send('close');
  const { code, facts, stderr } = await ended;
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(facts['report']).toMatchObject({ sessions: SESSIONS, closed: 0, abandoned: SESSIONS });
  expect((facts['report'] as CloseReport).durationMs).toBeLessThan(CLOSE_MS + 250 + LAG_MS);
  expect(facts['handles']).toEqual([]);
  expect(facts['lingeredMs']).toBeLessThan(AT_ONCE_MS);
  await until(() => server.open === 0);
  await server.close();
});
