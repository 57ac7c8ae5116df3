// Sessions that are opened and then left alone, through the pool or on the SDK's bare transport:
// for what they cost while nobody calls. Each way loads what it needs, and no more.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';

export interface IdleSessionsOptions {
  readonly way: 'pool' | 'sdk';
  readonly url: string;
  readonly sessions: number;
  /** With a notification stream for each. The SDK's transport always asks for one. */
  readonly notifications: boolean;
}

/** What was opened: a call on each session, which throws unless all work, and its end. */
export interface IdleSessions {
  call(): Promise<void>;
  close(): Promise<void>;
}

/** So many are opened or called at once. */
const BATCH = 100;
const clientInfo = { name: 'bench', version: '1.0.0' };
const TOOL = { name: 'small', arguments: { n: 0 } };

export function openIdleSessions(options: IdleSessionsOptions): Promise<IdleSessions> {
  return options.way === 'pool' ? openPool(options) : openSdk(options);
}

async function openPool(options: IdleSessionsOptions): Promise<IdleSessions> {
  const { url, sessions, notifications } = options;
  const { SessionPool } = await import('mcp-session-pool');
  const pool = new SessionPool({
    clientInfo,
    maxSessionsPerKey: sessions,
    maxSessions: sessions,
    maxOpeningPerKey: 20,
    probeAfterIdleMs: Number.POSITIVE_INFINITY,
    idleTimeoutMs: Number.POSITIVE_INFINITY,
  });
  const target = { url, identity: 'bench', notifications };
  /** Holds all at once, so that each session has its turn. */
  const holdAll = async (work: (client: Client) => Promise<unknown>): Promise<void> => {
    const leases = await inBatches(sessions, () => pool.acquire(target));
    await inBatches(sessions, (index) => work(leases[index]!.client));
    for (const lease of leases) lease.release();
  };
  await holdAll(async () => {});
  return {
    call: () => holdAll((client) => client.callTool(TOOL)),
    close: async () => {
      await pool.close();
    },
  };
}

async function openSdk(options: IdleSessionsOptions): Promise<IdleSessions> {
  const { url, sessions } = options;
  // Thousands: Node warns of every timer that it turns into one of 1 ms.
  process.removeAllListeners('warning');
  const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
  const http = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const clients = await inBatches(sessions, async () => {
    const client = new Client(clientInfo);
    client.onerror = () => {};
    const transport = new http.StreamableHTTPClientTransport(new URL(url));
    // The SDK's own types disagree here under `exactOptionalPropertyTypes`.
    await client.connect(transport as Transport);
    return client;
  });
  return {
    call: async () => {
      await inBatches(sessions, (index) => clients[index]!.callTool(TOOL));
    },
    close: async () => {
      await inBatches(sessions, (index) => clients[index]!.close());
    },
  };
}

async function inBatches<T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  while (results.length < count) {
    const start = results.length;
    const length = Math.min(BATCH, count - start);
    results.push(...(await Promise.all(Array.from({ length }, (_, i) => work(start + i)))));
  }
  return results;
}
