// CPU of one lease of a real session: acquire, take its client, release. No call is made.

import { SessionPool } from 'mcp-session-pool';
import { childInput, tellParent } from '../support/child.ts';
import { cpuNanoseconds } from '../support/measure.ts';

export interface LeaseRoundInput {
  readonly url: string;
  readonly leases: number;
}

const { url, leases } = childInput<LeaseRoundInput>();
const pool = new SessionPool({ clientInfo: { name: 'bench', version: '1.0.0' } });

async function lend(times: number): Promise<void> {
  for (let index = 0; index < times; index += 1) {
    const lease = await pool.acquire({ url, identity: 'bench' });
    if (lease.client === undefined) throw new Error('a lease without a client');
    lease.release();
  }
}

await lend(Math.ceil(leases / 4));
globalThis.gc?.();
const before = cpuNanoseconds();
await lend(leases);
const microseconds = (cpuNanoseconds() - before) / 1_000 / leases;
const { opened } = pool.stats().totals;
await pool.close();
await tellParent({ microseconds, opened });
