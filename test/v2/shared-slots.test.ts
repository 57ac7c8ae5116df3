// Slots of a server without sessions that a call finds gone: what that means for the other calls,
// of leases that share the slot and of the lease itself.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Client } from '@modelcontextprotocol/client';
import { SessionPool, v2Connector } from 'mcp-session-pool/v2';
import { expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { resultOf } from '../support/modern-server.ts';
import { pause, until } from '../support/raw-server.ts';

const closing = closeAfterEach();
/** Longer than calls go on in silence once a session is lost. */
const SILENCE_MS = 1_500;
const WHO = {
  method: 'elicitation/create',
  params: { mode: 'form', message: 'Who?', requestedSchema: { type: 'object', properties: {} } },
};

/** A server that can stop to listen and go on with what it has. */
async function startServer() {
  const calls: (() => void)[] = [];
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { id, method, params } = JSON.parse(Buffer.concat(await request.toArray()).toString());
    const caching = { ttlMs: 0, cacheScope: 'private' };
    const discovered = { supportedVersions: ['2026-07-28'], capabilities: { tools: {} } };
    const isAsking = params?.name === 'ask';
    const asked = { resultType: 'input_required', inputRequests: { who: WHO } };
    const called = isAsking ? asked : { content: [] };
    const result = method === 'server/discover' ? { ...caching, ...discovered } : called;
    const answer = (): void => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id, result: resultOf(result) }));
    };
    if (method === 'tools/call' && !isAsking) calls.push(answer);
    else answer();
  };
  const http = createServer((request, response) => void serve(request, response));
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

test('a call that waits for a handler is not said to be without effect when its slot is lost', async () => {
  const server = await startServer();
  const connector = v2Connector();
  const capabilities = { elicitation: {} };
  const pool = closing(new SessionPool<Client>({ connector, capabilities }));
  const onRequest = vi.fn(() => new Promise<never>(() => {}));
  const lease = await pool.acquire({ url: server.url, identity: 'ada' }, { onRequest });
  const asked = expect(lease.client.callTool({ name: 'ask' })).rejects.toMatchObject({
    code: 'SESSION_LOST',
    execution: 'unknown',
  });
  await until(() => onRequest.mock.calls.length === 1);
  server.stopListening();
  const refused = lease.client.callTool({ name: 'x' });
  await expect(refused).rejects.toMatchObject({ execution: 'not-executed' });
  await asked;
});
