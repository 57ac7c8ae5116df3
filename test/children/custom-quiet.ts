// Closes a pool over the SDK's Streamable HTTP transport, which reconnects for ever, and then stays
// for a while and measures what this process does. Run as `node custom-quiet.js <scenario> <url>`.

import { setTimeout as sleep } from 'node:timers/promises';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { createTransportConnector, SessionPool } from 'mcp-session-pool';
import { deafFetch } from 'mcp-session-pool/testing';
import { type Facts, reportAtExit } from './exit-report.ts';

/** After what the close itself leaves to do, and for how long. */
const SETTLE_MS = 300;
const WATCH_MS = 2_000;

const [, , scenario = '', url = ''] = process.argv;
const reconnectionOptions = {
  initialReconnectionDelay: 0,
  maxReconnectionDelay: 0,
  reconnectionDelayGrowFactor: 1,
  maxRetries: 1e9,
};
const facts: Facts = {};
reportAtExit(facts);

if (scenario === 'flood') await closeFlooded();
else await closeHung();

/** Sessions whose reconnects and calls hang, or wait to be resumed. The parent says when. */
async function closeHung(): Promise<void> {
  const SESSIONS = 20;
  let asked = 0;
  const connect = createTransportConnector(({ fetch }) => {
    const counted: typeof fetch = (at, init) => {
      asked += 1;
      return fetch(at, init);
    };
    const options = { fetch: counted, reconnectionOptions };
    return new StreamableHTTPClientTransport(new URL(url), options);
  });
  const pool = new SessionPool(
    { maxSessionsPerKey: SESSIONS, closeTimeoutMs: 2_000 },
    { random: () => 0 },
  );
  const target = { server: 'hostile', identity: 'test', connect };
  const leases = await Promise.all(Array.from({ length: SESSIONS }, () => pool.acquire(target)));
  const codes: unknown[] = [];
  for (const { client } of leases) {
    client.callTool({ name: 'hang' }).catch((error: { code: unknown }) => codes.push(error.code));
  }
  await new Promise<void>((resolve) => {
    process.once('message', () => resolve());
    process.send?.('opened');
  });
  process.disconnect();
  facts['report'] = await pool.close();
  facts['codes'] = codes;
  const before = asked;
  await watch();
  facts['askedAfter'] = asked - before;
}

/** A body that goes on for as long as it is read, over a fetch that ignores aborts. */
async function closeFlooded(): Promise<void> {
  const event = new TextEncoder().encode('data: {"jsonrpc":"2.0","method":"notifications/x"}\n\n');
  const flood = (): ReadableStream<Uint8Array> =>
    new ReadableStream({
      pull: async (controller) => {
        await new Promise((resolve) => setImmediate(resolve));
        controller.enqueue(event);
      },
    });
  const connect = createTransportConnector(
    ({ fetch }) => new StreamableHTTPClientTransport(new URL(url), { fetch, reconnectionOptions }),
    { fetch: deafFetch({ GET: flood }) },
  );
  const pool = new SessionPool({ closeTimeoutMs: 2_000 });
  let heard = 0;
  const onNotification = (): void => {
    heard += 1;
  };
  await pool.acquire({ server: 'hostile', identity: 'test', connect }, { onNotification });
  while (heard < 50) await sleep(5);
  facts['report'] = await pool.close();
  const before = heard;
  await watch();
  facts['heardAfter'] = heard - before;
}

/** What this process does while it has nothing to do. */
async function watch(): Promise<void> {
  await sleep(SETTLE_MS);
  const [cpu, switches] = [process.cpuUsage(), switchesNow()];
  await sleep(WATCH_MS);
  const { user, system } = process.cpuUsage(cpu);
  facts['cpuShare'] = (user + system) / 1_000 / WATCH_MS;
  facts['switches'] = switchesNow() - switches;
  facts['doneAt'] = performance.now();
}

function switchesNow(): number {
  return process.resourceUsage().voluntaryContextSwitches;
}
