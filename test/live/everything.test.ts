// The pool with its own connector on `@modelcontextprotocol/server-everything`: what a client can do
// there, a lease's client can, whether its session is its own or shared.

import { type HttpTarget, SessionPool } from 'mcp-session-pool';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { type EverythingServer, startEverythingServer } from '../support/everything-server.ts';
import { textOf } from '../support/http-sessions.ts';

let server: EverythingServer;
beforeAll(async () => {
  server = await startEverythingServer();
});
afterAll(() => server.close());

const closing = closeAfterEach();

describe.each([
  ['exclusive', 1],
  ['shared by four', 4],
])('a lease of an %s session', (_, leasesPerSession) => {
  const newPool = (): SessionPool => closing(new SessionPool());
  const target = (): HttpTarget => ({ url: server.url, identity: 'ada', leasesPerSession });

  test('lists tools, prompts, resources and templates', async () => {
    await newPool().use(target(), async (client) => {
      const { tools } = await client.listTools();
      expect(tools.map((tool) => tool.name)).toEqual(
        expect.arrayContaining(['echo', 'get-sum', 'get-structured-content']),
      );
      expect((await client.listPrompts()).prompts.length).toBeGreaterThan(0);
      expect((await client.listResources()).resources.length).toBeGreaterThan(0);
      const { resourceTemplates } = await client.listResourceTemplates();
      expect(resourceTemplates.length).toBeGreaterThan(0);
    });
  });

  test('calls tools, and the next lease reuses the session', async () => {
    const pool = newPool();
    const ids: (string | undefined)[] = [];
    for (const text of ['one', 'two', 'three']) {
      const { reused } = await pool.use(target(), async (client, lease) => {
        const result = await client.callTool({ name: 'echo', arguments: { message: text } });
        expect(textOf(result)).toContain(text);
        const sum = await client.callTool({ name: 'get-sum', arguments: { a: 2, b: 3 } });
        expect(textOf(sum)).toContain('5');
        ids.push(lease.sessionId);
        return lease;
      });
      expect(reused).toBe(text !== 'one');
    }
    expect(ids[0]).toBeTypeOf('string');
    expect(new Set(ids).size).toBe(1);
  });

  test('hears the progress of a long call', async () => {
    const heard: number[] = [];
    const result = await newPool().use(target(), (client) =>
      client.callTool(
        { name: 'trigger-long-running-operation', arguments: { duration: 0.2, steps: 4 } },
        undefined,
        { onprogress: ({ progress }) => void heard.push(progress) },
      ),
    );
    expect(textOf(result)).toContain('completed');
    expect(heard).toEqual([1, 2, 3, 4]);
  });

  test('gets structured content, checked against the schema that it listed', async () => {
    const result = await newPool().use(target(), async (client) => {
      await client.listTools();
      const name = 'get-structured-content';
      return client.callTool({ name, arguments: { location: 'Chicago' } });
    });
    expect(result.structuredContent).toMatchObject({ temperature: 36, humidity: 82 });
  });

  test('reads a resource and gets a prompt', async () => {
    await newPool().use(target(), async (client) => {
      const { resources } = await client.listResources();
      const { contents } = await client.readResource({ uri: resources[0]!.uri });
      expect(contents).toHaveLength(1);
      const { messages } = await client.getPrompt({ name: 'simple-prompt' });
      expect(messages.length).toBeGreaterThan(0);
    });
  });

  test('answers a sampling request of its own call', async () => {
    const pool = closing(new SessionPool({ capabilities: { sampling: {} } }));
    const asked: string[] = [];
    const answer = { model: 'test', role: 'assistant', content: { type: 'text', text: 'blue' } };
    const ask = (prompt: string): Promise<string> =>
      pool.use(
        target(),
        async (client) => {
          const call = { name: 'trigger-sampling-request', arguments: { prompt } };
          return textOf(await client.callTool(call));
        },
        {
          onRequest: ({ method, params }) => {
            asked.push(method);
            const text = `${answer.content.text} ${JSON.stringify(params).includes(prompt)}`;
            return { ...answer, content: { type: 'text', text } };
          },
        },
      );
    // Concurrent, so that a request which reached another's handler would be seen.
    const answers = await Promise.all(['first', 'second', 'third'].map(ask));
    for (const text of answers) expect(text).toContain('blue true');
    expect(asked).toEqual(Array(3).fill('sampling/createMessage'));
  });

  test('leaves two identities on two sessions', async () => {
    const pool = newPool();
    const ids = await Promise.all(
      ['ada', 'bob'].map((identity) =>
        pool.use({ ...target(), identity }, async (client, lease) => {
          await client.ping();
          return lease.sessionId;
        }),
      ),
    );
    expect(new Set(ids).size).toBe(2);
    expect(pool.stats().keys).toBe(2);
  });
});

test('four leases at once share one session, and a fifth gets another', async () => {
  const pool = closing(new SessionPool());
  const target = { url: server.url, identity: 'ada', leasesPerSession: 4 };
  const leases = [await pool.acquire(target)];
  for (let n = 1; n < 5; n += 1) leases.push(await pool.acquire(target));
  const ids = leases.map((lease) => lease.sessionId);
  expect(new Set(ids.slice(0, 4)).size).toBe(1);
  expect(ids[4]).not.toBe(ids[0]);
  const sums = await Promise.all(
    leases.map((lease, a) => lease.client.callTool({ name: 'get-sum', arguments: { a, b: 100 } })),
  );
  for (const [a, sum] of sums.entries()) expect(textOf(sum)).toContain(`${100 + a}`);
  for (const lease of leases) lease.release();
});

test('an exclusive session whose logging level was set is not lent again', async () => {
  const pool = closing(new SessionPool());
  const target = { url: server.url, identity: 'ada' };
  const first = await pool.use(target, async (client, { sessionId }) => {
    await client.setLoggingLevel('debug');
    return sessionId;
  });
  const second = await pool.use(target, async (client, lease) => {
    await client.ping();
    return { id: lease.sessionId, reused: lease.reused };
  });
  expect(second.reused).toBe(false);
  expect(second.id).not.toBe(first);
});
