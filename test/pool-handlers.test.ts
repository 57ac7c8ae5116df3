// The pool's own handlers, as connectors are given them: whatever a handler does, the session gets
// an answer that can be sent, and the pool goes on as before (Invariant I10).

import type { JSONRPCRequest } from '@modelcontextprotocol/sdk/types.js';
import type { FakeClient, FakeSession } from 'mcp-session-pool/testing';
import { expect, test, vi } from 'vitest';
import type { ConnectContext, Connector } from '../src/connect/connector.ts';
import type { SessionPoolOptions } from '../src/options.ts';
import { makePool, type PoolFixture, TARGET, targetOf } from './support/pool-fixture.ts';

type Handler = NonNullable<SessionPoolOptions['onRequest']>;

const REQUEST: JSONRPCRequest = { jsonrpc: '2.0', id: 1, method: 'sampling/createMessage' };
const LOG = { jsonrpc: '2.0', method: 'notifications/message', params: { data: 'x' } } as const;
const INTERNAL = { error: { code: -32_603, message: 'Internal error' } };
const { signal } = new AbortController();

async function open(
  options: Parameters<typeof makePool>[0],
  target = TARGET,
): Promise<PoolFixture & { session: FakeSession }> {
  const fixture = makePool(options);
  const lease = await fixture.lease(target);
  const { session } = lease.client;
  lease.release();
  return { ...fixture, session };
}

const failing = (error: unknown): Handler => {
  return () => {
    throw error;
  };
};
const withCode = (code: unknown, more: object = {}): Error =>
  Object.assign(new Error('told'), { code, ...more });
const circular: Record<string, unknown> = {};
circular['self'] = circular;
const hostile = new Proxy(new Error('never read'), {
  get: () => {
    throw new Error('a getter that throws');
  },
});

test('a pool without handlers gives connectors none: what nobody handles is refused there', async () => {
  const { session } = await open({});
  expect(session.context).not.toHaveProperty('onRequest');
  expect(session.context).not.toHaveProperty('onNotification');
});

test('a handler is told which session asks, without a secret, and when nobody waits', async () => {
  const onRequest = vi.fn<Handler>(() => ({ model: 'm' }));
  const onNotification = vi.fn();
  const headers = { authorization: 'Bearer secret' };
  const target = targetOf('one', { identity: 'ada', affinity: 'downstream-1', headers });
  const { session, pool } = await open({ onRequest, onNotification }, target);
  const answer = await session.context.onRequest?.(REQUEST, { signal });
  expect(answer).toEqual({ result: { model: 'm' } });
  session.context.onNotification?.(LOG);
  await vi.waitFor(() => expect(onNotification).toHaveBeenCalledOnce());
  const key = pool.stats({ perKey: true }).perKey?.[0]?.key;
  const source = {
    key,
    server: 'https://one.example',
    identity: 'ada',
    affinity: 'downstream-1',
  };
  expect(onRequest).toHaveBeenCalledExactlyOnceWith(REQUEST, { ...source, signal });
  expect(onNotification).toHaveBeenCalledExactlyOnceWith(LOG, source);
  expect(JSON.stringify([onRequest.mock.calls, onNotification.mock.calls])).not.toMatch('secret');
});

test('a connector that a target brings is given them as well', async () => {
  const { pool, connector, clock } = makePool({ onRequest: () => ({ roots: [] }) });
  const contexts: ConnectContext[] = [];
  const connect: Connector<FakeClient> = (target, context) => {
    contexts.push(context);
    return connector.connect(target, context);
  };
  const pending = pool.acquire({ server: 'own', identity: 'ada', connect: connect as never });
  await clock.settle();
  (await pending).release();
  const answer = await contexts[0]?.onRequest?.(REQUEST, { signal });
  expect(answer).toEqual({ result: { roots: [] } });
});

test.each<{ name: string; handler: unknown; error: object; troubles: number }>([
  {
    name: 'an error with a code of its own',
    handler: failing(withCode(-1, { data: { why: 'no' } })),
    error: { code: -1, message: 'told', data: { why: 'no' } },
    troubles: 0,
  },
  {
    name: 'one above HTTP statuses',
    handler: failing(withCode(1_001)),
    error: { code: 1_001, message: 'told' },
    troubles: 0,
  },
  {
    name: 'a rejection with a code',
    handler: () => Promise.reject(withCode(-32_000)),
    error: { code: -32_000, message: 'told' },
    troubles: 0,
  },
  ...[
    { name: 'an error without a code', handler: failing(new Error('Bearer secret')) },
    { name: 'a rejection without a code', handler: () => Promise.reject(new Error('secret')) },
    { name: 'an HTTP status for a code', handler: failing(withCode(401)) },
    { name: 'a DOM error', handler: failing(new DOMException('secret', 'AbortError')) },
    { name: 'a code that is text', handler: failing(withCode('ENOENT')) },
    { name: 'data that is circular', handler: failing(withCode(-1, { data: circular })) },
    { name: 'an error that can not be read', handler: failing(hostile) },
    { name: 'undefined', handler: failing(undefined) },
    { name: 'a result that is none', handler: () => undefined },
    { name: 'a result that is a list', handler: () => [] },
    { name: 'a result that is circular', handler: () => circular },
    { name: 'a result that holds a bigint', handler: () => ({ n: 1n }) },
  ].map((each) => ({ ...each, error: INTERNAL.error, troubles: 1 })),
])('$name becomes the answer that can be sent', async ({ handler, error, troubles }) => {
  const { session, pool } = await open({ onRequest: handler as Handler });
  const answer = await session.context.onRequest?.(REQUEST, { signal });
  expect(answer).toEqual({ error });
  expect(JSON.stringify(answer)).not.toMatch(/secret|stack|at /);
  expect(pool.stats().totals.troubles).toBe(troubles);
});

test('a handler that gives up because nobody waits any more is no trouble', async () => {
  const onRequest: Handler = (_request, context) =>
    new Promise((_resolve, reject) => {
      context.signal.addEventListener('abort', () => reject(context.signal.reason));
    });
  const { session, pool, clock } = await open({ onRequest });
  const controller = new AbortController();
  const answer = session.context.onRequest?.(REQUEST, { signal: controller.signal });
  await clock.settle();
  controller.abort(new Error('taken back'));
  expect(await answer).toEqual(INTERNAL);
  expect(pool.stats().totals.troubles).toBe(0);
});

test('a handler is not asked what the server has taken back in the same turn', async () => {
  const onRequest = vi.fn<Handler>(() => ({}));
  const { session } = await open({ onRequest });
  const controller = new AbortController();
  const answer = session.context.onRequest?.(REQUEST, { signal: controller.signal });
  controller.abort(new Error('taken back'));
  expect(await answer).toEqual(INTERNAL);
  expect(onRequest).not.toHaveBeenCalled();
});

test.each<{ name: string; handler: () => void }>([
  { name: 'throws', handler: failing(new Error('thrown')) as unknown as () => void },
  { name: 'rejects', handler: () => Promise.reject(new Error('rejected')) as unknown as undefined },
])('an onNotification that $name is counted, and nothing else', async ({ handler }) => {
  const { session, pool, clock } = await open({ onNotification: handler });
  expect(() => session.context.onNotification?.(LOG)).not.toThrow();
  await clock.settle();
  expect(pool.stats()).toMatchObject({ sessions: { idle: 1 }, totals: { troubles: 1 } });
});

test('handlers run after the turn that calls them', async () => {
  const order: string[] = [];
  const { session, clock } = await open({
    onRequest: () => {
      order.push('asked');
      return {};
    },
    onNotification: () => void order.push('told'),
  });
  void session.context.onRequest?.(REQUEST, { signal });
  session.context.onNotification?.(LOG);
  order.push('turn over');
  await clock.settle();
  expect(order).toEqual(['turn over', 'asked', 'told']);
});

test('a handler may end leases, acquire and close the pool: the books stay right', async () => {
  const { clock, pool, lease, connector } = makePool({
    leasesPerSession: 2,
    onRequest: async () => {
      first.release();
      const own = await pool.acquire(TARGET);
      own.release();
      void pool.close();
      return { closed: true };
    },
  });
  const first = await lease();
  const second = await lease();
  const { session } = second.client;
  const answer = session.context.onRequest?.(REQUEST, { signal });
  await clock.settle();
  expect(await answer).toEqual({ result: { closed: true } });
  expect(await pool.close()).toMatchObject({ sessions: 1, closed: 1, abandoned: 0 });
  expect(pool.stats()).toMatchObject({
    sessions: { leased: 0, idle: 0, closing: 0 },
    totals: { acquired: 3, released: 2, troubles: 0 },
  });
  expect(connector.sessions).toHaveLength(1);
});

test('a handler that never settles delays no close', async () => {
  const { session, clock, pool } = await open({ onRequest: () => new Promise(() => {}) });
  void session.context.onRequest?.(REQUEST, { signal });
  const closing = pool.close();
  await clock.settle();
  expect(await closing).toMatchObject({ sessions: 1, closed: 1 });
});
