// Which SDK each entry of the package loads, shown in processes of their own: never the other's.

import { expect, test } from 'vitest';
import { runChild } from '../support/child-process.ts';
import { startGuardedServer } from '../support/guarded-server.ts';
import { startMcpServer } from '../support/mcp-server.ts';
import { startMcpServer2 } from '../support/mcp-server-2.ts';

test('the main entry never loads SDK 2', async () => {
  const server = await startMcpServer();
  const { code, facts } = await runChild('entry-graph', 'v1', server.url.href);
  expect({ code, ...facts }).toMatchObject({ code: 0, loaded: ['@modelcontextprotocol/sdk'] });
  expect(facts['tools']).toBeGreaterThan(0);
  await server.close();
});

test.each(['modern', 'sessions'] as const)(
  'the entry for SDK 2 never loads SDK 1 (server: %s)',
  async (era) => {
    const server = await startMcpServer2({ era });
    const { code, facts } = await runChild('entry-graph', 'v2', server.url.href);
    const loaded = ['@modelcontextprotocol/client', '@modelcontextprotocol/core'];
    expect({ code, ...facts }).toMatchObject({ code: 0, loaded });
    expect(facts['tools']).toBeGreaterThan(0);
    await server.close();
  },
);

test('the entry for SDK 2 runs OAuth flows of SDK 2', async () => {
  const server = await startGuardedServer();
  // Good for one refresh: the access token is not the one that the server takes.
  const tokens = { ...server.newProvider().current, access_token: 'expired' };
  const { code, facts } = await runChild(
    'entry-graph',
    'v2',
    server.mcp.url.href,
    JSON.stringify(tokens),
  );
  const loaded = ['@modelcontextprotocol/client', '@modelcontextprotocol/core'];
  expect({ code, ...facts }).toMatchObject({ code: 0, loaded });
  expect(facts['tools']).toBeGreaterThan(0);
  expect(server.oauth.tokenRequests).toHaveLength(1);
  await server.close();
});
