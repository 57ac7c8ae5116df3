// `transport: 'auto'` through the pool, in front of real servers of both HTTP protocols, and of one
// that goes from the older to the newer without a restart of the pool.

import { type HttpTarget, SessionPool } from 'mcp-session-pool';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { startEverythingServer } from '../support/everything-server.ts';
import { textOf } from '../support/http-sessions.ts';
import { startMcpServer } from '../support/mcp-server.ts';
import { until } from '../support/raw-server.ts';
import { startSseMcpServer } from '../support/sse-mcp-server.ts';

const closing = closeAfterEach();

const autoTo = (url: string | URL, more: Partial<HttpTarget> = {}): HttpTarget => ({
  url,
  transport: 'auto',
  identity: 'ada',
  ...more,
});

describe.each(['streamableHttp', 'sse'] as const)('server-everything over %s', (kind) => {
  // Only its start takes seconds on a busy machine.
  const options = { timeout: 30_000 };
  test('is found, and its tools are called, exclusive and shared', options, async () => {
    const server = closing(await startEverythingServer(0, kind));
    const pool = closing(new SessionPool());
    for (const leasesPerSession of [1, 4]) {
      const target = autoTo(server.url, { leasesPerSession });
      const texts = await Promise.all(
        ['one', 'two', 'three'].map((message) =>
          pool.use(target, async (client, { sessionId }) => {
            expect(sessionId === undefined).toBe(kind === 'sse');
            const call = { name: 'echo', arguments: { message } };
            return textOf(await client.callTool(call));
          }),
        ),
      );
      expect(texts).toEqual(['one', 'two', 'three'].map((text) => expect.stringContaining(text)));
    }
    expect(pool.stats().totals).toMatchObject({ openFailed: 0 });
  });
});

test('a server that goes from SSE to Streamable HTTP at the same port is found again', async () => {
  const old = closing(await startSseMcpServer());
  const pool = closing(new SessionPool({ breaker: false }));
  const target = autoTo(old.url);
  const count = async (): Promise<string> =>
    textOf(await pool.use(target, (client) => client.callTool({ name: 'count' })));
  expect([await count(), await count()]).toEqual(['1', '2']);
  await old.close();
  await until(() => pool.stats().sessions.idle === 0);
  const next = closing(await startMcpServer({ port: Number(old.url.port) }));
  expect([await count(), await count()]).toEqual(['1', '2']);
  expect(next.count('initialize')).toBe(1);
  // One GET too many, and never another.
  expect(next.count('GET')).toBe(1);
  await pool.retire({ url: old.url });
  expect(await count()).toBe('1');
  expect(next.count('GET')).toBe(1);
});

test('sessions found so are none of a target that names its transport', async () => {
  const server = closing(await startMcpServer());
  const pool = closing(new SessionPool());
  const { transport: _, ...plain } = autoTo(server.url);
  await pool.use(autoTo(server.url), (client) => client.ping());
  await pool.use(plain, (client) => client.ping());
  expect(pool.stats()).toMatchObject({ keys: 2, totals: { opened: 2 } });
  expect(pool.retire({ url: server.url })).toBe(2);
});

test('an open that speaks neither fails with what Streamable HTTP was told', async () => {
  const server = closing(await startSseMcpServer());
  const pool = closing(new SessionPool());
  const url = new URL('/nowhere', server.url);
  const error = await pool.acquire(autoTo(url)).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'OPEN_FAILED', kind: 'http', status: 405 });
  expect((error as Error).cause).toMatchObject({ errors: [{ status: 405 }, { status: 405 }] });
  expect(server.seen.map(({ httpMethod }) => httpMethod)).toEqual(['POST', 'GET']);
});
