// Idle sessions that keep a notification stream (GET) open, on servers that end it at once and ask
// for a reconnect without delay, or after a delay that Node would turn into none (promise P3, rows
// 3 and 3b of the hazards).

import { SessionPool } from 'mcp-session-pool';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import {
  answerInitialize,
  answerJson,
  beginEvents,
  pause,
  type RawServer,
  speakMcp,
  startRawServer,
  until,
} from '../support/raw-server.ts';

const SESSIONS = 20;
const WATCHED_MS = 4_000;
/** Timers may fire a little early, and two clocks are at work. */
const FLOOR_MS = 980;

const closing = closeAfterEach();

/** Ends every notification stream at once and asks for another after `retryMs`. */
async function startFlappingServer(retryMs: number): Promise<RawServer> {
  let opened = 0;
  const server = await startRawServer(
    speakMcp({
      initialize: (exchange) => {
        opened += 1;
        answerInitialize(exchange, `session-${opened}`);
      },
      GET: (exchange) => void beginEvents(exchange, `retry: ${retryMs}\ndata:\n\n`).end(),
      'tools/call': (exchange) => answerJson(exchange, { content: [] }),
    }),
  );
  return closing(server);
}

/** When each session's GETs came. */
function getsBySession({ exchanges }: RawServer): Map<string, number[]> {
  const gets = new Map<string, number[]>();
  for (const { method, headers, cameAt } of exchanges) {
    if (method !== 'GET') continue;
    const id = String(headers['mcp-session-id']);
    gets.set(id, [...(gets.get(id) ?? []), cameAt]);
  }
  return gets;
}

test.concurrent.each([0, 3_000_000_000])(
  'a server that ends streams with `retry: %i` gets one GET per second and session at most, then fewer',
  async (retryMs) => {
    const server = await startFlappingServer(retryMs);
    const pool = closing(new SessionPool({ maxSessionsPerKey: SESSIONS }));
    const target = { url: server.url, identity: 'ada', notifications: true };
    const leases = await Promise.all(Array.from({ length: SESSIONS }, () => pool.acquire(target)));
    for (const lease of leases) lease.release();
    await until(() => server.count('GET') >= SESSIONS);
    await pause(WATCHED_MS);

    const gets = getsBySession(server);
    expect(gets.size).toBe(SESSIONS);
    for (const times of gets.values()) {
      const gaps = times.slice(1).map((at, index) => at - times[index]!);
      expect(Math.min(Number.POSITIVE_INFINITY, ...gaps)).toBeGreaterThanOrEqual(FLOOR_MS);
      // The second wait is of twice the length of the first, give or take the jitter.
      expect(times.length).toBeLessThanOrEqual(4);
    }
    if (retryMs > 0) expect(server.count('GET')).toBe(SESSIONS);

    const calls = leases.map(() =>
      pool.use(target, (client) => client.callTool({ name: 'anything' })),
    );
    for (const result of await Promise.all(calls)) expect(result.content).toEqual([]);
    expect(server.count('POST', 'initialize')).toBe(SESSIONS);
    await pool.close();
    const atClose = server.exchanges.length;
    await pause(300);
    expect(server.exchanges).toHaveLength(atClose);
    await until(() => server.openSockets === 0);
  },
);
