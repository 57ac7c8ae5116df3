// Leases that share a slot of a server without sessions: what one of them meets with ends nothing
// of the others.

import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Client } from '@modelcontextprotocol/client';
import { SessionPool, v2Connector } from 'mcp-session-pool/v2';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { resultOf } from '../support/modern-server.ts';
import { pause, until } from '../support/raw-server.ts';

const closing = closeAfterEach();
/** Longer than calls go on in silence once a session is lost. */
const SILENCE_MS = 1_500;

/** A server that can stop to listen and go on with what it has. */
async function startServer() {
  const calls: (() => void)[] = [];
  const http = createServer(async (request, response: ServerResponse) => {
    const { id, method } = JSON.parse(Buffer.concat(await request.toArray()).toString());
    const caching = { ttlMs: 0, cacheScope: 'private' };
    const discovered = { supportedVersions: ['2026-07-28'], capabilities: { tools: {} } };
    const result = method === 'server/discover' ? { ...caching, ...discovered } : { content: [] };
    const answer = (): void => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id, result: resultOf(result) }));
    };
    if (method === 'tools/call') calls.push(answer);
    else answer();
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  closing({ close: async () => http.closeAllConnections() });
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`;
  return { url, calls, stopListening: () => http.close() };
}

test('a call that nobody takes leaves those alone that are being answered', async () => {
  const server = await startServer();
  const connector = v2Connector();
  const pool = closing(new SessionPool<Client>({ connector, leasesPerSession: 2 }));
  const target = { url: server.url, identity: 'ada' };
  const [first, second] = [await pool.acquire(target), await pool.acquire(target)];
  expect(pool.stats().totals.opened).toBe(1);
  const slow = first.client.callTool({ name: 'slow' });
  await until(() => server.calls.length === 1);
  server.stopListening();
  const refused = second.client.callTool({ name: 'x' });
  await expect(refused).rejects.toMatchObject({
    code: 'SESSION_LOST',
    execution: 'not-executed',
  });
  await pause(SILENCE_MS);
  for (const answer of server.calls) answer();
  expect(await slow).toMatchObject({ content: [] });
  // The slot is lent no more, and nobody is taken to be there.
  const next = pool.acquire(target);
  await expect(next).rejects.toMatchObject({ code: 'OPEN_FAILED', kind: 'refused' });
  for (const lease of [first, second]) lease.release();
  await until(() => pool.stats().totals.closed === 1);
});
