// The pool in front of the SDK's own server of the older HTTP+SSE protocol (2024-11-05): leases,
// whose headers and messages are whose, loss, and work that runs again.

import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { type HttpTarget, SessionPool, type SessionPoolOptions } from 'mcp-session-pool';
import { Agent } from 'undici';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { until } from '../support/raw-server.ts';
import { startSseMcpServer, type TestSseServer } from '../support/sse-mcp-server.ts';

const closing = closeAfterEach();

async function scene(options: SessionPoolOptions = {}, more: Partial<HttpTarget> = {}) {
  const server = closing(await startSseMcpServer());
  const pool = closing(new SessionPool(options));
  const target: HttpTarget = { url: server.url, transport: 'sse', identity: 'ada', ...more };
  return { server, pool, target };
}

const idOf = (server: TestSseServer): string => [...server.sessions.keys()][0]!;

describe.each([
  ['exclusive', 1],
  ['shared', 8],
])('leases of %s SSE sessions', (_, leasesPerSession) => {
  test('carry their own headers, and get their own answers', async () => {
    const { server, pool, target } = await scene({}, { leasesPerSession });
    const whoami = (name: string): Promise<string> =>
      pool.use(
        target,
        async (client) => {
          const { authorization } = JSON.parse(textOf(await client.callTool({ name: 'whoami' })));
          const echoed = await client.callTool({ name: 'echo', arguments: { text: name } });
          return `${authorization} ${textOf(echoed)}`;
        },
        { headers: { authorization: name } },
      );
    const names = Array.from({ length: 20 }, (_each, n) => `user-${n}`);
    const answers = await Promise.all(names.map(whoami));
    expect(answers).toEqual(names.map((name) => `${name} ${name}`));
    expect(server.count('initialize')).toBe(server.sessions.size);
  });

  test('hear the progress of their own calls', async () => {
    const { pool, target } = await scene({}, { leasesPerSession });
    const names = ['one', 'two', 'three'];
    const heard = await Promise.all(
      names.map((name) =>
        pool.use(target, async (client) => {
          const messages: unknown[] = [];
          const call = { name: 'progress', arguments: { name } };
          await client.callTool(call, undefined, {
            onprogress: ({ message, progress }) => void messages.push([message, progress]),
          });
          return messages;
        }),
      ),
    );
    expect(heard).toEqual(names.map((name) => [1, 2, 3].map((progress) => [name, progress])));
  });
});

describe('an SSE session', () => {
  test('is opened, reused and ended without a DELETE, and leaves no socket', async () => {
    const { server, pool, target } = await scene();
    for (const expected of ['1', '2', '3']) {
      const result = await pool.use(target, (client) => client.callTool({ name: 'count' }));
      expect(textOf(result)).toBe(expected);
    }
    expect(server.count('GET')).toBe(1);
    const report = await pool.close();
    expect(report).toMatchObject({ sessions: 1, closed: 1, abandoned: 0, unterminated: 0 });
    await until(() => server.openSockets === 0 && server.sessions.size === 0);
    expect(server.count('DELETE')).toBe(0);
  });

  test('of one identity is none of the other’s', async () => {
    const { server, pool, target } = await scene();
    const count = (identity: string): Promise<string> =>
      pool.use({ ...target, identity }, async (client) =>
        textOf(await client.callTool({ name: 'count' })),
      );
    expect([await count('ada'), await count('bob'), await count('ada')]).toEqual(['1', '1', '2']);
    expect(server.sessions.size).toBe(2);
  });

  test('of one target is none of one that names no transport', async () => {
    const { pool, target } = await scene();
    await pool.use(target, (client) => client.ping());
    const { transport: _, ...plain } = target;
    await expect(pool.acquire(plain)).rejects.toMatchObject({ code: 'OPEN_FAILED', status: 405 });
    expect(pool.stats().keys).toBe(2);
  });

  test('asks the lease whose call it serves, when that is the only one', async () => {
    const { pool, target } = await scene({ capabilities: { elicitation: {} } });
    const ask = (name: string): Promise<string> =>
      pool.use(target, async (client) => {
        client.setRequestHandler(ElicitRequestSchema, ({ params }) => ({
          action: 'accept',
          content: { name: `${name} was asked by ${params.message}` },
        }));
        return textOf(await client.callTool({ name: 'elicit', arguments: { name } }));
      });
    const answers = await Promise.all(['ada', 'bob'].map(ask));
    expect(answers).toEqual(['ada was asked by ada', 'bob was asked by bob']);
  });

  test('tells the server of a call that its lease gave up', async () => {
    const { server, pool, target } = await scene();
    const lease = await pool.acquire(target);
    const outcome = lease.client.callTool({ name: 'hang' }).catch(({ code }) => code);
    await until(() => server.count('tools/call') === 1);
    lease.release();
    expect(await outcome).toBe('LEASE_RELEASED');
    await until(() => server.aborted.length === 1);
    const { reused } = await pool.acquire(target);
    expect(reused).toBe(true);
  });

  test('of an affinity is kept, shared, and not replaced unseen', async () => {
    const { server, pool, target } = await scene({}, { affinity: 'downstream-1' });
    const one = await pool.acquire(target);
    const two = await pool.acquire(target);
    await one.client.callTool({ name: 'count' });
    expect(textOf(await two.client.callTool({ name: 'count' }))).toBe('2');
    server.forget(idOf(server));
    await expect(one.client.callTool({ name: 'count' })).rejects.toMatchObject({
      code: 'SESSION_LOST',
    });
    const next = await pool.acquire(target);
    expect(next.reused).toBe(false);
    expect(textOf(await next.client.callTool({ name: 'count' }))).toBe('1');
  });

  test('sends through the dispatcher of the caller, and leaves it open', async () => {
    const agent = closing(new Agent());
    const { server, pool, target } = await scene({ dispatcher: agent });
    await pool.use(target, (client) => client.ping());
    await pool.close();
    expect(agent.destroyed).toBe(false);
    await until(() => server.sessions.size === 0);
  });
});

describe('an SSE session that is lost', () => {
  test('by a server that forgot it: the work of `use` runs once more, on a new one', async () => {
    const { server, pool, target } = await scene();
    await pool.use(target, (client) => client.callTool({ name: 'count' }));
    server.forget(idOf(server));
    let runs = 0;
    const result = await pool.use(target, (client) => {
      runs += 1;
      return client.callTool({ name: 'count' });
    });
    expect({ runs, text: textOf(result) }).toEqual({ runs: 2, text: '1' });
    expect(pool.stats().totals).toMatchObject({ opened: 2, lost: 1 });
  });

  test('in mid-call: the call may have been executed, and is not made again', async () => {
    const { server, pool, target } = await scene();
    let runs = 0;
    const outcome = pool
      .use(target, (client) => {
        runs += 1;
        return client.callTool({ name: 'hang' });
      })
      .catch((error: unknown) => error);
    await until(() => server.count('tools/call') === 1);
    await server.close();
    expect(await outcome).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    expect(runs).toBe(1);
  });

  test('while it is idle leaves the pool, and the next lease has a new one', async () => {
    const { server, pool, target } = await scene();
    await pool.use(target, (client) => client.ping());
    await server.sessions.get(idOf(server))?.close();
    await until(() => pool.stats().sessions.idle === 0);
    const { reused, client } = await pool.acquire(target);
    expect(reused).toBe(false);
    await client.ping();
    expect(server.count('GET')).toBe(2);
  });

  test('by a restart: its key finds the new server, and never an old session', async () => {
    const { server, pool, target } = await scene();
    await pool.use(target, (client) => client.callTool({ name: 'count' }));
    const port = Number(server.url.port);
    await server.close();
    // The stream tells at once. A call before that may meet a connection in mid-close.
    await until(() => pool.stats().sessions.idle === 0);
    const next = closing(await startSseMcpServer({ port }));
    const result = await pool.use(target, (client) => client.callTool({ name: 'count' }));
    expect(textOf(result)).toBe('1');
    const methods = next.seen.map(({ httpMethod, method }) => method ?? httpMethod);
    expect(methods.slice(0, 2)).toEqual(['GET', 'initialize']);
  });
});
