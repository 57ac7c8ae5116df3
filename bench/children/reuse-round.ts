// Latency of one tool call after another, each on a session of its own or each through the pool.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { SessionPool } from 'mcp-session-pool';
import { childInput, tellParent } from '../support/child.ts';
import { cpuNanoseconds } from '../support/measure.ts';

export interface ReuseRoundInput {
  readonly url: string;
  readonly calls: number;
}

export interface Latencies {
  readonly eachMs: number[];
  readonly cpuMsPerCall: number;
}

const { url, calls } = childInput<ReuseRoundInput>();
const clientInfo = { name: 'bench', version: '1.0.0' };
const pool = new SessionPool({ clientInfo });

/** Connect per call, as gateways do that keep no sessions. It says goodbye, as it should. */
async function callFresh(): Promise<void> {
  const client = new Client(clientInfo);
  const transport = new StreamableHTTPClientTransport(new URL(url));
  await client.connect(transport as Transport);
  await client.callTool({ name: 'nothing' });
  await transport.terminateSession();
  await client.close();
}

async function callPooled(): Promise<void> {
  await pool.use({ url, identity: 'bench' }, (client) => client.callTool({ name: 'nothing' }));
}

async function time(call: () => Promise<void>): Promise<Latencies> {
  for (let index = 0; index < 20; index += 1) await call();
  const eachMs: number[] = [];
  const before = cpuNanoseconds();
  for (let index = 0; index < calls; index += 1) {
    const startedAt = performance.now();
    await call();
    eachMs.push(performance.now() - startedAt);
  }
  return { eachMs, cpuMsPerCall: (cpuNanoseconds() - before) / 1e6 / calls };
}

const fresh = await time(callFresh);
const pooled = await time(callPooled);
await pool.close();
await tellParent({ fresh, pooled });
