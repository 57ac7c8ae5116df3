// OAuth for clients of SDK 2: the flows are that SDK's, and are shared as with SDK 1.

import type { Client } from '@modelcontextprotocol/client';
import { SessionPool, v2Connector } from 'mcp-session-pool/v2';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { startGuardedServer } from '../support/guarded-server.ts';
import { textOf } from '../support/http-sessions.ts';

const closing = closeAfterEach();
const newPool = (): SessionPool<Client> =>
  closing(new SessionPool({ connector: v2Connector(), leasesPerSession: 20 }));
const echo = (text: string) => ({ name: 'echo', arguments: { text } });

test('a token that has expired is refreshed once for 20 calls at once', async () => {
  const server = closing(await startGuardedServer());
  const authProvider = server.newProvider();
  const pool = newPool();
  const target = { url: server.mcp.url, identity: 'ada', authProvider };
  await pool.use(target, (client) => client.listTools());
  server.expire();
  const texts = Array.from({ length: 20 }, (_, n) => `call ${n}`);
  const said = await Promise.all(
    texts.map((text) =>
      pool.use(target, async (client) => textOf(await client.callTool(echo(text)))),
    ),
  );
  expect(said).toEqual(texts);
  expect(server.oauth.tokenRequests).toHaveLength(1);
});
