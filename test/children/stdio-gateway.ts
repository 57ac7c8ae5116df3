// A gateway with two servers over stdio, one of which ends only by SIGKILL: what is left of them
// when it ends in one way or another? Its parent looks.

import { closeOnSignals, type Lease, SessionPool } from 'mcp-session-pool';

const [, , way = '', script = ''] = process.argv;

const env = { STDIO_LAB_MARK: String(process.env['STDIO_LAB_MARK']) };
const server = (...habits: readonly string[]) => ({
  command: process.execPath,
  args: [script, '', ...habits],
  env,
});
const pool = new SessionPool({ closeTimeoutMs: way === 'impatient' ? 60_000 : 3_000 });

/** What a gateway lives for. */
const work = setInterval(() => {}, 60_000);

async function pingAndRelease(lease: Lease): Promise<void> {
  await lease.client.ping();
  process.send?.('pinged');
  lease.release();
}

const ways: Record<string, () => Promise<void> | void> = {
  recipe: () => void closeOnSignals(pool),
  impatient: () => void closeOnSignals(pool),
  'two-pools': async () => {
    const stops = [closeOnSignals(pool)];
    const slow = new SessionPool({ closeTimeoutMs: 3_000 });
    stops.push(closeOnSignals(slow));
    await slow.acquire(server('ignore-eof', 'ignore-sigterm'));
    process.once('SIGTERM', () => {
      for (const stop of stops) stop();
    });
  },
  'one-of-two-pools': async () => {
    closeOnSignals(pool, { signals: ['SIGTERM'] });
    const deaf = new SessionPool();
    closeOnSignals(deaf, { signals: ['SIGHUP'] });
    await deaf.acquire(server('ignore-eof', 'ignore-sigterm'));
  },
  'recipe-with-drain': async () => {
    closeOnSignals(pool, { drainTimeoutMs: 5_000 });
    const lease = await pool.acquire(server('ignore-eof'));
    process.once('SIGTERM', () => {
      setTimeout(() => void pingAndRelease(lease), 200);
    });
  },
  'recipe-and-host': () => {
    closeOnSignals(pool);
    process.on('SIGTERM', () => {
      process.send?.('host was told');
      clearInterval(work);
    });
    process.on('exit', () => process.send?.(pool.stats().totals));
  },
  'recipe-taken-off': () => closeOnSignals(pool)(),
  'no-recipe': () => {},
  exit: () => void process.once('message', () => process.exit(3)),
  throw: () =>
    void process.once('message', () => {
      throw new Error('on purpose');
    }),
  end: () =>
    void process.once('message', () => {
      clearInterval(work);
      process.disconnect();
    }),
  close: () =>
    void process.once('message', () => {
      void pool.close().then(() => {
        clearInterval(work);
        process.disconnect();
      });
    }),
};

const stubborn = server('ignore-eof', 'ignore-sigterm');
const byWay: Record<string, (typeof stubborn)[]> = {
  'no-recipe': [server(), server('slow-end')],
  'two-pools': [server()],
  'one-of-two-pools': [server()],
};
const targets = byWay[way] ?? [server(), stubborn];
for (const target of targets) (await pool.acquire(target)).release();
if (way === 'close') {
  await pool.use(targets[0]!, (client) => client.callTool({ name: 'grandchild-apart' }));
}
await ways[way]?.();
process.send?.('ready');
