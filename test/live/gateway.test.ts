// The example gateway, end to end: real SDK clients on one side, the SDK's own server on the other.
// What goes in comes out on the other side, for the session and the user that it belongs to.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  type McpError,
  ResourceListChangedNotificationSchema,
  ResultSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, test, vi } from 'vitest';
import type { Answers } from '../support/asking-tools.ts';
import { closeAfterEach } from '../support/closing.ts';
import {
  connect,
  credentialOf,
  type Downstream,
  type DownstreamOptions,
  type RunningGateway,
  startGateway,
  startUpstream,
  tokenOf,
  untilHealth,
} from '../support/gateway-fixture.ts';
import { textOf } from '../support/http-sessions.ts';
import type { TestMcpServer } from '../support/mcp-server.ts';
import { until } from '../support/raw-server.ts';

/** Real sockets, and a machine that may be busy. */
vi.setConfig({ testTimeout: 40_000 });
const ASKABLE = { elicitation: {}, sampling: {}, roots: { listChanged: true } };

const closing = closeAfterEach();

interface World extends RunningGateway {
  readonly upstream: TestMcpServer;
  join(user: string, options?: DownstreamOptions): Promise<Downstream>;
}

async function start(users = ['ada', 'bob'], sessions = 'per-session'): Promise<World> {
  const upstream = closing(await startUpstream(users));
  const servers = { main: { url: upstream.url, sessions } };
  const running = closing(await startGateway({ users, servers }));
  return {
    ...running,
    upstream,
    join: async (user, options) => closing(await connect(running.origin, user, options)),
  };
}

/** Without a client of the SDK. */
const post = (world: World, message: object, sessionId?: string): Promise<Response> =>
  fetch(`${world.origin}/main/mcp`, {
    method: 'POST',
    body: JSON.stringify({ jsonrpc: '2.0', ...message }),
    headers: {
      authorization: `Bearer ${tokenOf('ada')}`,
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      ...(sessionId !== undefined && { 'mcp-session-id': sessionId }),
    },
  });

const call = async (
  { client }: Downstream,
  name: string,
  args: Readonly<Record<string, unknown>> = {},
): Promise<string> => textOf(await client.callTool({ name, arguments: args }));

/** Answers whatever it is asked with a secret of its own. */
const answering = (secret: string, asked: string[] = []): DownstreamOptions => ({
  capabilities: ASKABLE,
  prepare: (client) => {
    client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
      asked.push(params.message);
      return { action: 'accept', content: { text: `${secret}+${params.message}` } };
    });
    client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
      const { text } = params.messages[0]!.content as { text: string };
      asked.push(text);
      const content = { type: 'text' as const, text: `${secret}+${text}` };
      return { model: 'm', role: 'assistant', content };
    });
    client.setRequestHandler(ListRootsRequestSchema, ({ params }) => {
      asked.push(String(params?._meta?.['token']));
      return { roots: [{ uri: `file:///${secret}+${String(params?._meta?.['token'])}` }] };
    });
  },
});

const answersOf = (secret: string, token: string): Answers => ({
  elicited: `${secret}+${token}`,
  sampled: `${secret}+${token}`,
  root: `file:///${secret}+${token}`,
});

describe('what the upstream server offers', () => {
  test('tools, resources and prompts are listed and used through the gateway', async () => {
    const world = await start();
    const { client } = await world.join('ada');
    expect(client.getServerVersion()).toMatchObject({ name: 'test-server', version: '1.2.3' });
    expect(client.getInstructions()).toBe('Be kind');
    expect(client.getServerCapabilities()).toMatchObject({ tools: {}, resources: {}, prompts: {} });
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(expect.arrayContaining(['echo', 'structured']));
    const echoed = await client.callTool({ name: 'echo', arguments: { text: 'hello' } });
    expect(textOf(echoed)).toBe('hello');
    const structured = { name: 'structured', arguments: { answer: 42 } };
    expect((await client.callTool(structured)).structuredContent).toEqual({ answer: 42 });
    const { resources } = await client.listResources();
    expect(resources).toMatchObject([{ uri: 'note://1' }]);
    const read = await client.readResource({ uri: 'note://1' });
    expect(read.contents).toMatchObject([{ text: 'note' }]);
    expect((await client.listPrompts()).prompts).toMatchObject([{ name: 'explain' }]);
    const prompt = await client.getPrompt({ name: 'explain', arguments: { topic: 'pools' } });
    expect(prompt.messages[0]?.content).toEqual({ type: 'text', text: 'Explain pools' });
    expect(world.upstream.count('initialize')).toBe(1);
  });

  test("an error of the upstream server is the caller's to read, as it was said", async () => {
    const world = await start();
    const { client } = await world.join('ada');
    const direct = new Client({ name: 'direct', version: '1.0.0' });
    const headers = { authorization: credentialOf('ada') };
    const requestInit = { requestInit: { headers } };
    const transport = new StreamableHTTPClientTransport(world.upstream.url, requestInit);
    await direct.connect(transport as Transport);
    const [through, alone] = await Promise.all(
      [client, direct].map((each) =>
        each.readResource({ uri: 'note://none' }).catch((error: unknown) => error as McpError),
      ),
    );
    await direct.close();
    expect(through).toMatchObject({ code: -32_602, message: expect.stringContaining('not found') });
    expect(through).toEqual(alone);
  });

  test('what the gateway does not let through is an unknown method, and stays here', async () => {
    const world = await start();
    const { client } = await world.join('ada');
    const unknown = client.request({ method: 'tasks/list' }, ResultSchema);
    await expect(unknown).rejects.toMatchObject({ code: -32_601 });
    expect(world.upstream.count('tasks/list')).toBe(0);
  });
});

describe('sessions', () => {
  test('each downstream session has one upstream session, and its state', async () => {
    const world = await start();
    const [first, second] = [await world.join('ada'), await world.join('ada')];
    await Promise.all([1, 2, 3].map(() => call(first, 'count')));
    expect(await call(first, 'count')).toBe('4');
    expect(await call(second, 'count')).toBe('1');
    expect(world.upstream.sessions.size).toBe(2);
  });

  test('a server that keeps no state shares its sessions among the calls of one user', async () => {
    const world = await start(['ada', 'bob'], 'per-call');
    const ada = [await world.join('ada'), await world.join('ada')];
    const bob = await world.join('bob');
    const counts = [await call(ada[0]!, 'count'), await call(ada[1]!, 'count')];
    expect([...counts, await call(bob, 'count')]).toEqual(['1', '2', '1']);
    expect(world.upstream.sessions.size).toBe(2);
    // What needs a session of one's own is not offered.
    expect(bob.client.getServerCapabilities()).toEqual({ tools: {}, resources: {}, prompts: {} });
    const asked: string[] = [];
    const asking = await world.join('ada', answering('A', asked));
    const answers = JSON.parse(await call(asking, 'ask', { token: 't' })) as Answers;
    expect(answers).toEqual(answersOf('A', 't'));
  });

  test('no session or credential of one user is ever used for another', async () => {
    const users = ['ada', 'bob'];
    const world = await start(users);
    const joined = users.flatMap((user) => [1, 2, 3].map(() => ({ user })));
    const sessions = await Promise.all(
      joined.map(async ({ user }) => ({ user, downstream: await world.join(user) })),
    );
    const calls = sessions.flatMap(({ user, downstream }) =>
      Array.from({ length: 10 }, async () => {
        const headers = JSON.parse(await call(downstream, 'whoami')) as Record<string, string>;
        expect(headers['authorization']).toBe(credentialOf(user));
        return `${user} ${headers['mcp-session-id']}`;
      }),
    );
    const pairs = new Set(await Promise.all(calls));
    expect(pairs.size).toBe(6);
    expect(new Set([...pairs].map((pair) => pair.split(' ')[1])).size).toBe(6);
    // Nothing that the downstream side sent is passed on.
    const sent = JSON.stringify(world.upstream.seen.map(({ headers }) => headers));
    for (const user of users) expect(sent).not.toContain(tokenOf(user));
    for (const { downstream } of sessions) expect(sent).not.toContain(downstream.sessionId);
    for (const { downstream } of sessions) {
      expect(world.lines.join('')).not.toContain(downstream.sessionId);
    }
    expect(world.lines.length).toBeGreaterThan(0);
    const logged = world.lines.join('');
    for (const user of users) {
      expect(logged).not.toContain(tokenOf(user));
      expect(logged).not.toContain(credentialOf(user));
    }
  });
});

describe('what the upstream server asks and tells', () => {
  test('in 20 sessions at once, elicitation, sampling and roots reach the session that called', async () => {
    const world = await start();
    const sessions = await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        const asked: string[] = [];
        const user = n % 2 === 0 ? 'ada' : 'bob';
        return { n, asked, downstream: await world.join(user, answering(`s${n}`, asked)) };
      }),
    );
    const calls = sessions.flatMap(({ n, downstream }) =>
      [1, 2, 3].map(async (round) => {
        const token = `${n}.${round}`;
        const answers = JSON.parse(await call(downstream, 'ask', { token })) as Answers;
        expect(answers).toEqual(answersOf(`s${n}`, token));
      }),
    );
    await Promise.all(calls);
    for (const { n, asked } of sessions) {
      expect(asked).toHaveLength(9);
      expect(asked.filter((token) => !token.startsWith(`${n}.`))).toEqual([]);
    }
  });

  test('what is asked outside of any call reaches the session over its stream', async () => {
    const world = await start();
    const [first, second] = await Promise.all([
      world.join('ada', answering('one')),
      world.join('ada', answering('two')),
    ]);
    await until(() => world.upstream.count('GET') === 2);
    const answers = await Promise.all([
      call(first!, 'ask-aside', { token: 'a' }),
      call(second!, 'ask-aside', { token: 'b' }),
    ]);
    expect(answers.map((text) => JSON.parse(text) as Answers)).toEqual([
      answersOf('one', 'a'),
      answersOf('two', 'b'),
    ]);
  });

  test('a client without a stream is not asked what could not get there', async () => {
    const world = await start();
    const clientInfo = { name: 'raw', version: '1' };
    const params = { protocolVersion: '2025-06-18', capabilities: ASKABLE, clientInfo };
    const opened = await post(world, { id: 1, method: 'initialize', params });
    await opened.text();
    const ask = { name: 'ask-aside', arguments: { token: 't' } };
    const id = opened.headers.get('mcp-session-id')!;
    const answer = await post(world, { id: 2, method: 'tools/call', params: ask }, id);
    expect(await answer.text()).toContain('-32601');
  });

  test('a client that declared nothing is asked nothing', async () => {
    const world = await start();
    const { client } = await world.join('ada');
    const refused = await client.callTool({ name: 'elicit', arguments: { name: 'x' } });
    expect(refused.isError).toBe(true);
    expect(world.upstream.seen.find(({ method }) => method === 'initialize')?.params).toMatchObject(
      { capabilities: {} },
    );
  });

  test('a question that is declined or fails is answered with just that', async () => {
    const world = await start();
    const downstream = await world.join('ada', {
      capabilities: ASKABLE,
      prepare: (client) => {
        client.setRequestHandler(ElicitRequestSchema, () => {
          throw Object.assign(new Error('Not now'), { code: -32_099 });
        });
      },
    });
    const result = await downstream.client.callTool({ name: 'elicit', arguments: { name: 'x' } });
    expect(result.isError).toBe(true);
    expect(textOf(result)).toBe('MCP error -32099: Not now');
  });

  test('progress and log messages of a call come in order, before its result', async () => {
    const world = await start();
    const sessions = await Promise.all([1, 2, 3, 4].map(() => world.join('ada')));
    await Promise.all(
      sessions.map(async ({ client }, n) => {
        const heard: unknown[] = [];
        client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => {
          heard.push(params.data);
        });
        const seen: unknown[] = [];
        const tell = { name: 'tell', arguments: { token: `t${n}` } };
        const onprogress = (progress: unknown): void => void seen.push(progress);
        const result = await client.callTool(tell, undefined, { onprogress });
        expect(textOf(result)).toBe(`t${n}`);
        expect(seen).toMatchObject([1, 2, 3].map((progress) => ({ progress, message: `t${n}` })));
        expect(heard).toEqual([1, 2, 3].map((step) => `t${n} ${step}`));
      }),
    );
  });

  test('changes of lists and log messages outside of calls reach their own session, once', async () => {
    const world = await start();
    const told = { first: vi.fn(), second: vi.fn() };
    const listen = (onNews: (method: string) => void): DownstreamOptions => ({
      prepare: (client) => {
        const schemas = [
          ToolListChangedNotificationSchema,
          ResourceListChangedNotificationSchema,
          LoggingMessageNotificationSchema,
        ] as const;
        for (const schema of schemas) {
          client.setNotificationHandler(schema, ({ method }) => onNews(method));
        }
      },
    });
    const first = await world.join('ada', listen(told.first));
    await world.join('ada', listen(told.second));
    await until(() => world.upstream.count('GET') === 2);
    const headers = JSON.parse(await call(first, 'whoami')) as Record<string, string>;
    const server = world.upstream.sessions.get(headers['mcp-session-id']!)!;
    // While a call of it is under way too: then a lease hears of it as well.
    const slow = call(first, 'slow', { ms: 200 });
    await until(() => world.upstream.seen.at(-1)?.params?.['name'] === 'slow');
    server.sendToolListChanged();
    server.sendResourceListChanged();
    await server.server.sendLoggingMessage({ level: 'info', data: 'x' });
    await slow;
    await until(() => told.first.mock.calls.length >= 3);
    expect(told.first.mock.calls.flat()).toEqual([
      'notifications/tools/list_changed',
      'notifications/resources/list_changed',
      'notifications/message',
    ]);
    expect(told.second).not.toHaveBeenCalled();
  });

  test('the log level and changes of roots go upstream', async () => {
    const world = await start();
    const { client } = await world.join('ada', answering('A'));
    await client.setLoggingLevel('error');
    await client.sendRootsListChanged();
    await until(() => world.upstream.count('notifications/roots/list_changed') === 1);
    const { params } = world.upstream.seen.find(({ method }) => method === 'logging/setLevel')!;
    expect(params).toMatchObject({ level: 'error' });
  });
});

describe('a call that is taken back', () => {
  test('is cancelled upstream, and leaves nothing in the session, which goes on', async () => {
    const world = await start();
    const downstream = await world.join('ada');
    const controllers = [1, 2, 3].map(() => new AbortController());
    const calls = controllers.map(({ signal }) =>
      downstream.client.callTool({ name: 'hang' }, undefined, { signal }),
    );
    const settled = Promise.allSettled(calls);
    await until(() => world.upstream.seen.filter((each) => isHang(each.params)).length === 3);
    for (const controller of controllers) controller.abort(new Error('enough'));
    await until(() => world.upstream.aborted.length === 3);
    expect((await settled).map(({ status }) => status)).toEqual(Array(3).fill('rejected'));
    // One that waits for more responses than its stream and this very question would fail here.
    await untilHealth(world.origin, ({ openResponses }) => openResponses === 2);
    expect(await call(downstream, 'count')).toBe('1');
  });

  test('gets no answer, and its response ends', async () => {
    const world = await start();
    const { sessionId } = await world.join('ada');
    const params = { name: 'hang' };
    const hanging = await post(world, { id: 99, method: 'tools/call', params }, sessionId);
    const cancel = { method: 'notifications/cancelled', params: { requestId: 99 } };
    await post(world, cancel, sessionId);
    expect(await hanging.text()).not.toContain('jsonrpc');
    await until(() => world.upstream.aborted.length === 1);
  });
});

const isHang = (params: Readonly<Record<string, unknown>> | undefined): boolean =>
  params?.['name'] === 'hang';
