// Live credentials and headers of one request (promise P4): what servers see of them, whose they
// are, and what becomes of calls that wait for one.

import { runInNewContext } from 'node:vm';
import { SessionPool, type SessionPoolOptions } from 'mcp-session-pool';
import { describe, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { type SeenRequest, startMcpServer, type TestMcpServer } from '../support/mcp-server.ts';
import { beginEvents, pause, speakMcp, startRawServer, until } from '../support/raw-server.ts';

const closing = closeAfterEach();
const serve = async (): Promise<TestMcpServer> => closing(await startMcpServer());
const newPool = (options: SessionPoolOptions = {}): SessionPool =>
  closing(new SessionPool({ capabilities: { elicitation: {} }, ...options }));

/** Requests of one HTTP or JSON-RPC method. */
const requestsOf = (server: TestMcpServer, method: string): SeenRequest[] =>
  server.seen.filter((each) => each.httpMethod === method || each.method === method);

const tokenOf = ({ headers }: SeenRequest): string | undefined => headers.authorization;

const echo = (text: string) => ({ name: 'echo', arguments: { text } });

describe('a rotated token', () => {
  test('reaches the very next request of a reused session, whose id stays', async () => {
    const server = await serve();
    const pool = newPool();
    const ids = new Set<string | undefined>();
    for (let n = 1; n <= 5; n += 1) {
      const headers = { authorization: `Bearer ${n}` };
      await pool.use({ url: server.url, identity: 'ada', headers }, async (client, lease) => {
        expect(lease.reused).toBe(n > 1);
        ids.add(lease.sessionId);
        await client.callTool({ name: 'count' });
      });
    }
    expect(requestsOf(server, 'tools/call').map(tokenOf)).toEqual(
      [1, 2, 3, 4, 5].map((n) => `Bearer ${n}`),
    );
    expect([ids.size, server.count('initialize')]).toEqual([1, 1]);
  });

  test('reaches the next request of a lease that is held, where headers are a function', async () => {
    const server = await serve();
    const pool = newPool();
    let token = 'Bearer 1';
    const headers = vi.fn(() => ({ authorization: token }));
    const lease = await pool.acquire({ url: server.url, identity: 'ada', headers });
    const before = lease.sessionId;
    await lease.client.callTool({ name: 'count' });
    token = 'Bearer 2';
    await lease.client.callTool({ name: 'count' });
    expect(requestsOf(server, 'tools/call').map(tokenOf)).toEqual(['Bearer 1', 'Bearer 2']);
    expect(lease.sessionId).toBe(before);
    // `initialize`, `notifications/initialized` and two calls.
    expect(headers).toHaveBeenCalledTimes(4);
  });

  test('is waited for where a promise of another realm brings it', async () => {
    const server = await serve();
    const headers = () => runInNewContext('Promise.resolve({ authorization: "Bearer far" })');
    const target = { url: server.url, identity: 'ada', headers };
    await newPool().use(target, (client) => client.callTool({ name: 'count' }));
    expect(requestsOf(server, 'tools/call').map(tokenOf)).toEqual(['Bearer far']);
  });

  test('is another key where no identity is named', async () => {
    const server = await serve();
    const pool = newPool();
    const idOf = (token: string): Promise<string | undefined> =>
      pool.use({ url: server.url, headers: { authorization: token } }, async (client, lease) => {
        await client.callTool({ name: 'count' });
        return lease.sessionId;
      });
    const first = await idOf('Bearer 1');
    expect(await idOf('Bearer 2')).not.toBe(first);
    expect(await idOf('Bearer 1')).toBe(first);
    const tokens = new Map<unknown, Set<unknown>>();
    for (const { headers } of server.seen) {
      const id = headers['mcp-session-id'];
      if (id) tokens.set(id, (tokens.get(id) ?? new Set()).add(headers.authorization));
    }
    expect([...tokens.values()].map((each) => each.size)).toEqual([1, 1]);
  });
});

describe('headers of leases that share a session', () => {
  test('are those of their own lease on each of 200 interleaved calls', async () => {
    const server = await serve();
    const pool = newPool({ leasesPerSession: 8 });
    const leases = await Promise.all(
      Array.from({ length: 8 }, (_, n) => {
        // Half of them ask a function, and some of those take a while.
        const own = { authorization: `Bearer ${n}` };
        const headers = n % 2 === 0 ? own : () => pause(n % 3).then(() => own);
        const target = { url: server.url, identity: 'ada', headers };
        return pool.acquire(target, { headers: { traceparent: `trace-${n}` } });
      }),
    );
    const calls = Array.from({ length: 200 }, (_, n) =>
      leases[n % 8]!.client.callTool(echo(`Bearer ${n % 8} trace-${n % 8}`)),
    );
    await Promise.all(calls);
    const seen = requestsOf(server, 'tools/call');
    expect(seen).toHaveLength(200);
    for (const { headers, params } of seen) {
      const { text } = params!['arguments'] as { text: string };
      expect(`${headers.authorization} ${headers['traceparent']}`).toBe(text);
    }
    expect(server.count('initialize')).toBe(1);
  });

  test('are carried by all else that a lease sends: cancels, answers, notifications', async () => {
    const server = await serve();
    const pool = newPool({ leasesPerSession: 2 });
    const target = { url: server.url, identity: 'ada', headers: { authorization: 'Bearer key' } };
    const optionsOf = (name: string) => ({
      headers: { traceparent: name },
      onRequest: () => ({ action: 'accept', content: { name } }),
    });
    const [one, two] = await Promise.all([
      pool.acquire(target, optionsOf('one')),
      pool.acquire(target, optionsOf('two')),
    ]);
    const elicit = { name: 'elicit', arguments: { name: 'colour' } };
    const answers = [one.client.callTool(elicit), two.client.callTool(elicit)];
    expect((await Promise.all(answers)).map(textOf)).toEqual(['one', 'two']);
    const { signal, abort } = abortable();
    const hanging = one.client.callTool({ name: 'hang' }, undefined, { signal });
    await until(() => requestsOf(server, 'tools/call').length === 3);
    abort();
    await expect(hanging).rejects.toThrow();
    const stuck = two.client.callTool({ name: 'hang' });
    stuck.catch(() => {});
    await until(() => requestsOf(server, 'tools/call').length === 4);
    // Its call in flight is cancelled for it, with its headers.
    two.release();
    await until(() => server.aborted.length === 2);
    const traces = (method: string): unknown[] =>
      requestsOf(server, method).map(({ headers }) => headers['traceparent']);
    expect(traces('notifications/cancelled')).toEqual(['one', 'two']);
    const responses = server.seen.filter((each) => each.httpMethod === 'POST' && !each.method);
    expect(responses.map(({ headers }) => headers['traceparent']).toSorted()).toEqual([
      'one',
      'two',
    ]);
    one.release();
    pool.retire();
    await until(() => server.count('DELETE') === 1);
    expect(traces('DELETE')).toEqual([undefined]);
  });
});

describe('a headers function', () => {
  const trouble = new Error('the vault is sealed');

  test.each([
    {
      name: 'throws',
      headers: () => {
        throw trouble;
      },
    },
    { name: 'rejects', headers: () => Promise.reject(trouble) },
  ])('that $name fails that call alone, with its own error', async ({ headers }) => {
    const { server, pool, target, other } = await sharedScene();
    let isBroken = false;
    const lease = await pool.acquire({
      ...target,
      headers: () => (isBroken ? headers() : { authorization: 'Bearer one' }),
    });
    const before = lease.sessionId;
    const others = Array.from({ length: 5 }, (_, n) => other.client.callTool(echo(`${n}`)));
    isBroken = true;
    await expect(lease.client.callTool(echo('never'))).rejects.toBe(trouble);
    isBroken = false;
    expect((await Promise.all(others)).map(textOf)).toEqual(['0', '1', '2', '3', '4']);
    expect(textOf(await lease.client.callTool(echo('later')))).toBe('later');
    expect(textsOf(server)).not.toContain('never');
    expect([lease.signal.aborted, lease.sessionId]).toEqual([false, before]);
    expect(pool.stats().totals).toMatchObject({ opened: 1, lost: 0, worn: 0 });
  });

  test('that never settles holds that call alone, until its timeout or abort', async () => {
    const { server, pool, target, other } = await sharedScene();
    let isStuck = false;
    const asked = vi.fn();
    const lease = await pool.acquire({
      ...target,
      headers: () => {
        asked();
        return isStuck ? new Promise<never>(() => {}) : { authorization: 'Bearer one' };
      },
    });
    isStuck = true;
    const { signal, abort } = abortable();
    const aborted = lease.client.callTool(echo('aborted'), undefined, { signal });
    const late = lease.client.callTool(echo('late'), undefined, { timeout: 100 });
    const ended = lease.client.callTool(echo('ended'));
    ended.catch(() => {});
    expect(textOf(await other.client.callTool(echo('other')))).toBe('other');
    abort();
    await expect(aborted).rejects.toThrow('the user went away');
    await expect(late).rejects.toMatchObject({ code: -32_001 });
    lease.release();
    await expect(ended).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    // Nothing of them was written, so there is nothing to cancel on the server.
    const askedAtEnd = asked.mock.calls.length;
    await pause(30);
    expect(textsOf(server)).toEqual(['other']);
    expect(server.count('notifications/cancelled')).toBe(0);
    expect(asked).toHaveBeenCalledTimes(askedAtEnd);
    expect(pool.stats()).toMatchObject({ sessions: { leased: 1 }, totals: { lost: 0, worn: 0 } });
    other.release();
    // The last acquire's headers are the newest: those of the DELETE, which never come.
    const report = await pool.close();
    expect(report).toMatchObject({ closed: 1, abandoned: 0, unterminated: 1 });
    await until(() => server.openSockets === 0);
  });

  test('that fails while a session opens is OPEN_FAILED, and the next acquire opens one', async () => {
    const server = await serve();
    const pool = newPool();
    let isBroken = true;
    const headers = async () => {
      if (isBroken) throw trouble;
      return { authorization: 'Bearer 1' };
    };
    const target = { url: server.url, identity: 'ada', headers };
    await expect(pool.acquire(target)).rejects.toMatchObject({
      code: 'OPEN_FAILED',
      cause: trouble,
    });
    expect(server.seen).toHaveLength(0);
    isBroken = false;
    const lease = await pool.acquire(target);
    expect(textOf(await lease.client.callTool(echo('x')))).toBe('x');
  });

  async function sharedScene() {
    const server = await serve();
    const pool = newPool({ leasesPerSession: 2, closeTimeoutMs: 600 });
    const target = { url: server.url, identity: 'ada' };
    const other = await pool.acquire(target);
    return { server, pool, target, other };
  }
});

describe('traffic without a lease', () => {
  test('carries the newest headers of its key: probe and DELETE, after all leases ended', async () => {
    const server = await serve();
    const pool = newPool({ probeAfterIdleMs: 1 });
    const targetOf = (n: number) => ({
      url: server.url,
      identity: 'ada',
      headers: { authorization: `Bearer ${n}` },
    });
    const first = await pool.acquire(targetOf(1));
    const second = await pool.acquire(targetOf(2), { headers: { authorization: 'Bearer own' } });
    first.release();
    await pause(10);
    // Probes the first session, with the headers of whoever asks.
    const third = await pool.acquire(targetOf(3));
    expect(third.sessionId).not.toBe(second.sessionId);
    expect(requestsOf(server, 'ping').map(tokenOf)).toEqual(['Bearer 3']);
    third.release();
    second.release();
    // Another key's are not its own.
    await pool.use({ ...targetOf(4), identity: 'bob' }, (client) => client.ping());
    pool.retire({ identity: 'ada' });
    await until(() => server.count('DELETE') === 2);
    expect(requestsOf(server, 'DELETE').map(tokenOf)).toEqual(['Bearer 3', 'Bearer 3']);
  });

  test('carries them where a notification stream is opened again', async () => {
    const streams: (() => void)[] = [];
    const server = closing(
      await startRawServer(
        speakMcp({
          GET: (exchange) => {
            // One that brings a message is opened again after the shortest wait.
            const message = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' };
            const response = beginEvents(exchange, `data: ${JSON.stringify(message)}\n\n`);
            streams.push(() => response.end());
          },
          ping: ({ response, message: { id } }) => {
            response.writeHead(200, { 'content-type': 'application/json' });
            response.end(JSON.stringify({ jsonrpc: '2.0', id, result: {} }));
          },
        }),
      ),
    );
    const pool = newPool();
    const targetOf = (n: number) => ({
      url: server.url,
      identity: 'ada',
      notifications: true,
      headers: async () => ({ authorization: `Bearer ${n}` }),
    });
    await pool.use(targetOf(1), (client) => client.ping());
    await until(() => streams.length === 1);
    await pool.use(targetOf(2), (client) => client.ping());
    streams[0]!();
    await until(() => streams.length === 2);
    // The stream is the session's, also while a lease lives: that one's own headers are not for it.
    const own = { headers: { authorization: 'Bearer own', traceparent: 'own' } };
    const lease = await pool.acquire(targetOf(3), own);
    await lease.client.ping();
    streams[1]!();
    await until(() => streams.length === 3);
    const gets = server.exchanges.filter(({ method }) => method === 'GET');
    expect(gets.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer 1',
      'Bearer 2',
      'Bearer 3',
    ]);
    expect(gets.map(({ headers }) => headers['traceparent'])).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(server.count('POST', 'initialize')).toBe(1);
  });
});

describe("retire({ identity }, { leased: 'now' })", () => {
  test('ends what a revoked credential opened, and tells the server with the newest', async () => {
    const server = await serve();
    const pool = newPool({ leasesPerSession: 2 });
    const targetOf = (identity: string, token: string) => ({
      url: server.url,
      identity,
      headers: { authorization: token },
    });
    const leases = [
      await pool.acquire(targetOf('ada', 'Bearer 1')),
      await pool.acquire(targetOf('ada', 'Bearer 2')),
      await pool.acquire(targetOf('ada', 'Bearer 3')),
    ];
    const bob = await pool.acquire(targetOf('bob', 'Bearer bob'));
    const calls = leases.map(({ client }) => client.callTool({ name: 'hang' }));
    for (const call of calls) call.catch(() => {});
    await until(() => server.count('tools/call') === 3);
    const ids = new Set(leases.map(({ sessionId }) => sessionId));
    expect(ids.size).toBe(2);

    expect(pool.retire({ identity: 'ada' }, { leased: 'now' })).toBe(2);
    for (const { signal } of leases) expect(signal.aborted).toBe(true);
    for (const call of calls) {
      await expect(call).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    }
    for (const { client } of leases) {
      await expect(client.ping()).rejects.toMatchObject({ reason: 'retired' });
    }
    await until(() => server.sessions.size === 1 && pool.stats().sessions.closing === 0);
    const deletes = requestsOf(server, 'DELETE');
    expect(deletes.map(tokenOf)).toEqual(['Bearer 3', 'Bearer 3']);
    expect(new Set(deletes.map(({ headers }) => headers['mcp-session-id']))).toEqual(ids);
    const afterwards = server.seen.length;
    await pause(30);
    expect(server.seen).toHaveLength(afterwards);
    expect(textOf(await bob.client.callTool(echo('still here')))).toBe('still here');
    const { reused } = await pool.acquire(targetOf('ada', 'Bearer 4'));
    expect(reused).toBe(false);
    expect(pool.stats().totals).toMatchObject({ unterminated: 0, abandoned: 0 });
    await pool.close();
    await until(() => server.openSockets === 0);
  });
});

/** The texts that `echo` was called with, in the order they came. */
function textsOf(server: TestMcpServer): unknown[] {
  return requestsOf(server, 'tools/call').map(
    ({ params }) => (params!['arguments'] as { text: string }).text,
  );
}

function abortable(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return {
    signal: controller.signal,
    abort: () => controller.abort(new Error('the user went away')),
  };
}
