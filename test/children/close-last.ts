// Closes a pool full of peers that hang, as the last thing in its main module. Whoever waits on an
// unreferenced timer ends here with code 13: an await that never settles (row 16 of the hazards).

import { type HttpTarget, SessionPool } from 'mcp-session-pool';
import { type Facts, reportAtExit } from './exit-report.ts';

const [, , kind, count, url = ''] = process.argv;
const sessions = Number(count);
const facts: Facts = {};
reportAtExit(facts);

if (kind === 'fakes') await closeFakes();
else await closeSessions();

/** Nothing of a fake keeps the process alive: only the pool can. */
async function closeFakes(): Promise<void> {
  const never = (): Promise<never> => new Promise(() => {});
  const pool = new SessionPool({
    connector: async () => ({
      client: { close: never },
      transport: { close: never },
      terminate: never,
    }),
    maxSessionsPerKey: sessions,
    closeTimeoutMs: 500,
  });
  const target = { url: 'http://127.0.0.1:9/mcp', identity: 'test' };
  await Promise.all(Array.from({ length: sessions }, () => pool.acquire(target)));
  facts['report'] = await pool.close();
  facts['doneAt'] = performance.now();
}

async function closeSessions(): Promise<void> {
  const pool = new SessionPool({ maxSessionsPerKey: sessions, closeTimeoutMs: 2_000 });
  const transport = kind === 'sse' ? 'sse' : 'streamable-http';
  const target: HttpTarget = { url, transport, identity: 'test', notifications: true };
  const leases = await Promise.all(Array.from({ length: sessions }, () => pool.acquire(target)));
  const codes: unknown[] = [];
  facts['codes'] = codes;
  for (const lease of leases) {
    lease.client.callTool({ name: 'hang' }).catch((error) => codes.push(error.code));
  }
  await new Promise<void>((resolve) => {
    // The server says when everything hangs.
    process.once('message', () => resolve());
    process.send?.('opened');
  });
  process.disconnect();
  facts['report'] = await pool.close();
  facts['doneAt'] = performance.now();
}
