// The pool with its own connector on `@modelcontextprotocol/server-everything` over the older
// HTTP+SSE protocol: who gets which session, and who is asked. What the server offers, one by one,
// is in `everything.sse.test.ts`.

import { type HttpTarget, SessionPool } from 'mcp-session-pool';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { type EverythingServer, startEverythingServer } from '../support/everything-server.ts';
import { textOf } from '../support/http-sessions.ts';

let server: EverythingServer;
beforeAll(async () => {
  server = await startEverythingServer(0, 'sse');
});
afterAll(() => server.close());

const closing = closeAfterEach();

describe.each([
  ['exclusive', 1],
  ['shared by four', 4],
])('over SSE, a lease of an %s session', (_, leasesPerSession) => {
  const newPool = (): SessionPool => closing(new SessionPool());
  const target = (): HttpTarget => ({
    url: server.url,
    transport: 'sse',
    identity: 'ada',
    leasesPerSession,
  });

  test('calls tools, and the next lease reuses the session', async () => {
    const pool = newPool();
    for (const text of ['one', 'two', 'three']) {
      const { reused } = await pool.use(target(), async (client, lease) => {
        const result = await client.callTool({ name: 'echo', arguments: { message: text } });
        expect(textOf(result)).toContain(text);
        return lease;
      });
      expect(reused).toBe(text !== 'one');
    }
    expect(pool.stats().totals.opened).toBe(1);
  });
});

test('an exclusive lease answers the sampling request of its own call', async () => {
  const pool = closing(new SessionPool({ capabilities: { sampling: {} } }));
  const target: HttpTarget = { url: server.url, transport: 'sse', identity: 'ada' };
  const asked: string[] = [];
  const ask = (prompt: string): Promise<string> =>
    pool.use(
      target,
      async (client) => {
        const call = { name: 'trigger-sampling-request', arguments: { prompt } };
        return textOf(await client.callTool(call));
      },
      {
        onRequest: ({ method, params }) => {
          asked.push(method);
          const text = `blue ${JSON.stringify(params).includes(prompt)}`;
          return { model: 'test', role: 'assistant', content: { type: 'text', text } };
        },
      },
    );
  // Concurrent, so that a request which reached another's handler would be seen.
  const answers = await Promise.all(['first', 'second', 'third'].map(ask));
  for (const text of answers) expect(text).toContain('blue true');
  expect(asked).toEqual(Array(3).fill('sampling/createMessage'));
});

test('over SSE, two identities have a session each', async () => {
  const pool = closing(new SessionPool());
  for (const identity of ['ada', 'bob', 'ada']) {
    await pool.use({ url: server.url, transport: 'sse', identity }, (client) => client.ping());
  }
  expect(pool.stats().totals).toMatchObject({ opened: 2, reused: 1 });
});
