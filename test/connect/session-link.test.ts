import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { JSONRPCRequest } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, it, vi } from 'vitest';
import { SessionLostError } from '../../src/errors.ts';
import { lendOver } from '../support/link-leases.ts';
import {
  createLink,
  HANDSHAKE,
  openLink,
  ScriptedTransport,
  settle,
} from '../support/scripted-transport.ts';

const call = (client: Client, name = 'echo'): Promise<unknown> => client.callTool({ name });
describe('opening a session', () => {
  it('sends initialize and notifications/initialized, and keeps the result frozen', async () => {
    const { upstream, link } = await openLink();
    expect(upstream.sent.map((each) => ('method' in each ? each.method : ''))).toEqual([
      'initialize',
      'notifications/initialized',
    ]);
    expect(link.handshake).toEqual(HANDSHAKE);
    expect(Object.isFrozen(link.handshake['capabilities'])).toBe(true);
  });

  it("settles with an abort's reason, and cancels no initialize", async () => {
    const upstream = new ScriptedTransport();
    upstream.answersHandshake = false;
    const link = createLink(upstream);
    const controller = new AbortController();
    const opening = link.open(controller.signal);
    await settle();
    const reason = new Error('no longer wanted');
    controller.abort(reason);
    await expect(opening).rejects.toBe(reason);
    await settle();
    expect(upstream.count('notifications/cancelled')).toBe(0);
  });

  it('settles when it is aborted while the transport starts for ever', async () => {
    const upstream = new ScriptedTransport();
    upstream.start = () => new Promise(() => {});
    const link = createLink(upstream);
    const opening = link.open(AbortSignal.timeout(10));
    await expect(opening).rejects.toThrow(/timeout/i);
  });

  it('rejects with what the server answered', async () => {
    const upstream = new ScriptedTransport();
    upstream.answersHandshake = false;
    upstream.onSend = (message) => {
      if (!('id' in message)) return;
      const error = { code: -32_602, message: 'bad version' };
      upstream.say({ jsonrpc: '2.0', id: message.id as number, error });
    };
    await expect(createLink(upstream).open(new AbortController().signal)).rejects.toThrow(
      /bad version/,
    );
  });

  it('works over any SDK transport', async () => {
    const [near, far] = InMemoryTransport.createLinkedPair();
    const server = new McpServer({ name: 'memory', version: '1' });
    server.registerTool('hi', {}, () => ({ content: [{ type: 'text', text: 'hi' }] }));
    await server.connect(far);
    const link = createLink(near);
    await link.open(new AbortController().signal);
    const lease = lendOver(link);
    await expect(call(lease.client, 'hi')).resolves.toMatchObject({ content: [{ text: 'hi' }] });
    lease.release();
    link.sever(new Error('over'));
    await near.close();
  });
});

describe('requests of several leases', () => {
  it('never share an id upstream, and each answer reaches its lease', async () => {
    const { upstream, link } = await openLink({ exclusive: false });
    const leases = Array.from({ length: 10 }, () => lendOver(link));
    const answers = leases.flatMap(({ client }, n) =>
      ['a', 'b', 'c'].map((x) => client.callTool({ name: `${n}${x}` })),
    );
    await settle();
    const requests = upstream.requests('tools/call');
    expect(requests).toHaveLength(30);
    const ids = upstream.sent.flatMap((each) => ('id' in each ? [each.id] : []));
    expect(new Set(ids).size).toBe(ids.length);
    for (const request of requests.toReversed()) {
      const text = (request.params as { name: string }).name;
      upstream.answer(request, { content: [{ type: 'text', text }] });
    }
    const texts = (await Promise.all(answers)).map((each) => JSON.stringify(each.content));
    const expected = leases.flatMap((_, n) => ['a', 'b', 'c'].map((x) => `${n}${x}`));
    expect(texts).toEqual(expected.map((text) => JSON.stringify([{ type: 'text', text }])));
  });

  it('never use the ids of an ended lease again', async () => {
    const { upstream, link } = await openLink();
    for (let turn = 0; turn < 3; turn += 1) {
      const lease = lendOver(link);
      const answer = call(lease.client);
      await settle();
      upstream.answer(upstream.requests('tools/call').at(-1)!, { content: [] });
      await answer;
      lease.release();
    }
    const ids = upstream.requests('tools/call').map(({ id }) => id);
    expect(new Set(ids).size).toBe(3);
  });

  it('get their progress under the token they asked with', async () => {
    const { upstream, link } = await openLink({ exclusive: false });
    const heard = [vi.fn(), vi.fn()];
    const leases = heard.map(() => lendOver(link));
    const answers = leases.map(({ client }, n) =>
      client.callTool({ name: 'x' }, undefined, { onprogress: heard[n]! }),
    );
    await settle();
    const [first, second] = upstream.requests('tools/call');
    expect(second!.params?._meta?.progressToken).toBe(second!.id);
    const params = { progressToken: second!.id, progress: 7 };
    upstream.say({ jsonrpc: '2.0', method: 'notifications/progress', params });
    await settle();
    expect(heard[0]).not.toHaveBeenCalled();
    expect(heard[1]).toHaveBeenCalledExactlyOnceWith({ progress: 7 });
    for (const request of [first!, second!]) upstream.answer(request, { content: [] });
    await Promise.all(answers);
  });
});

describe('the end of a session', () => {
  it('by the transport rejects all calls in flight with SESSION_LOST, tells `lost`', async () => {
    const { upstream, link } = await openLink({ exclusive: false });
    const leases = [lendOver(link), lendOver(link)];
    const calls = leases.map(({ client }) => call(client));
    const outcomes = Promise.allSettled(calls);
    await settle();
    upstream.onclose?.();
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ reason: { code: 'SESSION_LOST', execution: 'unknown' } });
    }
    expect(link.lost.aborted).toBe(true);
    await expect(call(leases[0]!.client)).rejects.toMatchObject({
      code: 'SESSION_LOST',
      execution: 'not-executed',
    });
  });

  it('is known by a 404 with a session: this call was not executed, others may be', async () => {
    const { upstream, link } = await openLink({ exclusive: false });
    const [first, second] = [lendOver(link), lendOver(link)];
    const earlier = call(first.client);
    const outcome = Promise.allSettled([earlier]);
    await settle();
    const failure = Object.assign(new Error('HTTP'), { code: 404 });
    upstream.onSend = () => Promise.reject(failure);
    await expect(call(second.client)).rejects.toMatchObject({
      code: 'SESSION_LOST',
      execution: 'not-executed',
      cause: failure,
    });
    expect((await outcome)[0]).toMatchObject({ reason: { execution: 'unknown' } });
    expect(link.lost.reason).toMatchObject({ code: 'SESSION_LOST', cause: failure });
  });

  it.each([
    { name: 'a 404 without a session', error: { code: 404 }, session: undefined },
    { name: 'a 400', error: { code: 400 }, session: 's' },
    { name: 'a 500', error: { code: 500 }, session: 's' },
    { name: 'an error of its own', error: { name: 'Weird' }, session: 's' },
  ])(
    'is not seen in $name, which rejects that call alone, untouched',
    async ({ error, session }) => {
      const { upstream, link } = await openLink();
      upstream.sessionId = session!;
      const { client } = lendOver(link);
      const failure = Object.assign(new Error('HTTP'), error);
      upstream.onSend = () => Promise.reject(failure);
      await expect(call(client)).rejects.toBe(failure);
      upstream.onSend = (message) => upstream.answer(message as JSONRPCRequest, { content: [] });
      await expect(call(client)).resolves.toMatchObject({ content: [] });
      expect(link.lost.aborted).toBe(false);
    },
  );

  it('is not seen in an error that the transport reports, unless it is said to be', async () => {
    const onTrouble = vi.fn();
    const { upstream, link } = await openLink({ onTrouble, isLoss: (e) => /dead/.test(String(e)) });
    upstream.onerror?.(new Error('a hiccup'));
    expect(link.lost.aborted).toBe(false);
    upstream.onerror?.(new Error('dead'));
    expect(link.lost.aborted).toBe(true);
    expect(onTrouble).toHaveBeenCalledTimes(2);
  });

  it('by the fence rejects what is in flight, sends nothing more, and is no loss', async () => {
    const { upstream, link } = await openLink();
    const { client } = lendOver(link);
    const inFlight = call(client);
    const outcome = Promise.allSettled([inFlight]);
    await settle();
    const before = upstream.sent.length;
    const reason = new Error('pool closed');
    link.fence(reason);
    expect(await outcome).toMatchObject([
      { reason: { code: 'SESSION_LOST', execution: 'unknown', cause: reason } },
    ]);
    await expect(call(client)).rejects.toBeInstanceOf(SessionLostError);
    await expect(link.lane.ping(new AbortController().signal)).rejects.toThrow();
    await settle();
    expect(upstream.sent).toHaveLength(before);
    expect(link.lost.aborted).toBe(false);
    link.sever(reason);
    expect(upstream.onmessage).toBeUndefined();
  });

  it('survives a client whose onclose throws', async () => {
    const { upstream, link } = await openLink({ exclusive: false });
    const [first, second] = [lendOver(link), lendOver(link)];
    first.client.onclose = () => {
      throw new Error('onclose');
    };
    const outcomes = Promise.allSettled([call(first.client), call(second.client)]);
    await settle();
    upstream.onclose?.();
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ reason: { code: 'SESSION_LOST' } });
    }
  });
});

describe('a plain SDK client on a lease transport', () => {
  it('connects without a request of its own and calls through', async () => {
    const { upstream, link } = await openLink();
    const before = upstream.sent.length;
    const { transport } = lendOver(link);
    const client = new Client({ name: 'plain', version: '1' });
    await client.connect(transport);
    expect(upstream.sent).toHaveLength(before);
    expect(client.getServerVersion()).toEqual(HANDSHAKE.serverInfo);
    upstream.onSend = (message) => upstream.answer(message as JSONRPCRequest, { content: [] });
    await expect(call(client)).resolves.toMatchObject({ content: [] });
  });
});
