// Act 1: what a gateway does all day. Several users, each with a token that changes with every call,
// call tools of one server at the same time: once with a connection per call, once through the pool.

import { randomUUID } from 'node:crypto';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { SessionPool } from 'mcp-session-pool';
import { heading, median, ms, say, type Verdict } from './page.ts';
import type { DemoServer } from './server-process.ts';

const USERS = ['ada', 'bob', 'cy', 'dee'];
/** Calls that a user has in flight. */
const LANES_PER_USER = 1;
const CALLS_PER_LANE = { fresh: 40, pooled: 200 } as const;
/** Not measured: the code has to be compiled first, on both sides. */
const WARM_UP_CALLS = 30;

interface Caller {
  readonly user: string;
  /** New for every call, as from an identity provider with short-lived tokens. */
  nextToken(): string;
}
type CallOnce = (caller: Caller) => Promise<void>;

export async function runGatewayWorkload(server: DemoServer, verdict: Verdict): Promise<void> {
  heading('1. A gateway at work: users call tools, every call with a new token');
  const fresh = await measure((caller) => callOnFreshSession(server.url, caller), 'fresh');
  const before = await server.report();

  const pool = new SessionPool({ clientInfo: { name: 'demo-gateway', version: '1.0.0' } });
  const pooled = await measure((caller) => callThroughPool(pool, server.url, caller), 'pooled');
  const { totals } = pool.stats();
  const report = await pool.close();
  const after = await server.report();

  const ratio = median(fresh) / median(pooled);
  const opened = after.sessionsOpened - before.sessionsOpened;
  const lanes = `${USERS.length * LANES_PER_USER} calls at a time`;
  say(`connect per call: ${ms(median(fresh))} per call (median of ${fresh.length}, ${lanes})`);
  say(`through the pool: ${ms(median(pooled))} per call (median of ${pooled.length}, the same)`);
  say(`reuse is ${ratio.toFixed(1)} × as fast: ${totals.acquired} leases on ${opened} sessions`);
  const shared = `${after.sharedSessions} sessions saw tokens of two users`;
  say(`the server saw ${after.tokens} different tokens; ${shared}`);
  say(`closed ${report.closed} sessions in ${ms(report.durationMs)}`);
  const isIsolated = after.sharedSessions === 0 && opened <= USERS.length * LANES_PER_USER;
  verdict.note('P4 isolated', isIsolated, `${after.tokens} tokens, ${opened} sessions; ${shared}`);
  const isCheap = ratio > 1 && totals.reused === totals.acquired - opened;
  verdict.note('P9 cheap', isCheap, `a reused session is ${ratio.toFixed(1)} × as fast`);
}

/** Latencies of all calls, in ms, without the first ones of each lane. */
async function measure(call: CallOnce, kind: keyof typeof CALLS_PER_LANE): Promise<number[]> {
  const latencies: number[] = [];
  const lane = async (user: string): Promise<void> => {
    for (let index = -WARM_UP_CALLS; index < CALLS_PER_LANE[kind]; index += 1) {
      const startedAt = performance.now();
      await call({ user, nextToken: () => newToken(user) });
      if (index >= 0) latencies.push(performance.now() - startedAt);
    }
  };
  const lanes = USERS.flatMap((user) => Array.from({ length: LANES_PER_USER }, () => lane(user)));
  await Promise.all(lanes);
  return latencies;
}

/** Tells its user, so that the server can say whose tokens a session saw. */
function newToken(user: string): string {
  return `Bearer ${user}.${randomUUID()}`;
}

async function callThroughPool(pool: SessionPool, url: string, caller: Caller): Promise<void> {
  const target = { url, identity: caller.user, headers: { authorization: caller.nextToken() } };
  await pool.use(target, (client) => callTools(client));
}

async function callOnFreshSession(url: string, caller: Caller): Promise<void> {
  const client = new Client({ name: 'demo-gateway', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { authorization: caller.nextToken() } },
  });
  // The SDK's own types disagree here under `exactOptionalPropertyTypes`.
  await client.connect(transport as Transport);
  try {
    await callTools(client);
  } finally {
    await transport.terminateSession();
    await client.close();
  }
}

/** One call. What comes back is checked, so that a mix-up between callers would be seen. */
async function callTools(client: Client): Promise<void> {
  const [a, b] = [Math.floor(Math.random() * 1e6), Math.floor(Math.random() * 1e6)];
  const result = await client.callTool({ name: 'add', arguments: { a, b } });
  const [first] = result.content as { text?: string }[];
  if (first?.text !== String(a + b)) throw new Error(`${a} + ${b} came back as ${first?.text}`);
}
