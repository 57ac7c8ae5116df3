// The SDK's own Streamable HTTP transport in a pool, with its default options and with those that
// hurt most, against servers that do what the hazards table says. What the bare SDK does there is
// shown beside the fence's own tests (`connect/fence-*`): these show that a pool meets none of it.

import { SessionPool, type SessionPoolOptions } from 'mcp-session-pool';
import { describe, expect, type TestContext, test, vi } from 'vitest';
import {
  type CountedTarget,
  countedTarget,
  RECONNECTS,
  type Reconnects,
} from '../support/custom-targets.ts';
import {
  answerInitialize,
  beginEvents,
  pause,
  type RawExchange,
  type RawHandlers,
  type RawServer,
  speakMcp,
  startRawServer,
  until,
} from '../support/raw-server.ts';

// They run at once, and wait for seconds by design.
vi.setConfig({ testTimeout: 25_000 });

/** Long enough for hundreds of requests of a hot loop, shorter than the floor of 1 s. */
const WATCH_MS = 250;
const CLOSE_MS = 2_000;
/** Of the event loop on a busy machine. */
const LAG_MS = 250;
const SESSIONS = 4;

interface Scene extends CountedTarget {
  readonly server: RawServer;
  readonly pool: SessionPool;
  /** Opens `count` sessions and leaves them idle. */
  idle(count: number): Promise<void>;
  /** Closes the pool, and sees that nothing leaves afterwards, and nothing asks again and again. */
  closeQuietly(): Promise<void>;
}

async function scene(
  context: Pick<TestContext, 'onTestFinished'>,
  handlers: RawHandlers,
  reconnects: Reconnects,
  options: SessionPoolOptions = {},
): Promise<Scene> {
  const server = await startRawServer(speakMcp(handlers));
  context.onTestFinished(() => server.close());
  const counted = countedTarget(context, server.url, { reconnects });
  // No jitter, so that the tests are fast.
  const pool = new SessionPool({ closeTimeoutMs: CLOSE_MS, ...options }, { random: () => 0 });
  context.onTestFinished(async () => void (await pool.close()));
  return {
    ...counted,
    server,
    pool,
    idle: async (count) => {
      const opening = Array.from({ length: count }, () => pool.acquire(counted.target));
      for (const lease of await Promise.all(opening)) lease.release();
    },
    closeQuietly: async () => {
      const report = await pool.close();
      expect(report).toMatchObject({ closed: report.sessions, abandoned: 0 });
      expect(report.durationMs).toBeLessThan(CLOSE_MS + 250 + LAG_MS);
      const [asked, left] = [counted.asked.length, counted.left.length];
      await until(() => server.openSockets === 0);
      await pause(WATCH_MS);
      expect(counted.left.length - left).toBe(0);
      // Timers of the SDK that a close does not clear ask once each, and wait for ever.
      expect(counted.asked.length - asked).toBeLessThan(10);
    },
  };
}

/** Ends a GET stream at once, having asked to come back after `retry` ms. */
const endAtOnce =
  (retry: number) =>
  (exchange: RawExchange): void => {
    beginEvents(exchange, `retry: ${retry}\n\n`).end();
  };

/** For each session, the milliseconds between one GET that reached the server and the next. */
function gapsOfGets(server: RawServer): Map<unknown, number[]> {
  const last = new Map<unknown, number>();
  const gaps = new Map<unknown, number[]>();
  for (const { method, headers, cameAt } of server.exchanges) {
    if (method !== 'GET') continue;
    const session = headers['mcp-session-id'];
    const before = last.get(session);
    if (before !== undefined) gaps.set(session, [...(gaps.get(session) ?? []), cameAt - before]);
    last.set(session, cameAt);
  }
  return gaps;
}

/** Names each session by the request that opened it. */
const initialize = (exchange: RawExchange): void =>
  answerInitialize(exchange, `session-${exchange.count}`);

const each = Object.keys(RECONNECTS) as Reconnects[];

describe.concurrent.each(each)('a transport that reconnects %s', (reconnects) => {
  // Row 3.
  test('asks once in a second for streams that end at once with `retry: 0`', async (context) => {
    const { server, idle, closeQuietly } = await scene(
      context,
      { GET: endAtOnce(0), initialize },
      reconnects,
    );
    await idle(SESSIONS);
    await until(() => [...gapsOfGets(server).values()].flat().length >= SESSIONS);
    expect(Math.min(...[...gapsOfGets(server).values()].flat())).toBeGreaterThan(990);
    await closeQuietly();
  });

  // Row 3b. Node makes 1 ms of it, with a warning that would fail this file.
  test('does not take `retry: 3000000000` for 1 ms', async (context) => {
    const { server, idle, closeQuietly } = await scene(
      context,
      { GET: endAtOnce(3e9) },
      reconnects,
    );
    await idle(1);
    await until(() => server.count('GET') === 1);
    await pause(1_200);
    expect(server.count('GET')).toBe(1);
    await closeQuietly();
  });

  // Row 4: what pinned a gateway.
  test('is quiet after the close though its reconnects are never answered', async (context) => {
    const seen = new Set<unknown>();
    const GET = (exchange: RawExchange): void => {
      const session = exchange.headers['mcp-session-id'];
      if (!seen.has(session)) endAtOnce(0)(exchange);
      seen.add(session);
    };
    const { server, idle, closeQuietly } = await scene(context, { GET, initialize }, reconnects);
    await idle(SESSIONS);
    await until(() => server.count('GET') === 2 * SESSIONS);
    await closeQuietly();
    expect(server.count('DELETE')).toBe(SESSIONS);
  });

  // Row 4 again: the end begins long before it is over.
  test('sends nothing but its DELETE while that is waited for', async (context) => {
    const handlers: RawHandlers = { GET: endAtOnce(0), DELETE: () => {} };
    const { server, pool, left, idle } = await scene(context, handlers, reconnects, {
      closeTimeoutMs: 3_000,
    });
    await idle(1);
    await until(() => server.count('GET') >= 1 && server.pending === 0);
    const before = left.length;
    expect(await pool.close()).toMatchObject({ closed: 1, unterminated: 1 });
    expect(left.slice(before)).toEqual(['DELETE']);
  });

  // Row 4b.
  test('dials a server that died once in a second, and never after the close', async (context) => {
    const GET = (exchange: RawExchange): void => void beginEvents(exchange, 'retry: 0\n\n');
    const { server, left, idle, closeQuietly } = await scene(context, { GET }, reconnects);
    await idle(1);
    await until(() => server.count('GET') === 1);
    await pause(30);
    await server.close();
    const gets = (): number => left.filter((method) => method === 'GET').length;
    await until(() => gets() === 2);
    await pause(WATCH_MS);
    // More only if this process was held up: a hot loop makes hundreds.
    expect(gets()).toBeLessThan(5);
    await closeQuietly();
  });

  // Row 5: the SDK clears one of the six timers.
  test('does not come back for a GET and five calls that waited to be resumed', async (context) => {
    let id = 0;
    const endWithId = (exchange: RawExchange): void => {
      id += 1;
      beginEvents(exchange, `id: e${id}\nretry: 40\ndata:\n\n`).end();
    };
    const handlers = { GET: endWithId, 'tools/call': endWithId };
    const { server, pool, target, left, closeQuietly } = await scene(context, handlers, reconnects);
    const { client } = await pool.acquire(target);
    const calls = Array.from({ length: 5 }, () => client.callTool({ name: 'hang' }));
    const outcomes = Promise.allSettled(calls);
    await until(() => server.count('POST', 'tools/call') === 5 && server.count('GET') >= 1);
    await until(() => server.pending === 0);
    await pause(20);
    await closeQuietly();
    const lost = { status: 'rejected', reason: { code: 'SESSION_LOST', execution: 'unknown' } };
    expect(await outcomes).toMatchObject(Array(5).fill(lost));
    const before = left.length;
    await pause(1_100);
    expect(left.length).toBe(before);
  });

  // Row 11.
  test('holds no socket for calls that were aborted or timed out', async (context) => {
    const CALLS = 12;
    const handlers: RawHandlers = {
      // Half of the calls get headers, half nothing at all.
      'tools/call': (exchange) => {
        if (exchange.count % 2 === 0) beginEvents(exchange, 'id: 1\ndata:\n\n');
      },
    };
    const { server, pool, target, closeQuietly } = await scene(context, handlers, reconnects);
    const { client } = await pool.acquire(target);
    const controller = new AbortController();
    const calls = Array.from({ length: CALLS }, (_, n) =>
      client.callTool(
        { name: 'hang' },
        undefined,
        n < CALLS / 2 ? { signal: controller.signal } : { timeout: 300 },
      ),
    );
    const outcomes = Promise.allSettled(calls);
    await until(() => server.count('POST', 'tools/call') === CALLS);
    controller.abort();
    await outcomes;
    await until(() => server.count('POST', 'notifications/cancelled') === CALLS);
    await until(() => server.pending === 0);
    await closeQuietly();
  });

  // Row 11b.
  test('does not resume a call that was aborted', async (context) => {
    let id = 0;
    const endWithId = (exchange: RawExchange): void => {
      id += 1;
      beginEvents(exchange, `retry: 0\nid: e${id}\ndata:\n\n`).end();
    };
    const handlers: RawHandlers = {
      'tools/call': endWithId,
      GET: (exchange) => {
        if (exchange.headers['last-event-id'] === undefined) exchange.response.writeHead(405).end();
        else endWithId(exchange);
      },
    };
    const { server, pool, target, closeQuietly } = await scene(context, handlers, reconnects);
    const { client } = await pool.acquire(target);
    const resumed = (): number =>
      server.exchanges.filter(({ headers }) => headers['last-event-id'] !== undefined).length;
    const controller = new AbortController();
    const call = client.callTool({ name: 'hang' }, undefined, { signal: controller.signal });
    const outcome = call.catch(() => 'rejected');
    await until(() => resumed() >= 1);
    await pause(20);
    controller.abort();
    expect(await outcome).toBe('rejected');
    await until(() => server.count('POST', 'notifications/cancelled') === 1);
    const before = resumed();
    await pause(1_300);
    expect(resumed()).toBe(before);
    await closeQuietly();
  });
});
