// Leaves a pool in one of several states and does nothing more: does the process live on?

import { type Connection, SessionPool } from 'mcp-session-pool';
import { type Facts, reportAtExit } from './exit-report.ts';

const [, , scenario = '', url = ''] = process.argv;
const facts: Facts = {};
reportAtExit(facts);

const fakeUrl = 'http://127.0.0.1:9/mcp';
const ok = { close: async (): Promise<void> => {} };
const connector = async (): Promise<Connection<typeof ok>> => ({ client: ok, transport: ok });
const scenarios: Record<string, () => Promise<void>> = {
  'idle-fake': async () => {
    const pool = new SessionPool({ connector });
    const lease = await pool.acquire({ url: fakeUrl, identity: 'test' });
    lease.release();
    facts['stats'] = pool.stats();
  },
  'idle-session': async () => {
    const pool = new SessionPool();
    const { tools } = await pool.use({ url, identity: 'test' }, (client) => client.listTools());
    facts['tools'] = tools.length;
    facts['stats'] = pool.stats();
  },
  'kept-alive-session': async () => {
    const pool = new SessionPool({ keepAliveMs: 1_000 });
    const report = await pool.warm({ url, identity: 'test' }, 1);
    facts['tools'] = report.sessions;
    facts['stats'] = pool.stats();
  },
  'leased-session': async () => {
    const pool = new SessionPool();
    const lease = await pool.acquire({ url, identity: 'test' });
    const { tools } = await lease.client.listTools();
    facts['tools'] = tools.length;
    facts['stats'] = pool.stats();
  },
  'pending-open': async () => {
    const pool = new SessionPool({
      connector: () => new Promise<never>(() => {}),
      connectTimeoutMs: 400,
    });
    const acquire = pool.acquire({ url: fakeUrl, identity: 'test' }, { timeoutMs: 300 });
    facts['error'] = await acquire.then(
      () => 'none',
      ({ code }) => code,
    );
  },
  'pending-wait': async () => {
    const pool = new SessionPool({ connector, maxSessionsPerKey: 1 });
    const target = { url: fakeUrl, identity: 'test' };
    await pool.acquire(target);
    const acquire = pool.acquire(target, { timeoutMs: 300 });
    facts['error'] = await acquire.then(
      () => 'none',
      ({ code }) => code,
    );
  },
  'pending-warm': async () => {
    let opens = 0;
    const pool = new SessionPool({
      connector: () => {
        opens += 1;
        return opens === 1 ? Promise.reject(new Error('not yet')) : connector();
      },
    });
    const target = { url: fakeUrl, identity: 'test' };
    await pool.warm(target, 1).catch(({ code }) => {
      facts['error'] = code;
    });
    // Nothing is under way but the back-off.
    facts['report'] = await pool.warm(target, 2);
  },
};
await scenarios[scenario]?.();
facts['doneAt'] = performance.now();
