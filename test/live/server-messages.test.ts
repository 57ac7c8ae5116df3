// What the SDK's own server sends on its own, through the pool: with many leases on one session,
// each request and notification reaches the lease whose call caused it, and nobody else (P4).

import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { type Lease, SessionPool, type SessionPoolOptions } from 'mcp-session-pool';
import { describe, expect, test, vi } from 'vitest';
import { type Answers, addAskingTools } from '../support/asking-tools.ts';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import {
  startMcpServer,
  type TestMcpServer,
  type TestMcpServerOptions,
} from '../support/mcp-server.ts';
import { until } from '../support/raw-server.ts';

/** Hundreds of calls, four exchanges each, on a machine that may be busy. */
const MANY_CALLS_MS = 30_000;

const closing = closeAfterEach();
const serve = async (options: TestMcpServerOptions = {}): Promise<TestMcpServer> =>
  closing(await startMcpServer({ addTools: addAskingTools, ...options }));

const newPool = (options: SessionPoolOptions = {}): SessionPool =>
  closing(
    new SessionPool({
      capabilities: { elicitation: {}, sampling: {}, roots: {} },
      maxSessionsPerKey: 1,
      ...options,
    }),
  );

/** A lease that answers with a secret of its own, and knows which calls it made. */
class Borrower {
  readonly lease: Lease;
  readonly secret: string = crypto.randomUUID();
  /** The tokens that its handlers were asked with. */
  readonly askedWith: string[] = [];
  readonly heard: string[] = [];
  readonly #own = new Set<string>();
  #calls = 0;

  constructor(lease: Lease) {
    this.lease = lease;
    const { client } = lease;
    client.setRequestHandler(ElicitRequestSchema, ({ params }) => ({
      action: 'accept',
      content: { text: this.#answer(params.message) },
    }));
    client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
      const content = params.messages[0]?.content as { text: string };
      const text = this.#answer(content.text);
      return { model: 'm', role: 'assistant', content: { type: 'text', text } };
    });
    client.setRequestHandler(ListRootsRequestSchema, ({ params }) => ({
      roots: [{ uri: `file:///${this.#answer(String(params?._meta?.['token']))}` }],
    }));
    client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => {
      this.heard.push(String(params.data));
    });
  }

  /** A token that no other call has, of this lease or another. */
  newToken(): string {
    this.#calls += 1;
    const token = `${this.secret.slice(0, 8)}-${this.#calls}`;
    this.#own.add(token);
    return token;
  }

  /** Whether one call of `tool` was answered by this lease alone, all three times. */
  async ask(tool: string, more: Readonly<Record<string, unknown>> = {}): Promise<boolean> {
    const token = this.newToken();
    const result = await this.lease.client.callTool({ name: tool, arguments: { token, ...more } });
    if (result.isError === true) throw new Error(textOf(result));
    const { elicited, sampled, root } = JSON.parse(textOf(result)) as Answers;
    const right = this.#right(token);
    return elicited === right && sampled === right && root === `file:///${right}`;
  }

  #answer(token: string): string {
    this.askedWith.push(token);
    return this.#own.has(token) ? this.#right(token) : 'asked the wrong one';
  }

  #right(token: string): string {
    return `${this.secret}+${token}`;
  }
}

const borrow = async (
  pool: SessionPool,
  server: TestMcpServer,
  count: number,
): Promise<Borrower[]> => {
  const target = { url: server.url, identity: 'ada' };
  const leases = await Promise.all(Array.from({ length: count }, () => pool.acquire(target)));
  return leases.map((lease) => new Borrower(lease));
};

const streamIsOpen = async (server: TestMcpServer): Promise<void> => {
  await until(() => server.count('GET') === 1);
  // Answers a GET before it reads what is sent next on the session.
  const [mcp] = server.sessions.values();
  await mcp?.server.ping();
};

describe('on one shared session', () => {
  test(
    '200 interleaved calls that elicit, sample and list roots are answered by their own lease',
    async () => {
      const server = await serve();
      const borrowers = await borrow(newPool({ leasesPerSession: 20 }), server, 20);
      expect(server.sessions.size).toBe(1);
      const calls = Array.from({ length: 10 }, () => borrowers.map((each) => each.ask('ask')));
      const right = await Promise.all(calls.flat());
      expect(right.filter(Boolean)).toHaveLength(200);
      for (const { askedWith } of borrowers) expect(askedWith).toHaveLength(30);
      expect(server.count('initialize')).toBe(1);
    },
    MANY_CALLS_MS,
  );

  test(
    '64 calls that all wait for their caller at once are all answered',
    async () => {
      const server = await serve();
      const borrowers = await borrow(newPool({ leasesPerSession: 4 }), server, 4);
      const calls = Array.from({ length: 16 }, () =>
        borrowers.map((each) => each.ask('gather', { size: 64 })),
      );
      const right = await Promise.all(calls.flat());
      expect(right.filter(Boolean)).toHaveLength(64);
    },
    MANY_CALLS_MS,
  );

  test('a handler may call tools on its own lease, which ask it in turn', async () => {
    const server = await serve();
    const borrowers = await borrow(newPool({ leasesPerSession: 4 }), server, 4);
    const nested = borrowers.map(async ({ lease: { client } }, n) => {
      let depth = 0;
      client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
        depth += 1;
        if (depth >= 5) return { action: 'accept', content: { name: `${n}` } };
        const inner = { name: 'elicit', arguments: { name: `${params.message} ${depth}` } };
        return { action: 'accept', content: { name: `${textOf(await client.callTool(inner))}!` } };
      });
      return textOf(await client.callTool({ name: 'elicit', arguments: { name: `from ${n}` } }));
    });
    expect(await Promise.all(nested)).toEqual(['0!!!!', '1!!!!', '2!!!!', '3!!!!']);
  });

  test(
    'progress and log messages of 200 interleaved calls reach their own lease, in order',
    async () => {
      const server = await serve();
      const borrowers = await borrow(newPool({ leasesPerSession: 20 }), server, 20);
      const calls = Array.from({ length: 10 }, () =>
        borrowers.map(async (each) => {
          const token = each.newToken();
          const seen: unknown[] = [];
          const call = { name: 'tell', arguments: { token } };
          const onprogress = (progress: unknown): void => void seen.push(progress);
          const text = textOf(await each.lease.client.callTool(call, undefined, { onprogress }));
          // Looked at when the result is there: nothing may come after it.
          expect(seen).toMatchObject([1, 2, 3].map((progress) => ({ progress, message: token })));
          expect(each.heard.filter((data) => data.startsWith(`${token} `))).toHaveLength(3);
          expect(text).toBe(token);
        }),
      );
      await Promise.all(calls.flat());
      for (const { heard, secret } of borrowers) {
        expect(heard).toHaveLength(30);
        expect(heard.filter((data) => !data.startsWith(secret.slice(0, 8)))).toEqual([]);
      }
    },
    MANY_CALLS_MS,
  );

  test('changes of lists and resources reach every lease and the handler of the pool', async () => {
    const server = await serve();
    const onNotification = vi.fn();
    const pool = newPool({ leasesPerSession: 5, onNotification });
    const borrowers = await borrow(pool, server, 5);
    const [changed, updated] = [vi.fn(), vi.fn()];
    for (const { lease } of borrowers) {
      lease.client.setNotificationHandler(ToolListChangedNotificationSchema, changed);
      lease.client.setNotificationHandler(ResourceUpdatedNotificationSchema, updated);
    }
    await streamIsOpen(server);
    const [mcp] = server.sessions.values();
    mcp?.sendToolListChanged();
    await mcp?.server.sendResourceUpdated({ uri: 'note://1' });
    await until(() => updated.mock.calls.length === 5 && onNotification.mock.calls.length === 2);
    expect(changed).toHaveBeenCalledTimes(5);
    expect(onNotification.mock.calls.map(([{ method }]) => method)).toEqual([
      'notifications/tools/list_changed',
      'notifications/resources/updated',
    ]);
  });

  test('a request whose lease ends before it answers is answered for it, and asks no other', async () => {
    const server = await serve();
    const [first, second] = await borrow(newPool({ leasesPerSession: 2 }), server, 2);
    let asked = false;
    let isAborted = false;
    first!.lease.client.setRequestHandler(ElicitRequestSchema, (_request, { signal }) => {
      asked = true;
      signal.addEventListener('abort', () => {
        isAborted = true;
      });
      return new Promise(() => {});
    });
    const call = first!.ask('ask');
    call.catch(() => {});
    await until(() => asked);
    const before = server.seen.length;
    first!.lease.release();
    await expect(call).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    expect(await second!.ask('ask')).toBe(true);
    expect(isAborted).toBe(true);
    expect(second!.askedWith).toHaveLength(3);
    const answers = server.seen.slice(before).filter(({ httpMethod, method, id }) => {
      return httpMethod === 'POST' && method === undefined && id !== undefined;
    });
    // One for the lease that is gone, three of the other.
    expect(answers).toHaveLength(4);
  });
});

describe('requests over the notification stream of a shared session', () => {
  test.each([{ json: true }, { json: false }])(
    'are refused: no lease is asked to guess (%j)',
    async (options) => {
      const server = await serve(options);
      const pool = newPool({ leasesPerSession: 8 });
      const target = { url: server.url, identity: 'ada', notifications: true };
      const leases = await Promise.all(Array.from({ length: 8 }, () => pool.acquire(target)));
      const borrowers = leases.map((lease) => new Borrower(lease));
      await streamIsOpen(server);
      const calls = borrowers.map((each) => each.ask('ask-aside'));
      const outcomes = await Promise.allSettled(calls);
      expect(outcomes).toHaveLength(8);
      for (const { reason } of outcomes as PromiseRejectedResult[]) {
        expect(String(reason)).toContain('-32601');
      }
      expect(borrowers.flatMap(({ askedWith }) => askedWith)).toEqual([]);
      expect(server.count('initialize')).toBe(1);
    },
  );

  test.each([{ json: true }, { json: false }])(
    'go to the handler of the pool, and to no lease (%j)',
    async (options) => {
      const server = await serve(options);
      const onRequest = vi.fn<NonNullable<SessionPoolOptions['onRequest']>>(
        async ({ method, params }) => {
          const token = JSON.stringify(params).match(/[0-9a-f]{8}-\d+/)?.[0] ?? '';
          if (method === 'roots/list') return { roots: [{ uri: `file:///pool+${token}` }] };
          const text = `pool+${token}`;
          if (method === 'elicitation/create') return { action: 'accept', content: { text } };
          return { model: 'm', role: 'assistant', content: { type: 'text', text } };
        },
      );
      const pool = newPool({ leasesPerSession: 8, onRequest });
      const borrowers = await borrow(pool, server, 8);
      await streamIsOpen(server);
      const results = await Promise.all(
        borrowers.map(async (each) => {
          const token = each.newToken();
          const call = { name: 'ask-aside', arguments: { token } };
          const answers = JSON.parse(textOf(await each.lease.client.callTool(call))) as Answers;
          return Object.values(answers).map((text) => String(text).endsWith(`pool+${token}`));
        }),
      );
      expect(results.flat().filter(Boolean)).toHaveLength(24);
      expect(borrowers.flatMap(({ askedWith }) => askedWith)).toEqual([]);
      expect(onRequest).toHaveBeenCalledTimes(24);
      const { key, ...context } = onRequest.mock.calls[0]![1];
      expect(pool.stats({ perKey: true }).perKey).toMatchObject([{ key }]);
      expect(context).toMatchObject({ server: server.url.origin, identity: 'ada' });
    },
  );

  test('do not draw those that can be attributed to the handler of the pool', async () => {
    const server = await serve();
    const onRequest = vi.fn(() => ({}));
    const onNotification = vi.fn();
    const pool = newPool({ leasesPerSession: 4, onRequest, onNotification });
    const borrowers = await borrow(pool, server, 4);
    await streamIsOpen(server);
    const asked = await Promise.all(borrowers.map((each) => each.ask('ask')));
    for (const each of borrowers) {
      const call = { name: 'tell', arguments: { token: each.newToken() } };
      await each.lease.client.callTool(call);
      expect(each.heard).toHaveLength(3);
    }
    expect(asked).toEqual([true, true, true, true]);
    // A lease without a handler of its own: what is asked of it stays its own to refuse.
    borrowers[0]!.lease.client.removeRequestHandler('elicitation/create');
    await expect(borrowers[0]!.ask('ask')).rejects.toThrow('-32601');
    expect(onRequest).not.toHaveBeenCalled();
    expect(onNotification).not.toHaveBeenCalled();
  });
});

describe('on an exclusive session', () => {
  test.each([{ json: true }, { json: false }])(
    'requests over the notification stream are the one lease there is (%j)',
    async (options) => {
      const server = await serve(options);
      const onRequest = vi.fn(() => ({}));
      const pool = newPool({ onRequest });
      for (const _ of [1, 2]) {
        const [borrower] = await borrow(pool, server, 1);
        await streamIsOpen(server);
        const calls = Array.from({ length: 10 }, () => borrower!.ask('ask-aside'));
        expect((await Promise.all(calls)).filter(Boolean)).toHaveLength(10);
        borrower!.lease.release();
      }
      expect(onRequest).not.toHaveBeenCalled();
      expect(server.sessions.size).toBe(1);
    },
  );

  test.each([
    {
      name: 'requests',
      listen: ({ client }: Lease) =>
        client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [] })),
    },
    {
      name: 'notifications',
      listen: ({ client }: Lease) =>
        client.setNotificationHandler(LoggingMessageNotificationSchema, () => {}),
    },
  ])('a handler for $name, set on the client of a lease, opens the stream', async ({ listen }) => {
    const server = await serve();
    const pool = newPool();
    const lease = await pool.acquire({ url: server.url, identity: 'ada' });
    await lease.client.ping();
    expect(server.count('GET')).toBe(0);
    listen(lease);
    await streamIsOpen(server);
    // A word of the target's against it counts more. Nor does it help to listen after the lease.
    const target = { url: server.url, identity: 'bob', notifications: false };
    const silent = await pool.acquire(target);
    listen(silent);
    const late = await pool.acquire({ url: server.url, identity: 'eve' });
    late.release();
    listen(late);
    await silent.client.ping();
    expect(server.count('GET')).toBe(1);
  });

  test('what a server asks in a call but not on its stream, the handlers of its lease answer', async () => {
    const server = await serve();
    const [borrower] = await borrow(newPool(), server, 1);
    await streamIsOpen(server);
    expect(await borrower!.ask('ask-aside')).toBe(true);
  });

  test('while nobody leases it, the pool answers what it is asked', async () => {
    const server = await serve();
    const onRequest = vi.fn<NonNullable<SessionPoolOptions['onRequest']>>(() => ({
      roots: [{ uri: 'file:///pool' }],
    }));
    const onNotification = vi.fn<NonNullable<SessionPoolOptions['onNotification']>>();
    const pool = newPool({ onRequest, onNotification });
    const [borrower] = await borrow(pool, server, 1);
    borrower!.lease.release();
    await streamIsOpen(server);
    const [mcp] = server.sessions.values();
    expect(await mcp?.server.listRoots()).toMatchObject({ roots: [{ uri: 'file:///pool' }] });
    await mcp?.server.sendLoggingMessage({ level: 'info', data: 'idle' });
    await until(() => onNotification.mock.calls.length === 1);
    expect(onNotification.mock.calls[0]?.[0].params).toEqual({ level: 'info', data: 'idle' });
    expect(onNotification.mock.calls[0]?.[1]).toMatchObject({ identity: 'ada' });
    expect(borrower!.askedWith).toEqual([]);
  });
});
