// Custom targets over transports of SDK 2: its own Streamable HTTP transport behind the fence, and
// its in-memory one.

import {
  type Client,
  InMemoryTransport,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client';
import {
  SessionPool,
  type SessionPoolOptions,
  v2Connector,
  v2TransportConnector,
} from 'mcp-session-pool/v2';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { startMcpServer } from '../support/mcp-server.ts';
import { createTools } from '../support/mcp-server-2.ts';
import { until } from '../support/raw-server.ts';

const closing = closeAfterEach();
const newPool = (options: SessionPoolOptions<Client> = {}): SessionPool<Client> =>
  closing(new SessionPool({ connector: v2Connector(), closeTimeoutMs: 1_000, ...options }));
const echo = (text: string) => ({ name: 'echo', arguments: { text } });

test('SDK 2’s HTTP transport is lent with headers, and its session ended with a DELETE', async () => {
  const server = closing(await startMcpServer());
  const connect = v2TransportConnector(
    ({ fetch }) => new StreamableHTTPClientTransport(server.url, { fetch }),
  );
  const pool = newPool();
  for (const authorization of ['one', 'two']) {
    const target = { server: 'tools', identity: 'ada', connect };
    const lease = await pool.acquire(target, { headers: { authorization } });
    expect(lease.client.getProtocolEra()).toBe('legacy');
    const own = { headers: { 'x-own': authorization } };
    expect(textOf(await lease.client.callTool(echo('here'), own))).toBe('here');
    const said = textOf(await lease.client.callTool({ name: 'whoami' }));
    expect(JSON.parse(said)).toMatchObject({ authorization });
    lease.release();
  }
  expect(await pool.close()).toMatchObject({ sessions: 1, closed: 1, abandoned: 0 });
  const asked = ['server/discover', 'initialize', 'DELETE'];
  expect(asked.map((method) => server.count(method))).toEqual([0, 1, 1]);
  const calls = server.seen.filter(({ method }) => method === 'tools/call');
  const own = ['one', undefined, 'two', undefined];
  expect(calls.map(({ headers }) => headers['x-own'])).toEqual(own);
  await until(() => server.openSockets === 0);
});

test('a call over SDK 2’s HTTP transport ends with the pool, and nothing of it is left', async () => {
  const server = closing(await startMcpServer());
  const connect = v2TransportConnector(
    ({ fetch }) => new StreamableHTTPClientTransport(server.url, { fetch }),
  );
  const pool = newPool({ connector: connect });
  const { client } = await pool.acquire({ url: server.url, identity: 'ada' });
  const called = client.callTool({ name: 'hang' });
  called.catch(() => {});
  await until(() => server.count('tools/call') === 1);
  expect(await pool.close({ drainTimeoutMs: 0 })).toMatchObject({ abandoned: 0 });
  await expect(called).rejects.toThrow();
  expect(server.aborted).toHaveLength(1);
  await until(() => server.openSockets === 0);
});

test('SDK 2’s in-memory transport serves leases, and cancels what they leave', async () => {
  const aborted: string[] = [];
  const connect = v2TransportConnector(async () => {
    const [transport, other] = InMemoryTransport.createLinkedPair();
    await createTools(aborted).connect(other);
    return transport;
  });
  const pool = newPool();
  const target = { server: 'in-memory', identity: 'ada', connect };
  expect(textOf(await pool.use(target, (client) => client.callTool(echo('here'))))).toBe('here');
  const lease = await pool.acquire(target);
  const left = lease.client.callTool({ name: 'hang' });
  left.catch(() => {});
  await lease.client.ping();
  lease.release();
  await expect(left).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
  await until(() => aborted.length === 1);
  expect(pool.stats().totals.opened).toBe(1);
});
