// Idle sessions with a notification stream each, through the pool or on the SDK's bare transport.
// Says for every part of the window what the process costs, then whether the sessions still work.

import { childInput, tellParent } from '../support/child.ts';
import { cpuNanoseconds, sleep } from '../support/measure.ts';

export interface NotificationRoundInput {
  readonly way: 'pool' | 'sdk';
  readonly url: string;
  readonly sessions: number;
  readonly parts: number;
  readonly partMs: number;
}

const { way, url, sessions, parts, partMs } = childInput<NotificationRoundInput>();
const clientInfo = { name: 'bench', version: '1.0.0' };

/** What was opened: a call on each session that answers how many worked, and its end. */
interface Opened {
  call(): Promise<unknown>;
  close(): Promise<unknown>;
}

const opened = await (way === 'pool' ? openPool() : openSdk());
await tellParent('opened');
for (let part = 0; part < parts; part += 1) {
  const [startedAt, before] = [performance.now(), cpuNanoseconds()];
  await sleep(partMs);
  const cpuMs = (cpuNanoseconds() - before) / 1e6;
  await tellParent({ cpuPercent: (cpuMs / (performance.now() - startedAt)) * 100 });
}
await opened.call();
await tellParent('called');
await opened.close();

async function openPool(): Promise<Opened> {
  const { SessionPool } = await import('mcp-session-pool');
  const pool = new SessionPool({
    clientInfo,
    maxSessionsPerKey: sessions,
    maxOpeningPerKey: 20,
    probeAfterIdleMs: Number.POSITIVE_INFINITY,
    idleTimeoutMs: Number.POSITIVE_INFINITY,
  });
  const target = { url, identity: 'bench', notifications: true };
  const each = Array.from({ length: sessions });
  const leases = await Promise.all(each.map(() => pool.acquire(target)));
  for (const lease of leases) lease.release();
  return {
    call: () => Promise.all(each.map(() => pool.use(target, (c) => c.callTool({ name: 'any' })))),
    close: () => pool.close(),
  };
}

async function openSdk(): Promise<Opened> {
  // Thousands: Node warns of every timer that it turns into one of 1 ms.
  process.removeAllListeners('warning');
  const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
  const http = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const open = async (): Promise<InstanceType<typeof Client>> => {
    const client = new Client(clientInfo);
    client.onerror = () => {};
    const transport = new http.StreamableHTTPClientTransport(new URL(url));
    // The SDK's own types disagree here under `exactOptionalPropertyTypes`.
    await client.connect(transport as Parameters<typeof client.connect>[0]);
    return client;
  };
  const clients = await Promise.all(Array.from({ length: sessions }, open));
  return {
    call: () => Promise.all(clients.map((client) => client.callTool({ name: 'any' }))),
    close: () => Promise.all(clients.map((client) => client.close())),
  };
}
