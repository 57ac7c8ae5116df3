// Servers of 2026-07-28, which keep no session: a lease is a slot for requests, a set of headers and
// the end of what it left in flight. What was found out of a server is shared within an identity.

import type { Client, ClientContext } from '@modelcontextprotocol/client';
import { SessionPool, type SessionPoolOptions, v2Connector } from 'mcp-session-pool/v2';
import { describe, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import {
  startMcpServer2,
  type TestMcpServer2,
  type TestMcpServer2Options,
} from '../support/mcp-server-2.ts';
import { pause, until } from '../support/raw-server.ts';

const closing = closeAfterEach();
const serve = async (options: TestMcpServer2Options = {}): Promise<TestMcpServer2> =>
  closing(await startMcpServer2(options));
const newPool = (options: SessionPoolOptions<Client> = {}): SessionPool<Client> =>
  closing(new SessionPool({ connector: v2Connector(), ...options }));
const echo = (text: string) => ({ name: 'echo', arguments: { text } });
const region = { name: 'region', arguments: { region: 'eu' } };

describe('a server without sessions', () => {
  test('is asked who it is once, however many leases and sessions there are', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    await pool.use(target, (client) => client.callTool(echo('first')));
    const leases = await Promise.all([1, 2, 3].map(() => pool.acquire(target)));
    for (const { client } of leases) expect(client.getProtocolEra()).toBe('modern');
    await Promise.all(leases.map(({ client }, n) => client.callTool(echo(`${n}`))));
    for (const lease of leases) lease.release();
    for (let n = 0; n < 10; n += 1) await pool.use(target, (client) => client.callTool(echo('x')));
    expect(pool.stats().totals.opened).toBe(3);
    expect(server.count('server/discover')).toBe(1);
    expect(server.seen).toHaveLength(1 + 1 + 3 + 10);
  });

  test('is asked anew once no session of the caller is open any more', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    await pool.use(target, (client) => client.listTools());
    pool.retire();
    await until(() => pool.stats().totals.closed === 1);
    await pool.use(target, (client) => client.listTools());
    expect(server.count('server/discover')).toBe(2);
    // What was kept of it is gone as well: the list is mirrored from a new one.
    expect(server.count('tools/list')).toBe(2);
  });

  test('gets requests alone: no GET, no DELETE, no session id, no initialize', async () => {
    const server = await serve();
    const pool = newPool({ onNotification: () => {}, capabilities: { elicitation: {} } });
    const target = { url: server.url, identity: 'ada', notifications: true };
    const lease = await pool.acquire(target, { onNotification: () => {} });
    const hanging = lease.client.callTool({ name: 'hang' }).catch(() => {});
    await until(() => server.count('tools/call') === 1);
    expect(lease.sessionId).toBeUndefined();
    await pool.close();
    await hanging;
    await until(() => server.openSockets === 0);
    expect([...new Set(server.seen.map(({ method }) => method))]).toEqual([
      'server/discover',
      'tools/call',
    ]);
    expect(new Set(server.seen.map(({ httpMethod }) => httpMethod))).toEqual(new Set(['POST']));
    expect(server.seen.some(({ headers }) => 'mcp-session-id' in headers)).toBe(false);
  });

  test('is asked anew by another identity, which gets nothing of what was kept', async () => {
    const server = await serve();
    const pool = newPool();
    const ada = { url: server.url, identity: 'ada' };
    const bob = { url: server.url, identity: 'bob' };
    await pool.use(ada, (client) => client.listTools());
    // What is mirrored into headers is known from the list, which bob has not asked for.
    expect(textOf(await pool.use(ada, (client) => client.callTool(region)))).toBe('eu eu');
    const lists = server.count('tools/list');
    await pool.use(bob, (client) => client.callTool(region));
    expect(server.count('tools/list')).toBe(lists + 1);
    expect(server.count('server/discover')).toBe(2);
  });

  test('that is asked for a list by one lease has its headers mirrored by the next', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    await pool.use(target, (client) => client.listTools());
    const calls = await Promise.all(
      [1, 2, 3].map(() => pool.use(target, (client) => client.callTool(region))),
    );
    expect(calls.map(textOf)).toEqual(['eu eu', 'eu eu', 'eu eu']);
    expect(server.count('tools/list')).toBe(1);
    const { headers } = server.seen.at(-1)!;
    expect(headers).toMatchObject({
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'region',
      'mcp-param-region': 'eu',
    });
  });

  test('that refuses a call for a header that is missing is listed, and called again', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    expect(textOf(await pool.use(target, (client) => client.callTool(region)))).toBe('eu eu');
    expect(['tools/list', 'tools/call'].map((name) => server.count(name))).toEqual([1, 2]);
  });

  test('tells of a JSON-RPC error with a status of its own, and the caller gets the error', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    const schema = { '~standard': ANY };
    const asked = pool.use(target, (client) => client.request({ method: 'no/such' }, schema));
    await expect(asked).rejects.toMatchObject({ name: 'ProtocolError', code: -32_601 });
    expect(pool.stats()).toMatchObject({ sessions: { idle: 1 } });
  });

  test('is looked after by asking who it is, for it knows no ping', async () => {
    const server = await serve();
    const pool = newPool({ probeAfterIdleMs: 0 });
    const target = { url: server.url, identity: 'ada' };
    for (let n = 0; n < 3; n += 1) {
      await pause(5);
      await pool.use(target, (client) => client.callTool(echo('x')));
    }
    expect(server.count('ping')).toBe(0);
    expect(server.count('server/discover')).toBe(3);
    expect(pool.stats().totals.opened).toBe(1);
  });

  test('is what `pin` demands, or no session opens', async () => {
    const [modern, old] = [await serve(), await serve({ era: 'sessions' })];
    const connector = v2Connector({ versionNegotiation: { mode: { pin: '2026-07-28' } } });
    const pool = newPool({ connector });
    const era = await pool.use({ url: modern.url, identity: 'ada' }, (client) =>
      client.getNegotiatedProtocolVersion(),
    );
    expect(era).toBe('2026-07-28');
    const refused = pool.acquire({ url: old.url, identity: 'ada' });
    await expect(refused).rejects.toMatchObject({ code: 'OPEN_FAILED' });
    expect(old.count('initialize')).toBe(0);
  });

  test('that serves both eras is taken to keep no sessions', async () => {
    const server = await serve({ era: 'both' });
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    expect(await pool.use(target, (client) => client.getProtocolEra())).toBe('modern');
    expect(server.count('initialize')).toBe(0);
  });
});

describe('a lease of one', () => {
  test('has a client that can be used in the turn it was granted in', async () => {
    const server = await serve();
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    await pool.use(target, (client) => client.listTools());
    const { client } = await pool.acquire(target);
    expect(client.getServerVersion()).toMatchObject({ name: 'test-2' });
    expect(client.getInstructions()).toBe('Be kind');
    expect(client.getNegotiatedProtocolVersion()).toBe('2026-07-28');
    expect(client.getDiscoverResult()?.supportedVersions).toContain('2026-07-28');
    const [listed, called] = await Promise.all([client.listTools(), client.callTool(region)]);
    expect(listed.tools.length).toBeGreaterThan(0);
    expect(textOf(called)).toBe('eu eu');
  });

  test('carries its own headers with every request', async () => {
    const server = await serve();
    const pool = newPool({ leasesPerSession: 10 });
    const target = { url: server.url, identity: 'ada' };
    const tokens = Array.from({ length: 10 }, (_, n) => `Bearer ${n}`);
    const said = await Promise.all(
      tokens.map(async (authorization) => {
        const lease = await pool.acquire(target, { headers: { authorization } });
        const text = textOf(await lease.client.callTool({ name: 'whoami' }));
        lease.release();
        return text;
      }),
    );
    expect(said).toEqual(tokens);
  });

  test('ends what it left in flight by ending its streams: nothing is posted', async () => {
    const server = await serve({ responseMode: 'sse' });
    const pool = newPool();
    const target = { url: server.url, identity: 'ada' };
    const lease = await pool.acquire(target);
    const calls = [1, 2, 3].map(() =>
      expect(lease.client.callTool({ name: 'hang' })).rejects.toMatchObject({
        code: 'LEASE_RELEASED',
      }),
    );
    await until(() => server.count('tools/call') === 3);
    lease.release();
    await Promise.all(calls);
    await until(() => server.aborted.length === 3);
    expect(server.count('notifications/cancelled')).toBe(0);
    const said = await pool.use(target, (client) => client.callTool(echo('next')));
    expect(textOf(said)).toBe('next');
    expect(server.count('server/discover')).toBe(1);
  });

  test('ends a call whose signal aborts, and one that times out, by ending its stream', async () => {
    const server = await serve({ responseMode: 'sse' });
    const pool = newPool();
    const lease = await pool.acquire({ url: server.url, identity: 'ada' });
    const controller = new AbortController();
    const { signal } = controller;
    const given = expect(lease.client.callTool({ name: 'hang' }, { signal })).rejects.toThrow(
      /enough/,
    );
    const late = expect(
      lease.client.callTool({ name: 'hang' }, { timeout: 1_000 }),
    ).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    await until(() => server.count('tools/call') === 2);
    controller.abort(new Error('enough'));
    await Promise.all([given, late]);
    await until(() => server.aborted.length === 2);
    expect(server.count('notifications/cancelled')).toBe(0);
    expect(lease.signal.aborted).toBe(false);
  });

  test('answers what the server asks in the answer to a call', async () => {
    const server = await serve();
    const pool = newPool({ capabilities: { elicitation: {} } });
    const target = { url: server.url, identity: 'ada' };
    const own = await pool.use(target, async (client) => {
      client.setRequestHandler('elicitation/create', async () => ({
        action: 'accept',
        content: { name: 'Ada' },
      }));
      return textOf(await client.callTool({ name: 'ask' }));
    });
    expect(own).toBe('hello Ada');
    const onRequest = vi.fn(() => ({ action: 'accept', content: { name: 'Bob' } }));
    const lease = await pool.acquire(target, { onRequest });
    expect(textOf(await lease.client.callTool({ name: 'ask' }))).toBe('hello Bob');
    expect(onRequest.mock.calls[0]).toMatchObject([
      { method: 'elicitation/create', params: { message: 'Who?' } },
      {},
    ]);
    lease.release();
    // Nobody's handler is left for the next.
    const refused = pool.use(target, (client) => client.callTool({ name: 'ask' }));
    await expect(refused).rejects.toMatchObject({ code: 'CAPABILITY_NOT_SUPPORTED' });
  });

  test.each(['onRequest', 'a handler of its own'])(
    'does not outlive its end in a call that waits for %s',
    async (whose) => {
      const server = await serve();
      const pool = newPool({ capabilities: { elicitation: {} } });
      const asked: AbortSignal[] = [];
      const never = (signal: AbortSignal): Promise<never> => {
        asked.push(signal);
        return new Promise(() => {});
      };
      const onRequest = (_: unknown, { signal }: { signal: AbortSignal }) => never(signal);
      const target = { url: server.url, identity: 'ada' };
      const lease = await pool.acquire(target, whose === 'onRequest' ? { onRequest } : {});
      if (whose !== 'onRequest') {
        const own = (_: unknown, { mcpReq }: ClientContext) => never(mcpReq.signal);
        lease.client.setRequestHandler('elicitation/create', own);
      }
      const controller = new AbortController();
      const { signal } = controller;
      const given = expect(lease.client.callTool({ name: 'ask' }, { signal })).rejects.toThrow(
        /enough/,
      );
      const kept = expect(lease.client.callTool({ name: 'ask' })).rejects.toMatchObject({
        code: 'LEASE_RELEASED',
      });
      await until(() => asked.length === 2);
      controller.abort(new Error('enough'));
      await given;
      expect(asked.map(({ aborted }) => aborted).toSorted()).toEqual([false, true]);
      lease.release();
      await kept;
      expect(asked.map(({ aborted }) => aborted)).toEqual([true, true]);
      const late = lease.client.callTool({ name: 'ask' });
      await expect(late).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
      expect(server.count('tools/call')).toBe(2);
    },
  );

  test('hears of the progress of its calls', async () => {
    const server = await serve();
    const pool = newPool({ leasesPerSession: 2 });
    const target = { url: server.url, identity: 'ada' };
    const heard = await Promise.all(
      [1, 2].map(() =>
        pool.use(target, async (client) => {
          const steps: number[] = [];
          const onprogress = ({ progress }: { progress: number }) => void steps.push(progress);
          await client.callTool({ name: 'progress' }, { onprogress });
          return steps;
        }),
      ),
    );
    expect(heard).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });

  test('hears what it listens to, alone, until it ends', async () => {
    const server = await serve();
    const pool = newPool({ leasesPerSession: 2 });
    const target = { url: server.url, identity: 'ada' };
    const [first, second] = [await pool.acquire(target), await pool.acquire(target)];
    const [heard, overheard] = [vi.fn(), vi.fn()];
    first.client.setNotificationHandler('notifications/tools/list_changed', heard);
    second.client.setNotificationHandler('notifications/tools/list_changed', overheard);
    const { honoredFilter, closed } = await first.client.listen({ toolsListChanged: true });
    expect(honoredFilter).toEqual({ toolsListChanged: true });
    server.notify?.toolsChanged();
    await until(() => heard.mock.calls.length === 1);
    first.release();
    expect(await closed).toBe('remote');
    server.notify?.toolsChanged();
    await pause(50);
    expect(heard).toHaveBeenCalledTimes(1);
    expect(overheard).not.toHaveBeenCalled();
    await until(() => server.openSockets <= 1);
  });

  test('that has ended has a client that sends nothing, nor says what was kept', async () => {
    const server = await serve();
    const pool = newPool();
    const client = await pool.use({ url: server.url, identity: 'ada' }, async (lent) => {
      await lent.listTools();
      return lent;
    });
    const before = server.seen.length;
    const attempts = [
      client.callTool(echo('late')),
      client.listTools(),
      client.listPrompts(),
      client.listResourceTemplates(),
      client.discover(),
      client.listen({ toolsListChanged: true }),
      client.request({ method: 'tools/list' }),
    ];
    for (const attempt of attempts) {
      await expect(attempt).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    }
    await expect(client.connect(undefined as never)).rejects.toThrow(/connected already/);
    expect(server.seen).toHaveLength(before);
  });
});

const ANY = { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } as const;
