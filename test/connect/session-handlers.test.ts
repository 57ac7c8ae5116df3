// What the server sends to no lease in particular, once somebody takes it: the session's own lane
// asks the pool's handlers, takes requests back, and bounds what never settles.

import type { JSONRPCMessage, JSONRPCRequest } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, it, vi } from 'vitest';
import type { ServerAnswer, SessionHandlers } from '../../src/connect/connector.ts';
import { lendOver } from '../support/link-leases.ts';
import { openLink, settle } from '../support/scripted-transport.ts';

type OnRequest = NonNullable<SessionHandlers['onRequest']>;

const ask = (id: number | string): JSONRPCRequest => ({
  jsonrpc: '2.0',
  id,
  method: 'sampling/createMessage',
});
const takeBack = (requestId: number | string): JSONRPCMessage => ({
  jsonrpc: '2.0',
  method: 'notifications/cancelled',
  params: { requestId },
});
const log: JSONRPCMessage = { jsonrpc: '2.0', method: 'notifications/message' };
const changed: JSONRPCMessage = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' };

/** Handlers that settle when the test says so. */
function heldHandlers() {
  const asked: { id: unknown; signal: AbortSignal; answer(result: object): void }[] = [];
  const onRequest = vi.fn<OnRequest>(
    ({ id }, { signal }) =>
      new Promise<ServerAnswer>((resolve) => {
        asked.push({ id, signal, answer: (result) => resolve({ result: { ...result } }) });
      }),
  );
  return { asked, onRequest };
}

describe('the handler of the pool', () => {
  it.each([
    { name: 'with two leases on a shared session', exclusive: false, leases: 2 },
    { name: 'with one lease on a shared session', exclusive: false, leases: 1 },
    { name: 'with nobody leasing', exclusive: true, leases: 0 },
  ])('takes what is for no lease in particular: $name', async ({ exclusive, leases }) => {
    const onRequest = vi.fn<OnRequest>(async () => ({ result: { from: 'pool' } }));
    const onNotification = vi.fn();
    const { upstream, link } = await openLink({ exclusive, onRequest, onNotification });
    const own = vi.fn();
    for (let n = 0; n < leases; n += 1) lendOver(link, { onRequest: own, onNotification: own });
    upstream.say(ask(9));
    upstream.say(log);
    await settle();
    expect(own).not.toHaveBeenCalled();
    expect(onRequest.mock.lastCall?.[0]).toEqual(ask(9));
    expect(onNotification).toHaveBeenCalledExactlyOnceWith(log);
    expect(upstream.sent.at(-1)).toEqual({ jsonrpc: '2.0', id: 9, result: { from: 'pool' } });
  });

  it('gets nothing that belongs to a lease, or to one that has left', async () => {
    let origin: number | undefined;
    const onRequest = vi.fn<OnRequest>(async () => ({ result: {} }));
    const onNotification = vi.fn();
    const { upstream, link } = await openLink({
      exclusive: false,
      originOf: () => origin,
      onRequest,
      onNotification,
    });
    const lease = lendOver(link);
    void lease.client.callTool({ name: 'echo' }).catch(() => {});
    await settle();
    origin = Number(upstream.requests('tools/call')[0]?.id);
    upstream.say(ask(1));
    upstream.say(log);
    await settle();
    expect(upstream.sent.at(-1)).toMatchObject({ id: 1, error: { code: -32_601 } });
    lease.release();
    upstream.say(ask(2));
    upstream.say(log);
    await settle();
    expect(upstream.sent.at(-1)).toMatchObject({ id: 2, error: { code: -32_000 } });
    expect(onRequest).not.toHaveBeenCalled();
    expect(onNotification).not.toHaveBeenCalled();
  });

  it('is not asked about pings, and they are answered however many requests wait', async () => {
    const { asked, onRequest } = heldHandlers();
    const { upstream, link } = await openLink({ exclusive: false, onRequest });
    // The idle budget of a session that nobody leases would bound it too.
    lendOver(link);
    await settle();
    for (let id = 1; id <= 1_000; id += 1) upstream.say(ask(id));
    upstream.say(ask('over'));
    upstream.say({ jsonrpc: '2.0', id: 'ping', method: 'ping' });
    await settle();
    expect(asked).toHaveLength(1_000);
    expect(upstream.sent.slice(-2)).toMatchObject([
      { id: 'over', error: { code: -32_603 } },
      { id: 'ping', result: {} },
    ]);
    link.sever(new Error('over'));
  });

  it('hears of changed lists beside the leases, each with a copy of its own', async () => {
    const onNotification = vi.fn();
    const { upstream, link } = await openLink({ exclusive: false, onNotification });
    const spoil = vi.fn((message: { params?: object | undefined }) => {
      if (message.params) Object.assign(message.params, { spoilt: true });
    });
    for (const _ of [1, 2]) lendOver(link, { onNotification: spoil });
    await settle();
    const message = { ...changed, params: { _meta: {} } };
    upstream.say(message);
    await settle();
    expect(spoil).toHaveBeenCalledTimes(2);
    expect(message.params).toEqual({ _meta: {} });
    expect(onNotification.mock.calls).toEqual([[{ ...changed, params: { _meta: {} } }]]);
  });

  it('is told when the server takes a request back, and its late answer is not sent', async () => {
    const { asked, onRequest } = heldHandlers();
    const onNotification = vi.fn();
    const { upstream } = await openLink({ onRequest, onNotification });
    upstream.say(ask(1));
    upstream.say(ask(2));
    await settle();
    const before = upstream.sent.length;
    upstream.say(takeBack('nobody knows this id'));
    upstream.say(takeBack(1));
    expect(asked.map(({ signal }) => signal.aborted)).toEqual([true, false]);
    asked[0]?.answer({ late: true });
    asked[1]?.answer({ late: false });
    await settle();
    expect(onNotification).not.toHaveBeenCalled();
    expect(upstream.sent.slice(before)).toEqual([
      { jsonrpc: '2.0', id: 2, result: { late: false } },
    ]);
  });

  it('answers the new request when the server uses the id of one that it took back', async () => {
    const { asked, onRequest } = heldHandlers();
    const { upstream } = await openLink({ onRequest });
    upstream.say(ask(1));
    upstream.say(takeBack(1));
    upstream.say(ask(1));
    await settle();
    asked[0]?.answer({ from: 'the first' });
    await settle();
    asked[1]?.answer({ from: 'the second' });
    await settle();
    expect(upstream.sent.filter((each) => 'result' in each)).toEqual([
      { jsonrpc: '2.0', id: 1, result: { from: 'the second' } },
    ]);
    expect(asked[1]?.signal.aborted).toBe(false);
  });

  it('is bounded where it ignores that requests are taken back', async () => {
    const { asked, onRequest } = heldHandlers();
    const { upstream, link } = await openLink({ exclusive: false, onRequest });
    lendOver(link);
    for (let id = 1; id <= 1_500; id += 1) {
      upstream.say(ask(id));
      upstream.say(takeBack(id));
    }
    await settle();
    expect(asked).toHaveLength(1_000);
    asked[0]?.answer({});
    await settle();
    upstream.say(ask('next'));
    await settle();
    expect(asked.at(-1)?.id).toBe('next');
    link.sever(new Error('over'));
  });

  it('is told of the end of the session, after the turn that ends it', async () => {
    const { asked, onRequest } = heldHandlers();
    const { upstream, link } = await openLink({ onRequest });
    upstream.say(ask(1));
    await settle();
    const before = upstream.sent.length;
    link.fence(new Error('closing'));
    expect(asked[0]?.signal.aborted).toBe(false);
    await settle();
    expect(asked[0]?.signal.aborted).toBe(true);
    asked[0]?.answer({});
    await settle();
    expect(upstream.sent).toHaveLength(before);
  });
});

describe('the handler of a lease', () => {
  it('is told when the server takes its request back', async () => {
    const { upstream, link } = await openLink();
    const signals: AbortSignal[] = [];
    const lease = lendOver(link, {
      onRequest: (_request, { signal }) => {
        signals.push(signal);
        return new Promise(() => {});
      },
    });
    upstream.say(ask(1));
    upstream.say(ask(2));
    await settle();
    upstream.say(takeBack(2));
    await settle();
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, true]);
    lease.release();
    await settle();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
  });
});

describe('a request with the id of one that is not answered', () => {
  it('reaches nobody, and the first one is answered once, by whom it was asked of', async () => {
    let origin: number | undefined;
    const onTrouble = vi.fn();
    const { upstream, link } = await openLink({
      exclusive: false,
      originOf: () => origin,
      onTrouble,
    });
    let answer: (result: object) => void = () => {};
    const heard = vi.fn(() => ({ from: 'second' }));
    const leases = [
      lendOver(link, {
        onRequest: () => new Promise((resolve) => (answer = (result) => resolve({ ...result }))),
      }),
      lendOver(link, { onRequest: heard }),
    ];
    for (const { client } of leases) void client.callTool({ name: 'echo' }).catch(() => {});
    await settle();
    const [one, other] = upstream.requests('tools/call').map(({ id }) => Number(id));
    origin = one;
    upstream.say(ask(7));
    await settle();
    origin = other;
    upstream.say(ask(7));
    await settle();
    expect(heard).not.toHaveBeenCalled();
    expect(onTrouble).toHaveBeenCalledOnce();
    answer({ from: 'first' });
    await settle();
    upstream.say(ask(7));
    await settle();
    expect(upstream.sent.filter((each) => 'result' in each)).toEqual([
      { jsonrpc: '2.0', id: 7, result: { from: 'first' } },
      { jsonrpc: '2.0', id: 7, result: { from: 'second' } },
    ]);
    for (const { release } of leases) release();
    await settle();
  });
});
