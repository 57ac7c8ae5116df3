// Sessions that a real server has forgotten, under many callers at once: everybody gets a result,
// nothing runs twice, and no more sessions are opened than were lost.

import { SessionPool, type SessionPoolOptions } from 'mcp-session-pool';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { startEverythingServer } from '../support/everything-server.ts';
import { textOf } from '../support/http-sessions.ts';
import { startMcpServer, type TestMcpServer } from '../support/mcp-server.ts';
import { answerJson, speakMcp, startRawServer, until } from '../support/raw-server.ts';

const closing = closeAfterEach();

async function scene(sessions: number, options: SessionPoolOptions) {
  const server = closing(await startMcpServer());
  const pool = closing(new SessionPool(options));
  const target = { url: server.url, identity: 'ada' };
  const leases = await Promise.all(
    Array.from({ length: sessions * (options.leasesPerSession ?? 1) }, () => pool.acquire(target)),
  );
  for (const lease of leases) lease.release();
  expect(pool.stats().sessions.idle).toBe(sessions);
  return { server, pool, target };
}

const forgetAll = async (server: TestMcpServer): Promise<void> => {
  for (const id of [...server.sessions.keys()]) await server.forget(id);
};

/** Calls, as the server executed them, by their text. */
function executed(server: TestMcpServer): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { method, params, headers } of server.seen) {
    if (method !== 'tools/call') continue;
    // The last one of each was not refused: sessions are never forgotten twice here.
    const text = String((params as { arguments: { text: string } }).arguments.text);
    const wasKnown = server.sessions.has(String(headers['mcp-session-id']));
    if (wasKnown) counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return counts;
}

describe('100 callers at once on sessions that the server has just forgotten', () => {
  test.each([
    { name: '4 exclusive ones', sessions: 4, options: { maxSessionsPerKey: 4 } },
    { name: '4 shared ones', sessions: 4, options: { leasesPerSession: 25 } },
    { name: '4 shared ones with room', sessions: 4, options: { leasesPerSession: 30 } },
    { name: 'one shared one', sessions: 1, options: { leasesPerSession: 100 } },
    { name: 'one shared one with room', sessions: 1, options: { leasesPerSession: 200 } },
  ])('get 100 results, each executed once: $name', async ({ sessions, options }) => {
    const { server, pool, target } = await scene(sessions, options);
    await forgetAll(server);
    const before = server.count('initialize');
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        pool.use(target, async (client) =>
          textOf(await client.callTool({ name: 'echo', arguments: { text: `${n}` } })),
        ),
      ),
    );
    expect(results).toEqual(Array.from({ length: 100 }, (_, n) => `${n}`));
    expect([...executed(server).values()]).toEqual(Array.from({ length: 100 }, () => 1));
    expect(server.count('initialize') - before).toBeLessThanOrEqual(sessions);
    if (sessions === 1) expect(server.count('initialize') - before).toBe(1);
    // A session that is gone gets no DELETE.
    expect(server.count('DELETE')).toBe(0);
  });
});

describe('work on a session that the server has forgotten', () => {
  const echo = (text: string) => ({ name: 'echo', arguments: { text } });

  test('runs again when it had several calls under way, none of which was executed', async () => {
    const { server, pool, target } = await scene(1, {});
    await forgetAll(server);
    const texts = await pool.use(target, async (client) => {
      const calls = ['a', 'b', 'c'].map((text) => client.callTool(echo(text)));
      const results = await Promise.allSettled(calls);
      for (const result of results) if (result.status === 'rejected') throw result.reason;
      return results.map((result) => textOf((result as { value: unknown }).value));
    });
    expect(texts).toEqual(['a', 'b', 'c']);
    expect(Math.max(...executed(server).values())).toBe(1);
  });

  test('runs once when an earlier call of it was executed', async () => {
    const { server, pool, target } = await scene(1, {});
    let runs = 0;
    const using = pool.use(target, async (client) => {
      runs += 1;
      await client.callTool(echo('first'));
      await forgetAll(server);
      await client.callTool(echo('second'));
    });
    await expect(using).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'not-executed' });
    expect(runs).toBe(1);
  });

  test('runs once when an earlier call may have been executed', async () => {
    const { server, pool, target } = await scene(1, {});
    let runs = 0;
    const using = pool.use(target, async (client) => {
      runs += 1;
      const hanging = client.callTool({ name: 'hang' }, undefined, { timeout: 50 });
      await hanging.catch(() => {});
      await forgetAll(server);
      await client.callTool(echo('second'));
    });
    await expect(using).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'not-executed' });
    expect([runs, server.aborted]).toEqual([1, ['hang']]);
  });

  test('runs once with affinity: the next acquire gets a fresh session', async () => {
    const { server, pool } = await scene(1, {});
    const target = { url: server.url, identity: 'ada', affinity: 'downstream' };
    await pool.use(target, (client) => client.callTool(echo('before')));
    await forgetAll(server);
    let runs = 0;
    const using = pool.use(target, (client) => {
      runs += 1;
      return client.callTool(echo('x'));
    });
    await expect(using).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'not-executed' });
    expect(runs).toBe(1);
    expect(await pool.use(target, (_client, { reused }) => reused)).toBe(false);
  });

  test('runs once when the caller says so', async () => {
    const { server, pool, target } = await scene(1, {});
    await forgetAll(server);
    const using = pool.use(target, (client) => client.callTool(echo('x')), { replay: 'never' });
    await expect(using).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'not-executed' });
  });

  test('runs again where the server answers 400 (server-everything)', async () => {
    const server = closing(await startEverythingServer());
    const pool = closing(new SessionPool());
    const target = { url: server.url, identity: 'ada' };
    const message = { name: 'echo', arguments: { message: 'hello' } };
    const call = () => pool.use(target, async (client) => textOf(await client.callTool(message)));
    const headers = await pool.use(target, (_client, { sessionId }) => ({
      'mcp-session-id': sessionId!,
    }));
    // Ends the session behind the pool's back.
    await (await fetch(server.url, { method: 'DELETE', headers })).text();
    expect(await call()).toContain('hello');
    expect(pool.stats().totals).toMatchObject({ opened: 2, lost: 1, unterminated: 0 });
  });
});

describe('a session that is shared', () => {
  test('outlives one call whose stream is cut; its other calls go on', async () => {
    const answers: (() => void)[] = [];
    const server = closing(
      await startRawServer(
        speakMcp({
          'tools/call': (exchange) => {
            const { name } = exchange.message.params as { name: string };
            if (name === 'cut') exchange.response.socket?.destroy();
            else answers.push(() => answerJson(exchange, { content: [] }));
          },
        }),
      ),
    );
    const pool = closing(new SessionPool({ leasesPerSession: 3 }));
    const target = { url: server.url, identity: 'ada' };
    const [first, second] = [await pool.acquire(target), await pool.acquire(target)];
    const calls = Array.from({ length: 8 }, () => first.client.callTool({ name: 'slow' }));
    await until(() => answers.length === 8);
    await expect(second.client.callTool({ name: 'cut' })).rejects.toMatchObject({
      code: 'SESSION_LOST',
      execution: 'unknown',
    });
    expect([first.signal.aborted, second.signal.aborted]).toEqual([false, false]);
    const third = await pool.acquire(target);
    expect(third.reused).toBe(false);
    for (const answer of answers) answer();
    await Promise.all(calls);
    for (const lease of [first, second, third]) lease.release();
    await until(() => pool.stats().totals.worn === 1);
    expect(pool.stats().totals.lost).toBe(0);
  });
});

describe('a POST that is answered with 404 without a session', () => {
  test('is no loss: that call fails alone', async () => {
    const server = closing(
      await startRawServer(
        speakMcp({
          initialize: (exchange) => {
            const protocolVersion = exchange.message.params?.['protocolVersion'];
            const serverInfo = { name: 'stateless', version: '1' };
            answerJson(exchange, { protocolVersion, capabilities: {}, serverInfo });
          },
          'tools/call': ({ response, count }) => {
            response.writeHead(count % 2 === 0 ? 404 : 500).end();
          },
        }),
      ),
    );
    const pool = closing(new SessionPool());
    const target = { url: server.url, identity: 'ada' };
    const lease = await pool.acquire(target);
    const codes = [];
    for (let count = 0; count < 4; count += 1) {
      const failure = lease.client.callTool({ name: 'x' }).catch((error) => error.code);
      codes.push(await failure);
    }
    expect(codes).toContain(404);
    expect(lease.signal.aborted).toBe(false);
    lease.release();
    expect(pool.stats()).toMatchObject({ sessions: { idle: 1 }, totals: { lost: 0 } });
  });
});
