// Holds sessions of a hostile server, closes them in one of four ways, and watches what the process
// costs afterwards. The parent says when everything hangs and it is time to close. Each way loads
// what it needs, and no more.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { childInput, parentSays, tellParent } from '../support/child.ts';
import { handlesLeft, type IdleWindow, watchIdle } from '../support/measure.ts';

export type Way = 'idle' | 'pool' | 'naive' | 'sdk';

export interface IdleRoundInput {
  readonly way: Way;
  readonly url: string;
  readonly sessions: number;
  readonly windowMs: number;
}

export interface ClosedAnswer {
  readonly closeMs: number;
  /** Calls in flight that were rejected. */
  readonly rejected: number;
  readonly report?: object;
}

export interface WatchedAnswer extends IdleWindow {
  readonly handles: Record<string, number>;
}

const { way, url, sessions, windowMs } = childInput<IdleRoundInput>();
const clientInfo = { name: 'bench', version: '1.0.0' };
let rejected = 0;

type Close = () => Promise<object | undefined>;
const ways: Record<Way, () => Promise<Close>> = {
  idle: async () => async () => undefined,
  pool: openPool,
  naive: openNaive,
  sdk: openSdk,
};

let close: Close | undefined = await ways[way]();
await tellParent('opened');
await parentSays();
const startedAt = performance.now();
const report = await close();
close = undefined;
const closeMs = performance.now() - startedAt;
// The rejections are handled in the turns after close.
await new Promise(setImmediate);
const closed: ClosedAnswer = { closeMs, rejected, ...(report && { report }) };
await tellParent(closed);
const watched: WatchedAnswer = { ...(await watchIdle(windowMs)), handles: handlesLeft() };
await tellParent(watched);

/** Sessions of the pool, each lent, with a call and a notification stream that hang. */
async function openPool(): Promise<Close> {
  const { SessionPool } = await import('mcp-session-pool');
  const pool = new SessionPool({
    clientInfo,
    maxSessionsPerKey: sessions,
    maxSessions: sessions,
    maxOpeningPerKey: 50,
    connectTimeoutMs: 60_000,
    acquireTimeoutMs: 120_000,
  });
  const target = { url, identity: 'bench', notifications: true };
  const leases = await Promise.all(Array.from({ length: sessions }, () => pool.acquire(target)));
  for (const lease of leases) {
    lease.client.callTool({ name: 'hang' }).catch(() => {
      rejected += 1;
    });
  }
  return () => pool.close();
}

/**
 * The loop of the bug that this library answers: a reader blocked on a body can't see that it was
 * cancelled, and whoever closes cancels it again, without delay, until it acknowledges.
 */
async function openNaive(): Promise<Close> {
  const readers = Array.from({ length: sessions }, () => ({ isCancelled: false, hasEnded: false }));
  const read = async (reader: (typeof readers)[number]): Promise<void> => {
    const response = await fetch(url, { headers: { accept: 'text/event-stream' } });
    for await (const _chunk of response.body ?? []) if (reader.isCancelled) break;
    reader.hasEnded = true;
  };
  for (const reader of readers) void read(reader);
  const closeReader = async (reader: (typeof readers)[number]): Promise<void> => {
    while (!reader.hasEnded) {
      reader.isCancelled = true;
      await new Promise(setImmediate);
    }
  };
  return async () => {
    for (const reader of readers) void closeReader(reader);
    return undefined;
  };
}

/** The SDK's transport where it spins after close: row 4 of the hazards. */
async function openSdk(): Promise<Close> {
  const sdk = await import('@modelcontextprotocol/sdk/client/index.js');
  const http = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const open = async (): Promise<Client> => {
    const client = new sdk.Client(clientInfo);
    client.onerror = () => {};
    const transport = new http.StreamableHTTPClientTransport(new URL(url), {
      reconnectionOptions: {
        maxRetries: 1e9,
        initialReconnectionDelay: 1_000,
        maxReconnectionDelay: 30_000,
        reconnectionDelayGrowFactor: 1.5,
      },
    });
    // The SDK's own types disagree here under `exactOptionalPropertyTypes`.
    await client.connect(transport as Transport);
    return client;
  };
  const clients = await Promise.all(Array.from({ length: sessions }, open));
  return async () => {
    await Promise.all(clients.map((client) => client.close()));
    return undefined;
  };
}
