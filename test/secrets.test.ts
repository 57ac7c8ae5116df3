// Nothing secret gets out: canaries in every field that could carry a credential, then a search
// through everything the pool says: events, stats, log lines at the lowest level, errors.

import { Writable } from 'node:stream';
import { inspect } from 'node:util';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { defaultLogger } from '../src/observe/log.ts';
import type { SessionTarget } from '../src/target.ts';
import { makePool, watch } from './support/pool-fixture.ts';

const CANARY = 'canary';

/** pino at level trace, and what it wrote. */
function traceLogger(): { logger: ReturnType<typeof pino>; lines: string[] } {
  const lines: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  return { logger: pino({ level: 'trace' }, stream), lines };
}

const targets: SessionTarget[] = [
  {
    url: `https://${CANARY}-user:${CANARY}-password@one.example/mcp?key=${CANARY}-query#${CANARY}-hash`,
    headers: { authorization: `Bearer ${CANARY}-token`, cookie: `${CANARY}-cookie` },
  },
  {
    url: 'https://two.example/mcp',
    identity: 'ada',
    headers: () => ({ authorization: `${CANARY}-fresh` }),
  },
  {
    command: 'node',
    args: [`${CANARY}-arg`],
    env: { TOKEN: `${CANARY}-env` },
    cwd: `/${CANARY}-cwd`,
  },
];

test.each(targets)('no credential of a target and no words of a peer get out', async (target) => {
  const { logger, lines } = traceLogger();
  const { pool, clock, connector, events } = makePool({
    logger,
    leakWarningMs: 50,
    maxSessionsPerKey: 1,
    acquireTimeoutMs: 100,
    gates: { clientClose: 'never' },
  });
  const errors: unknown[] = [];
  const catchAll = (promise: Promise<unknown>): void => {
    promise.catch((error: unknown) => errors.push(error));
  };
  const options = { headers: { 'x-token': `${CANARY}-own` } };
  connector.openError = Object.assign(new Error(`${CANARY} words`), { body: `${CANARY}-body` });
  connector.gates = { open: 'fails', clientClose: 'never' };
  catchAll(pool.acquire(target, options));
  await clock.advance(1_000);
  connector.gates = { clientClose: 'never' };
  const held = await (async () => {
    const acquiring = pool.acquire(target, options);
    await clock.settle();
    return acquiring;
  })();
  catchAll(pool.acquire(target, options));
  await clock.advance(200);
  const stats = JSON.stringify(pool.stats({ perKey: true }));
  const seen: unknown[] = [];
  pool.retire((session) => seen.push(session) < 0);
  connector.last.lost.abort(new Error(`${CANARY} words`));
  const closing = watch(pool.close());
  catchAll(pool.acquire(target, options));
  await clock.advance(10_000);
  expect(closing.state).toBe('fulfilled');
  held.release();
  errors.push(held.signal.reason);
  expect(errors.map((error) => (error as { code: string }).code)).toEqual([
    'OPEN_FAILED',
    'ACQUIRE_TIMEOUT',
    'POOL_CLOSED',
    'SESSION_LOST',
  ]);
  expect(events.length).toBeGreaterThan(8);
  expect(lines.length).toBeGreaterThan(5);
  const said = [
    stats,
    JSON.stringify(events),
    JSON.stringify(seen),
    lines.join(''),
    // What stands in `cause` is the peer's own error: it is passed on, not shown.
    ...errors.map((error) => `${(error as Error).message} ${JSON.stringify(error)}`),
    inspect(pool, { depth: 0 }),
  ].join('\n');
  expect(said).not.toContain(CANARY);
  expect(said).not.toContain('secret-session');
});

test('without a level, there is no logger at all', () => {
  for (const level of [undefined, '', 'silent']) expect(defaultLogger(level)).toBeUndefined();
});

test('the default logger takes a level, and the usual one in place of nonsense', () => {
  expect(defaultLogger('error')).toHaveProperty('level', 'error');
  for (const level of ['nonsense', 'toString', 'constructor']) {
    expect(defaultLogger(level)).toHaveProperty('level', 'info');
  }
});

test('a lease that is logged or shown tells no header, address or session id', async () => {
  const { pool, clock } = makePool();
  const pending = pool.acquire(
    {
      url: 'https://u:SECRET1@one.example/mcp?key=SECRET2',
      identity: 'a',
      headers: { authorization: 'SECRET3' },
    },
    { headers: { 'x-token': 'SECRET4' } },
  );
  await clock.settle();
  const lease = await pending;
  const shown = [
    JSON.stringify({ lease }),
    inspect(lease, { depth: 9 }),
    inspect(pool, { depth: 9 }),
  ];
  expect(shown.join()).toContain('"reused":false');
  expect(shown.join()).not.toMatch(/SECRET/);
  lease.release();
  expect(lease.sessionId).toBeUndefined();
});
