// What a lease leaves behind on a real server, judged by what the next lease sees (promise P4):
// nothing, where sessions are exclusive; all of it, where they are shared or affine on purpose.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import {
  CreateTaskResultSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { type Lease, SessionPool, type SessionPoolOptions } from 'mcp-session-pool';
import { describe, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { pause, until } from '../support/raw-server.ts';
import { type KeptState, startStatefulServer } from '../support/stateful-server.ts';

const closing = closeAfterEach();

async function scene(options: SessionPoolOptions = {}) {
  const server = closing(await startStatefulServer());
  const capabilities = { roots: { listChanged: true } };
  const pool = closing(new SessionPool({ capabilities, ...options }));
  return { server, pool, target: { url: server.url, identity: 'ada' } };
}

const stateOf = async (client: Client): Promise<KeptState> =>
  JSON.parse(textOf(await client.callTool({ name: 'state' })));

const FRESH: KeptState = { level: 'error', subscriptions: [], roots: [] };

const startTask = (client: Client) =>
  client.request(
    { method: 'tools/call', params: { name: 'task', arguments: {}, task: { ttl: 60_000 } } },
    CreateTaskResultSchema,
  );

/** Starts to listen, and answers for its roots. */
const listening = (onNotification: (message: unknown) => void = () => {}) => ({
  onNotification,
  onRequest: () => ({ roots: [{ uri: 'file:///ada' }] }),
});

interface Act {
  readonly name: string;
  readonly act: (client: Client) => Promise<unknown>;
  /** What the session has kept after it. */
  readonly kept?: Partial<KeptState>;
}

const TAINTING: readonly Act[] = [
  {
    name: 'logging/setLevel',
    act: (client) => client.setLoggingLevel('debug'),
    kept: { level: 'debug' },
  },
  {
    name: 'resources/subscribe',
    act: (client) => client.subscribeResource({ uri: 'note://1' }),
    kept: { subscriptions: ['note://1'] },
  },
  {
    name: 'resources/unsubscribe',
    // Also when it ends nothing: what the server makes of it is not known.
    act: (client) => client.unsubscribeResource({ uri: 'note://1' }),
    kept: {},
  },
  {
    name: 'notifications/roots/list_changed',
    act: async (client) => {
      await client.sendRootsListChanged();
      await vi.waitFor(async () => expect((await stateOf(client)).roots).toHaveLength(1));
    },
    kept: { roots: ['file:///ada'] },
  },
  { name: 'a call that became a task', act: startTask, kept: {} },
];

const HARMLESS: readonly Act[] = [
  { name: 'tools/list', act: (client) => client.listTools() },
  { name: 'tools/call', act: (client) => client.callTool({ name: 'state' }) },
  { name: 'resources/read', act: (client) => client.readResource({ uri: 'note://1' }) },
  { name: 'tasks/list', act: (client) => client.experimental.tasks.listTasks() },
  { name: 'ping', act: (client) => client.ping() },
  {
    name: 'completion/complete, refused',
    act: (client) =>
      client
        .complete({ ref: { type: 'ref/prompt', name: 'x' }, argument: { name: 'a', value: 'b' } })
        .catch(() => {}),
  },
  {
    name: 'handlers of its own',
    act: async (client) => {
      client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [] }));
      client.setNotificationHandler(LoggingMessageNotificationSchema, () => {});
    },
  },
];

describe('an exclusive session', () => {
  test.each(TAINTING)('goes after $name, and the next lease sees nothing of it', async (each) => {
    const { server, pool, target } = await scene();
    const first = await pool.acquire(target, listening());
    const tainted = first.sessionId!;
    await until(() => server.count('GET') === 1);
    await each.act(first.client);
    expect(await stateOf(first.client)).toEqual({ ...FRESH, ...each.kept });
    first.release();
    const next = await pool.acquire(target);
    expect([next.reused, next.sessionId === tainted]).toEqual([false, false]);
    expect(await stateOf(next.client)).toEqual(FRESH);
    expect((await next.client.experimental.tasks.listTasks()).tasks).toEqual([]);
    await until(() => !server.sessions.has(tainted));
    expect(server.count('DELETE')).toBe(1);
  });

  test.each(HARMLESS)('stays after $name', async ({ act }) => {
    const { server, pool, target } = await scene();
    const id = await pool.use(target, async (client, { sessionId }) => {
      await act(client);
      return sessionId;
    });
    const next = await pool.acquire(target);
    expect([next.reused, next.sessionId]).toEqual([true, id]);
    expect(await stateOf(next.client)).toEqual(FRESH);
    expect(server.count('initialize')).toBe(1);
  });

  test('that the next lease gets logs at its own level', async () => {
    const { pool, target } = await scene();
    const logged = async (client: Client): Promise<unknown[]> => {
      const levels: unknown[] = [];
      client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => {
        levels.push(params.level);
      });
      await client.callTool({ name: 'log' });
      return levels;
    };
    const verbose = await pool.use(target, async (client) => {
      await client.setLoggingLevel('debug');
      return logged(client);
    });
    expect(verbose).toEqual(['debug', 'info', 'error']);
    expect(await pool.use(target, logged)).toEqual(['error']);
  });

  test('that the next lease gets brings no updates that it did not ask for', async () => {
    const { server, pool, target } = await scene();
    const [first, next] = [vi.fn(), vi.fn()];
    const lease = await pool.acquire(target, listening(first));
    await until(() => server.count('GET') === 1);
    await lease.client.subscribeResource({ uri: 'note://1' });
    expect(await server.touch('note://1')).toBe(1);
    await until(() => first.mock.calls.length === 1);
    lease.release();
    const other = await pool.acquire(target, listening(next));
    await until(() => server.count('GET') === 2 && server.sessions.size === 1);
    expect(await server.touch('note://1')).toBe(0);
    await other.client.ping();
    await pause(20);
    expect([first.mock.calls.length, next.mock.calls.length]).toEqual([1, 0]);
  });

  test('stays after calls left in flight: they are cancelled on the server', async () => {
    const { server, pool, target } = await scene();
    const lease = await pool.acquire(target);
    const id = lease.sessionId;
    const calls = [1, 2, 3].map(() => lease.client.callTool({ name: 'hang' }));
    for (const call of calls) call.catch(() => {});
    await until(() => server.count('tools/call') === 3);
    lease.release();
    for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    const heard = vi.fn();
    const next = await pool.acquire(target, listening(heard));
    expect(next.sessionId).toBe(id);
    await until(() => server.aborted.length === 3);
    expect(server.count('notifications/cancelled')).toBe(3);
    expect(await stateOf(next.client)).toEqual(FRESH);
    expect(heard).not.toHaveBeenCalled();
  });

  test('goes after a lease that was held for longer than maxLeaseMs', async () => {
    const { server, pool, target } = await scene({ maxLeaseMs: 150 });
    const lease = await pool.acquire(target);
    const overdue = lease.sessionId!;
    const call = lease.client.callTool({ name: 'hang' });
    await expect(call).rejects.toMatchObject({ code: 'LEASE_RELEASED', reason: 'lease-overdue' });
    expect(lease.signal.reason).toMatchObject({ reason: 'lease-overdue' });
    await until(() => server.aborted.length === 1 && !server.sessions.has(overdue));
    expect((await pool.acquire(target)).reused).toBe(false);
  });
});

describe('a session that is shared', () => {
  test('keeps what its leases set, for all of them: state of a session is not of a lease', async () => {
    const { server, pool, target } = await scene({ leasesPerSession: 2 });
    const [first, second] = [vi.fn(), vi.fn()];
    const [one, two] = [
      await pool.acquire(target, listening(first)),
      await pool.acquire(target, listening(second)),
    ];
    await until(() => server.count('GET') === 1);
    await one.client.setLoggingLevel('debug');
    await one.client.subscribeResource({ uri: 'note://1' });
    await server.touch('note://1');
    await until(() => first.mock.calls.length === 1 && second.mock.calls.length === 1);
    one.release();
    const kept = { level: 'debug', subscriptions: ['note://1'], roots: [] };
    expect(await stateOf(two.client)).toEqual(kept);
    two.release();
    await pool.use(target, async (client, { reused }) => {
      expect(reused).toBe(true);
      expect(await stateOf(client)).toEqual(kept);
    });
    expect(server.count('DELETE')).toBe(0);
  });
});

describe('a session with affinity', () => {
  test('keeps what its leases set: that is what it is for', async () => {
    const { server, pool, target } = await scene();
    const own = { ...target, affinity: 'downstream' };
    // Its roots are asked for outside of a call: a session with affinity knows no lease to ask.
    const acts = TAINTING.filter(({ kept }) => kept?.roots === undefined);
    for (const { act } of acts) await pool.use(own, act, listening());
    const heard = vi.fn();
    const lease = await pool.acquire(own, listening(heard));
    expect(await stateOf(lease.client)).toEqual({ ...FRESH, level: 'debug' });
    await until(() => server.count('GET') === 1);
    expect((await lease.client.experimental.tasks.listTasks()).tasks).toHaveLength(1);
    await lease.client.subscribeResource({ uri: 'note://1' });
    lease.release();
    const next = await pool.acquire(own, listening(heard));
    await server.touch('note://1');
    await until(() => heard.mock.calls.length === 1);
    expect([next.reused, server.count('initialize')]).toEqual([true, 1]);
  });
});

describe('lease.client.close()', () => {
  test('ends the lease as release does: calls are cancelled, the session stays', async () => {
    const { server, pool, target } = await scene();
    const lease: Lease = await pool.acquire(target);
    const id = lease.sessionId;
    const call = lease.client.callTool({ name: 'hang' });
    call.catch(() => {});
    await until(() => server.count('tools/call') === 1);
    await lease.client.close();
    await expect(call).rejects.toMatchObject({ code: 'LEASE_RELEASED', reason: 'released' });
    await expect(lease.client.ping()).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    await until(() => server.aborted.length === 1);
    lease.release();
    await lease.client.close();
    expect(pool.stats()).toMatchObject({ sessions: { idle: 1 }, totals: { released: 1 } });
    expect((await pool.acquire(target)).sessionId).toBe(id);
  });

  test('retires a session that the lease has tainted', async () => {
    const { pool, target } = await scene();
    const lease = await pool.acquire(target);
    await lease.client.setLoggingLevel('debug');
    await lease.client.close();
    expect(await stateOf((await pool.acquire(target)).client)).toEqual(FRESH);
  });
});
