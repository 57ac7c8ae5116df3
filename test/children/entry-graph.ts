// Imports one entry of the package, uses a session, and says which packages of the SDKs were loaded
// by then.

import { Session } from 'node:inspector';
import type { SessionTarget } from 'mcp-session-pool/v2';
import { MemoryOAuthProvider } from '../support/memory-oauth-provider.ts';
import { reportAtExit } from './exit-report.ts';

// A URL, or a target as JSON.
const [, , entry = '', given = '', tokens] = process.argv;
const named = given.startsWith('{') ? (JSON.parse(given) as SessionTarget) : { url: given };
const facts: Record<string, unknown> = {};
reportAtExit(facts);

const loaded = new Set<string>();
const session = new Session();
session.connect();
session.on('Debugger.scriptParsed', ({ params: { url: from } }) => {
  const found = /\/node_modules\/(@modelcontextprotocol\/[a-z]+)\//.exec(from);
  if (found?.[1] !== undefined) loaded.add(found[1]);
});
session.post('Debugger.enable');

facts['tools'] = entry === 'v2' ? await useSdk2() : await useSdk1();
session.disconnect();
facts['loaded'] = [...loaded].sort();

async function useSdk1(): Promise<number> {
  const { SessionPool } = await import('mcp-session-pool');
  const pool = new SessionPool();
  const { tools } = await pool.use({ ...named, identity: 'test' } as SessionTarget, (client) =>
    client.listTools(),
  );
  await pool.close();
  return tools.length;
}

async function useSdk2(): Promise<number> {
  const { SessionPool, v2Connector } = await import('mcp-session-pool/v2');
  const pool = new SessionPool({ connector: v2Connector() });
  const authProvider =
    tokens === undefined ? undefined : new MemoryOAuthProvider(JSON.parse(tokens));
  const own = { identity: 'test', ...(authProvider && { authProvider }) };
  const target = { ...named, ...own } as SessionTarget;
  const { tools } = await pool.use(target, (client) => client.listTools());
  await pool.close();
  return tools.length;
}
