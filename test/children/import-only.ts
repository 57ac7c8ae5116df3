// Imports the package, later opens a session, and looks each time at what that did to the host: its
// `fetch`, its global undici dispatcher, its handles.

import { handlesLeft, reportAtExit } from './exit-report.ts';

const [, , url = ''] = process.argv;
const GLOBAL_DISPATCHER = Symbol.for('undici.globalDispatcher.1');
const globals = globalThis as unknown as Record<symbol, object | undefined>;
const facts: Record<string, unknown> = {};
reportAtExit(facts);

const { fetch: fetchBefore } = globalThis;
const { SessionPool } = await import('mcp-session-pool');
facts['handlesAfterImport'] = handlesLeft();
const dispatcher = globals[GLOBAL_DISPATCHER];
facts['dispatcherOfHost'] = dispatcher?.constructor.name;
facts['posted'] = await post();

const pool = new SessionPool();
const { tools } = await pool.use({ url, identity: 'test' }, (client) => client.listTools());
facts['tools'] = tools.length;
facts['sameDispatcher'] = globals[GLOBAL_DISPATCHER] === dispatcher;
facts['sameFetch'] = globalThis.fetch === fetchBefore;
facts['postedAfterUse'] = await post();
await pool.close();

/** With undici's own dispatcher in place of the host's, this POST fails on Node 20 and 22. */
async function post(): Promise<number> {
  const headers = { 'content-length': '3', connection: 'close' };
  const response = await fetch(new URL('/plain', url), { method: 'POST', body: 'abc', headers });
  await response.text();
  return response.status;
}
