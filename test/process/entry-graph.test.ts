// Which SDK each entry of the package loads, shown in processes of their own: never the other's.

import { expect, test } from 'vitest';
import { runChild } from '../support/child-process.ts';
import { startGuardedServer } from '../support/guarded-server.ts';
import { startMcpServer } from '../support/mcp-server.ts';
import { startMcpServer2 } from '../support/mcp-server-2.ts';
import { startOAuthServer } from '../support/oauth-server.ts';
import { startSseMcpServer } from '../support/sse-mcp-server.ts';
import { stdioServer } from '../support/stdio-servers.ts';

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

const SDK_2 = ['@modelcontextprotocol/client', '@modelcontextprotocol/core'];

test.each(['sse', 'auto'] as const)(
  'the entry for SDK 2 never loads SDK 1, with a target of `transport: %s` and OAuth either',
  async (transport) => {
    const oauth = await startOAuthServer({ resource: () => server.url });
    const isGood = (given?: string) => given === `Bearer ${oauth.tokens.access_token}`;
    const challenge = `Bearer resource_metadata="${oauth.url.origin}/elsewhere"`;
    const server = await startSseMcpServer({
      challenge: (given) => (isGood(given) ? undefined : challenge),
    });
    const { code, facts } = await runChild(
      'entry-graph',
      'v2',
      JSON.stringify({ url: server.url.href, transport }),
      JSON.stringify({ ...oauth.tokens, issuer: oauth.url.origin, access_token: 'expired' }),
    );
    expect({ code, ...facts }).toMatchObject({ code: 0, loaded: SDK_2 });
    expect(facts['tools']).toBeGreaterThan(0);
    expect(oauth.tokenRequests).toHaveLength(1);
    await server.close();
    await oauth.close();
  },
);

test('the entry for SDK 2 never loads SDK 1, with a server over stdio either', async () => {
  const { target } = stdioServer('everything', { args: ['stdio'] });
  const { code, facts } = await runChild('entry-graph', 'v2', JSON.stringify(target));
  expect({ code, ...facts }).toMatchObject({ code: 0, loaded: SDK_2 });
  expect(facts['tools']).toBeGreaterThan(0);
});
