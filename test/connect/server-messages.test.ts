// How the link hands on what the server sends on its own: to whom, and within which bounds.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import {
  CreateMessageRequestSchema,
  type JSONRPCMessage,
  type JSONRPCRequest,
  LoggingMessageNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { lendOver } from '../support/link-leases.ts';
import { openLink, settle } from '../support/scripted-transport.ts';

const call = (client: Client): Promise<unknown> => client.callTool({ name: 'echo' });
const sampling = (id: number | string): JSONRPCRequest => ({
  jsonrpc: '2.0',
  id,
  method: 'sampling/createMessage',
  params: { messages: [], maxTokens: 1 },
});

describe('requests of the server', () => {
  it('go to the lease whose call they came with, 50 of them interleaved', async () => {
    let origin: number | undefined;
    const { upstream, link } = await openLink({ exclusive: false, originOf: () => origin });
    const heard: string[][] = [[], []];
    const leases = heard.map((log) =>
      lendOver(link, {
        onRequest: (request) => {
          log.push(String(request.id));
          return { model: 'm', role: 'assistant', content: { type: 'text', text: 'x' } };
        },
      }),
    );
    for (const { client } of leases) void call(client).catch(() => {});
    await settle();
    const ids = upstream.requests('tools/call').map(({ id }) => Number(id));
    for (let n = 0; n < 50; n += 1) {
      origin = ids[n % 2];
      upstream.say(sampling(`s${n}`));
    }
    origin = undefined;
    await settle();
    expect(heard[0]).toEqual(Array.from({ length: 25 }, (_, n) => `s${2 * n}`));
    expect(heard[1]).toEqual(Array.from({ length: 25 }, (_, n) => `s${2 * n + 1}`));
    expect(upstream.sent.filter((each) => 'result' in each)).toHaveLength(50);
    for (const { release } of leases) release();
    await settle();
  });

  it('of a call that is over reach no later lease, not even of an exclusive session', async () => {
    let origin: number | undefined;
    const { upstream, link } = await openLink({ originOf: () => origin });
    const first = lendOver(link);
    void call(first.client).catch(() => {});
    await settle();
    origin = Number(upstream.requests('tools/call')[0]?.id);
    first.release();
    const onRequest = vi.fn(() => ({ roots: [] }));
    const onNotification = vi.fn();
    lendOver(link, { onRequest, onNotification });
    upstream.say(sampling(1));
    upstream.say({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info' } });
    await settle();
    expect(onRequest).not.toHaveBeenCalled();
    expect(onNotification).not.toHaveBeenCalled();
    expect(upstream.sent.at(-1)).toMatchObject({ id: 1, error: { code: -32_000 } });
  });

  it('go to the one lease of an exclusive session', async () => {
    const { upstream, link } = await openLink();
    const onRequest = vi.fn(() => ({ roots: [] }));
    lendOver(link, { onRequest });
    upstream.say(sampling(1));
    await settle();
    expect(onRequest).toHaveBeenCalledOnce();
    expect(upstream.sent.at(-1)).toMatchObject({ id: 1, result: { roots: [] } });
  });

  it.each([
    { name: 'with two leases on a shared session', exclusive: false, leases: 2 },
    { name: 'with one lease on a shared session', exclusive: false, leases: 1 },
    { name: 'with nobody leasing', exclusive: true, leases: 0 },
  ])(
    'are answered "method not found" when nobody can be meant: $name',
    async ({ exclusive, leases }) => {
      const { upstream, link } = await openLink({ exclusive });
      const onRequest = vi.fn(() => ({}));
      for (let n = 0; n < leases; n += 1) lendOver(link, { onRequest });
      upstream.say(sampling(9));
      await settle();
      expect(onRequest).not.toHaveBeenCalled();
      expect(upstream.sent.at(-1)).toMatchObject({ id: 9, error: { code: -32_601 } });
    },
  );

  it('go to no lease alone once two had the session at once, whatever it was opened for', async () => {
    const { upstream, link } = await openLink({ exclusive: true });
    const onRequest = vi.fn(() => ({}));
    lendOver(link, { onRequest });
    lendOver(link).release();
    upstream.say(sampling(9));
    await settle();
    expect(onRequest).not.toHaveBeenCalled();
    expect(upstream.sent.at(-1)).toMatchObject({ id: 9, error: { code: -32_601 } });
  });

  it('are answered by the session if they are pings, leased or not', async () => {
    const { upstream, link } = await openLink();
    upstream.say({ jsonrpc: '2.0', id: 1, method: 'ping' });
    lendOver(link, { onRequest: () => Promise.reject(new Error('not for me')) });
    upstream.say({ jsonrpc: '2.0', id: 2, method: 'ping' });
    await settle();
    expect(upstream.sent.slice(-2)).toMatchObject([
      { id: 1, result: {} },
      { id: 2, result: {} },
    ]);
  });

  it('are answered for a lease that ends before it answered', async () => {
    const { upstream, link } = await openLink();
    let aborted = false;
    const lease = lendOver(link);
    lease.client.setRequestHandler(CreateMessageRequestSchema, (_, { signal }) => {
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborted = true;
          reject(new Error('aborted'));
        });
      });
    });
    upstream.say(sampling(5));
    await settle();
    lease.release();
    await settle();
    expect(aborted).toBe(true);
    const answers = upstream.sent.filter((each) => !('method' in each));
    expect(answers).toMatchObject([{ id: 5, error: { code: -32_000 } }]);
  });

  it('that the server takes back abort the handler of the lease that has them, alone', async () => {
    const { upstream, link } = await openLink();
    const aborts: number[] = [];
    const lease = lendOver(link);
    lease.client.setRequestHandler(CreateMessageRequestSchema, (_, { signal, requestId }) => {
      return new Promise(() => {
        signal.addEventListener('abort', () => aborts.push(Number(requestId)));
      });
    });
    upstream.say(sampling(5));
    upstream.say(sampling(6));
    await settle();
    const params = { requestId: 6 };
    upstream.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
    await settle();
    expect(aborts).toEqual([6]);
    lease.release();
    await settle();
  });

  it('can not be answered by a lease that was not asked', async () => {
    let origin: number | undefined;
    const { upstream, link } = await openLink({ exclusive: false, originOf: () => origin });
    const onRequest = vi.fn(() => ({}));
    const lease = lendOver(link, { onRequest });
    const before = upstream.sent.length;
    await lease.transport.send({ jsonrpc: '2.0', id: 77, result: {} });
    expect(upstream.sent).toHaveLength(before);
    // Nor by one that knows the id of what another was asked.
    const other = lendOver(link, { onRequest: () => new Promise(() => {}) });
    void call(other.client).catch(() => {});
    await settle();
    origin = Number(upstream.requests('tools/call')[0]?.id);
    upstream.say(sampling(77));
    await settle();
    await lease.transport.send({ jsonrpc: '2.0', id: 77, result: {} });
    expect(upstream.sent.filter((each) => 'result' in each)).toEqual([]);
    other.release();
    await settle();
    expect(upstream.sent.filter((each) => 'error' in each)).toMatchObject([
      { id: 77, error: { code: -32_000 } },
    ]);
    expect(onRequest).not.toHaveBeenCalled();
  });

  it('are refused beyond 1,000 that wait for an answer', async () => {
    const { upstream, link } = await openLink();
    lendOver(link, { onRequest: () => new Promise(() => {}) });
    for (let id = 1; id <= 1_001; id += 1) upstream.say(sampling(id));
    await settle();
    expect(upstream.sent.filter((each) => 'error' in each)).toMatchObject([
      { id: 1_001, error: { code: -32_603 } },
    ]);
    link.sever(new Error('over'));
  });
});

describe('notifications of the server', () => {
  const changed: JSONRPCMessage = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' };
  const log: JSONRPCMessage = {
    jsonrpc: '2.0',
    method: 'notifications/message',
    params: { level: 'info', data: 'x' },
  };

  it('of changed lists reach every lease of a shared session', async () => {
    const { upstream, link } = await openLink({ exclusive: false });
    const heard = [vi.fn(), vi.fn(), vi.fn()];
    for (const listener of heard) {
      lendOver(link).client.setNotificationHandler(ToolListChangedNotificationSchema, listener);
    }
    upstream.say(changed);
    await settle();
    for (const listener of heard) expect(listener).toHaveBeenCalledOnce();
  });

  it('of other kinds reach the lease they came with, or nobody on a shared session', async () => {
    let origin: number | undefined;
    const { upstream, link } = await openLink({ exclusive: false, originOf: () => origin });
    const heard = [vi.fn(), vi.fn()];
    const leases = heard.map((listener) => {
      const lease = lendOver(link);
      lease.client.setNotificationHandler(LoggingMessageNotificationSchema, listener);
      return lease;
    });
    for (const { client } of leases) void call(client).catch(() => {});
    await settle();
    upstream.say(log);
    origin = Number(upstream.requests('tools/call')[1]!.id);
    upstream.say(log);
    await settle();
    expect(heard[0]).not.toHaveBeenCalled();
    expect(heard[1]).toHaveBeenCalledOnce();
    for (const { release } of leases) release();
    await settle();
  });

  it('reach the one lease of an exclusive session', async () => {
    const { upstream, link } = await openLink();
    const onNotification = vi.fn();
    lendOver(link, { onNotification });
    upstream.say(log);
    await settle();
    expect(onNotification).toHaveBeenCalledOnce();
    expect(onNotification.mock.lastCall?.[0]).toMatchObject({ method: 'notifications/message' });
  });

  it('break nothing when a handler of a lease throws', async () => {
    const onTrouble = vi.fn(() => {
      throw new Error('observers are no better');
    });
    const { upstream, link } = await openLink({ exclusive: false, onTrouble });
    const bad = lendOver(link);
    await settle();
    bad.transport.onmessage = () => {
      throw new Error('thrown by a lease');
    };
    const heard = vi.fn();
    lendOver(link).client.setNotificationHandler(ToolListChangedNotificationSchema, heard);
    upstream.say(changed);
    await settle();
    expect(heard).toHaveBeenCalledOnce();
    expect(onTrouble).toHaveBeenCalledOnce();
    expect(link.lost.aborted).toBe(false);
  });

  it('beyond the idle budget are dropped while nobody leases, and reported', async () => {
    const onFlood = vi.fn();
    let now = 0;
    const clock = { ...systemClock, now: () => now };
    const { upstream, link } = await openLink({ onFlood, clock });
    for (let n = 0; n < 1_000; n += 1) upstream.say(changed);
    expect(onFlood).not.toHaveBeenCalled();
    upstream.say(changed);
    expect(onFlood).toHaveBeenCalledOnce();
    now += 60_000;
    upstream.say(changed);
    expect(onFlood).toHaveBeenCalledOnce();
    const params = { level: 'info' as const, data: 'x'.repeat(1024 * 1024) };
    upstream.say({ jsonrpc: '2.0', method: 'notifications/message', params });
    expect(onFlood).toHaveBeenCalledTimes(2);
    lendOver(link);
    for (let n = 0; n < 2_000; n += 1) upstream.say(changed);
    expect(onFlood).toHaveBeenCalledTimes(2);
  });
});
