// Custom targets over the SDK's in-memory transport: a server of its own in this process for each
// session, through a real pool.

import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js';
import { ElicitRequestSchema, ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import {
  createTransportConnector,
  type Lease,
  type PoolEvent,
  SessionPool,
  type SessionPoolOptions,
} from 'mcp-session-pool';
import { expect, test } from 'vitest';
import { addAskingTools } from '../support/asking-tools.ts';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { inMemoryServers } from '../support/in-memory-server.ts';
import { createTools } from '../support/mcp-server.ts';
import { until } from '../support/raw-server.ts';
import { settle } from '../support/scripted-transport.ts';

const closing = closeAfterEach();

const call = async (lease: Pick<Lease, 'client'>, name: string, args = {}): Promise<string> =>
  textOf(await lease.client.callTool({ name, arguments: args }));

function scene(options: SessionPoolOptions = {}, addTools?: typeof addAskingTools) {
  const servers = inMemoryServers(addTools);
  const events: PoolEvent[] = [];
  const onEvent = (event: PoolEvent): void => void events.push(event);
  const pool = closing(new SessionPool({ closeTimeoutMs: 1_000, onEvent, ...options }));
  return { servers, target: servers.target, pool, events };
}

test('a custom target is three lines: its session is opened, lent, reused and closed', async () => {
  const { servers, target, pool } = scene();
  const counts = [];
  for (let n = 0; n < 3; n += 1)
    counts.push(await pool.use(target, (c) => call({ client: c }, 'count')));
  expect(counts).toEqual(['1', '2', '3']);
  expect(servers.servers).toHaveLength(1);
  expect(await pool.close()).toMatchObject({
    sessions: 1,
    closed: 1,
    abandoned: 0,
    unterminated: 0,
  });
  expect(servers.open).toBe(0);
});

test('the connector serves as the pool’s own as well, for targets of every kind', async () => {
  const servers = inMemoryServers();
  const pool = closing(new SessionPool({ connector: servers.connect, closeTimeoutMs: 1_000 }));
  const text = await pool.use({ url: 'https://nowhere.example/mcp', identity: 'ada' }, (client) =>
    call({ client }, 'echo', { text: 'here' }),
  );
  expect(text).toBe('here');
});

test('each identity gets a server of its own, and so does each session of one', async () => {
  const { servers, target, pool } = scene();
  const leases = await Promise.all([
    pool.acquire(target),
    pool.acquire(target),
    pool.acquire({ ...target, identity: 'bob' }),
  ]);
  expect(await Promise.all(leases.map((lease) => call(lease, 'count')))).toEqual(['1', '1', '1']);
  expect(servers.open).toBe(3);
});

test('a request of the server reaches the one lease of its session', async () => {
  const capabilities = { elicitation: {}, sampling: {}, roots: {} };
  const { target, pool } = scene({ capabilities }, addAskingTools);
  const one = async (name: string): Promise<unknown> => {
    await using lease = await pool.acquire(target, {
      onRequest: ({ method }) =>
        method === 'sampling/createMessage'
          ? { model: 'm', role: 'assistant', content: { type: 'text', text: name } }
          : {},
    });
    const { client } = lease;
    client.setRequestHandler(ElicitRequestSchema, () => ({
      action: 'accept' as const,
      content: { text: name },
    }));
    client.setRequestHandler(ListRootsRequestSchema, () => ({
      roots: [{ uri: `file:///${name}` }],
    }));
    return JSON.parse(await call(lease, 'ask', { token: name }));
  };
  const names = ['ada', 'bob', 'eve'];
  const answers = await Promise.all(names.map((name) => one(name)));
  expect(answers).toEqual(
    names.map((name) => ({ elicited: name, sampled: name, root: `file:///${name}` })),
  );
});

test('a request of the server on a shared session goes to the pool: its origin is unknown', async () => {
  const asked: (string | undefined)[] = [];
  const { target, pool } = scene({
    capabilities: { elicitation: {} },
    leasesPerSession: 2,
    onRequest: ({ method }, source) => {
      asked.push(method, source.identity);
      return { action: 'accept', content: { name: 'the pool' } };
    },
  });
  const [one, other] = await Promise.all([pool.acquire(target), pool.acquire(target)]);
  one.client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'decline' as const }));
  expect(await call(one, 'elicit', { name: 'who' })).toBe('the pool');
  expect(asked).toEqual(['elicitation/create', 'ada']);
  expect(other.sessionId).toBe(one.sessionId);
});

test('a server that closes in mid-call is a lost session: the call says so, the next lease is fresh', async () => {
  const { servers, target, pool, events } = scene();
  const lease = await pool.acquire(target);
  const hung = lease.client.callTool({ name: 'hang' });
  await settle();
  await servers.servers[0]?.close();
  await expect(hung).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
  expect(lease.signal.aborted).toBe(true);
  const next = await pool.acquire(target);
  expect(next.reused).toBe(false);
  expect(await call(next, 'count')).toBe('1');
  await until(() => events.some((each) => each.type === 'session-closed'));
  expect(events).toContainEqual(
    expect.objectContaining({ type: 'session-retired', reason: 'lost' }),
  );
});

test('a server that closes while nobody leases is noticed before the next lease', async () => {
  const { servers, target, pool } = scene();
  (await pool.acquire(target)).release();
  await servers.servers[0]?.close();
  await until(() => pool.stats().sessions.idle === 0);
  expect((await pool.acquire(target)).reused).toBe(false);
  expect(servers.servers).toHaveLength(2);
});

test('calls in flight are cancelled on the server when their lease ends, and at the close', async () => {
  const { servers, target, pool } = scene();
  const lease = await pool.acquire(target);
  const released = lease.client.callTool({ name: 'hang' });
  await settle();
  lease.release();
  await expect(released).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
  await until(() => servers.aborted.length === 1);
  const taken = await pool.acquire(target);
  const hung = taken.client.callTool({ name: 'hang' });
  await settle();
  const closed = pool.close();
  await expect(hung).rejects.toMatchObject({ code: 'SESSION_LOST' });
  expect(await closed).toMatchObject({ sessions: 1, closed: 1 });
  expect(servers.aborted).toHaveLength(2);
});

test('a factory that fails, or gives no transport, is a failed open with that cause', async () => {
  const { target, pool } = scene({ breaker: false });
  let count = 0;
  const open = (make: () => never): Promise<Lease> => {
    // Each in a key of its own: there is no back-off then.
    count += 1;
    const connect = createTransportConnector(make);
    return pool.acquire({ ...target, identity: `caller ${count}`, connect });
  };
  const failure = new Error('no server today');
  const fail = (): never => {
    throw failure;
  };
  await expect(open(fail)).rejects.toMatchObject({ code: 'OPEN_FAILED', cause: failure });
  for (const made of [undefined, null, 7, {}, { start: () => {} }, { transport: {} }]) {
    const message = expect.stringMatching(/^Expected the transport to have a method/);
    await expect(open(() => made as never)).rejects.toMatchObject({ cause: { message } });
  }
  expect(() => createTransportConnector('transport' as never)).toThrow(TypeError);
  const mistyped = { dispacher: undefined } as never;
  expect(() => createTransportConnector(() => undefined as never, mistyped)).toThrow(/dispacher/);
});

test('a transport that served a session already is refused, open or closed', async () => {
  const { servers, target, pool } = scene({ breaker: false, maxSessionsPerKey: 2 });
  const [transport, serverTransport] = InMemoryTransport.createLinkedPair();
  await createTools([]).connect(serverTransport);
  const connect = createTransportConnector(() => transport);
  const first = await pool.acquire({ ...target, connect });
  const cause = {
    message: expect.stringMatching(/^Expected a transport of its own for each session/),
  };
  await expect(pool.acquire({ ...target, connect })).rejects.toMatchObject({ cause });
  // Refused, it was left alone.
  expect(await call(first, 'count')).toBe('1');
  first.discard();
  await until(() => pool.stats().sessions.closing === 0);
  await expect(pool.acquire({ ...target, connect })).rejects.toMatchObject({ cause });
  expect(servers.servers).toHaveLength(0);
});

test('nothing of a session is rooted once it was closed, whatever its callers keep', async () => {
  const { servers, target, pool } = scene({ maxSessionsPerKey: 30 });
  const refs: WeakRef<object>[] = [];
  const kept: unknown[] = [];
  const open = async (): Promise<void> => {
    const lease = await pool.acquire(target);
    kept.push(lease.client, await lease.client.listTools());
    refs.push(new WeakRef(servers.servers.pop() as object));
    lease.discard();
  };
  for (let n = 0; n < 20; n += 1) await open();
  await until(() => pool.stats().sessions.closing === 0);
  await until(() => {
    (globalThis as { gc?: () => void }).gc?.();
    return refs.filter((ref) => ref.deref() !== undefined).length <= 2;
  });
  expect(kept).toHaveLength(40);
});
