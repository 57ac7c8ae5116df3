// What connectors are told of the options and the target: each session of a key gets what its key
// was made of.

import { expect, test } from 'vitest';
import { makePool, TARGET } from './support/pool-fixture.ts';

test('a connector is given the pool’s options, its clock and its chance', async () => {
  const { pool, connector, clock } = makePool({
    capabilities: { sampling: {} },
    clientInfo: { name: 'gateway', version: '2' },
    clientOptions: { enforceStrictCapabilities: true },
    maxMessageBytes: 77,
    closeTimeoutMs: 701,
    connectTimeoutMs: 702,
    probeTimeoutMs: 703,
  });
  await pool.acquire(TARGET);
  expect(connector.sessions[0]?.context.settings).toMatchObject({
    clientInfo: { name: 'gateway', version: '2' },
    capabilities: { sampling: {} },
    clientOptions: { enforceStrictCapabilities: true },
    exclusive: true,
    affine: false,
    maxMessageBytes: 77,
    closeTimeoutMs: 701,
    connectTimeoutMs: 702,
    probeTimeoutMs: 703,
  });
  expect(connector.sessions[0]?.context.settings.clock).toBe(clock);
});

test('what a target says of its client and its sharing comes before the pool’s', async () => {
  const { pool, connector } = makePool({ capabilities: { sampling: {} } });
  const clientInfo = { name: 'tenant', version: '3' };
  await pool.acquire({ ...TARGET, clientInfo, capabilities: { roots: {} }, leasesPerSession: 4 });
  await pool.acquire({ ...TARGET, affinity: 'downstream' });
  expect(connector.sessions[0]?.context.settings).toMatchObject({
    clientInfo,
    capabilities: { roots: {} },
    exclusive: false,
    affine: false,
  });
  expect(connector.sessions[1]?.context.settings).toMatchObject({ exclusive: false, affine: true });
});

test('trouble that a connector tells of is counted', async () => {
  const { pool, connector } = makePool();
  await pool.acquire(TARGET);
  connector.sessions[0]?.context.settings.onTrouble(new Error('boom'));
  expect(pool.stats().totals.troubles).toBe(1);
});

test('what a server says in its own words goes to the logger, if there is one', async () => {
  const lines: unknown[] = [];
  const none = (): void => {};
  const debug = (fields: object, message: string): void => void lines.push([fields, message]);
  const logger = { debug, info: none, warn: none, error: none };
  const logging = makePool({ logger });
  await logging.pool.acquire(TARGET);
  lines.length = 0;
  const { key, settings } = logging.connector.sessions[0]!.context;
  settings.onServerLog?.('up and running');
  const server = new URL(TARGET.url).origin;
  expect(lines).toEqual([[{ key, server, line: 'up and running' }, 'server stderr']]);
  const silent = makePool();
  await silent.pool.acquire(TARGET);
  expect(silent.connector.sessions[0]?.context.settings.onServerLog).toBeUndefined();
});
