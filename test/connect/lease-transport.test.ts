import { setMaxListeners } from 'node:events';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type { JSONRPCRequest } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, it, vi } from 'vitest';
import { leftInTables, lendOver } from '../support/link-leases.ts';
import {
  HANDSHAKE,
  openLink,
  type ScriptedTransport,
  settle,
} from '../support/scripted-transport.ts';

const request = (id: number, method = 'tools/call'): JSONRPCRequest => ({
  jsonrpc: '2.0',
  id,
  method,
  params: { name: 'x' },
});
const cancel = (requestId: number) =>
  ({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } }) as const;
const answerAll = (upstream: ScriptedTransport): void => {
  upstream.onSend = (message) => {
    if ('id' in message && 'method' in message) upstream.answer(message, { content: [] });
  };
};

describe('a lease transport', () => {
  it('answers the handshake itself and has no session id', async () => {
    const { upstream, link } = await openLink();
    const before = upstream.sent.length;
    const { transport } = lendOver(link);
    await settle();
    const heard = vi.fn();
    transport.onmessage = heard;
    await transport.send(request(0, 'initialize'));
    await transport.send({ jsonrpc: '2.0', method: 'notifications/initialized' });
    expect(heard).toHaveBeenCalledExactlyOnceWith(
      { jsonrpc: '2.0', id: 0, result: HANDSHAKE },
      undefined,
    );
    expect(upstream.sent).toHaveLength(before);
    expect('sessionId' in transport).toBe(false);
  });

  it('keeps a send pending until its answer came', async () => {
    const { upstream, link } = await openLink();
    const { transport } = lendOver(link);
    let isDone = false;
    const sent = transport.send(request(1)).then(() => {
      isDone = true;
    });
    await settle();
    expect(isDone).toBe(false);
    expect(transport.inFlight).toBe(1);
    upstream.answer(upstream.requests('tools/call')[0]!);
    await sent;
    expect(transport.inFlight).toBe(0);
  });

  it('maps a cancel to the upstream id and settles the call', async () => {
    const { upstream, link } = await openLink();
    const { transport } = lendOver(link);
    const sent = transport.send(request(4));
    await settle();
    const upstreamId = upstream.requests('tools/call')[0]!.id;
    expect(upstreamId).not.toBe(4);
    await transport.send(cancel(4));
    await sent;
    expect(upstream.sent.at(-1)).toMatchObject({
      method: 'notifications/cancelled',
      params: { requestId: upstreamId },
    });
    // A late answer is for nobody.
    upstream.answer(upstream.requests('tools/call')[0]!);
    expect(transport.inFlight).toBe(0);
  });

  it('drops cancels of calls that are over or never were', async () => {
    const { upstream, link } = await openLink();
    const { transport } = lendOver(link);
    answerAll(upstream);
    await transport.send(request(4));
    await transport.send(cancel(4));
    await transport.send(cancel(99));
    expect(upstream.count('notifications/cancelled')).toBe(0);
  });

  it('sends nothing when a signal aborts after 4,000 calls of a plain client', async () => {
    const { upstream, link } = await openLink();
    const { transport } = lendOver(link);
    answerAll(upstream);
    const client = new Client({ name: 'plain', version: '1' });
    await client.connect(transport);
    const controller = new AbortController();
    // The SDK leaves one listener per call.
    setMaxListeners(5_000, controller.signal);
    const options = { signal: controller.signal };
    for (let n = 0; n < 4_000; n += 1) await client.callTool({ name: 'x' }, undefined, options);
    const before = upstream.sent.length;
    controller.abort();
    await settle();
    expect(upstream.sent).toHaveLength(before);
  });

  it('leaves no handler, progress handler or timer of failed calls in a client', async () => {
    const { upstream, link } = await openLink();
    const { client } = lendOver(link);
    await settle();
    upstream.onSend = () => Promise.reject(new Error('refused'));
    const options = { onprogress: () => {} };
    const failed = Array.from({ length: 200 }, () =>
      client.callTool({ name: 'x' }, undefined, options),
    );
    for (const outcome of await Promise.allSettled(failed)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { message: 'refused' } });
    }
    await settle();
    expect(leftInTables(client)).toEqual({ handlers: 0, progress: 0, timers: 0 });
  });

  it.each(['lost', 'fenced', 'released'] as const)(
    'leaves none either when it is %s',
    async (how) => {
      const { link } = await openLink();
      const { client, release } = lendOver(link);
      const onerror = vi.fn();
      client.onerror = onerror;
      const options = { onprogress: () => {} };
      const calls = Promise.allSettled(
        Array.from({ length: 20 }, () => client.callTool({ name: 'x' }, undefined, options)),
      );
      await settle();
      expect(leftInTables(client)).toEqual({ handlers: 20, progress: 20, timers: 20 });
      if (how === 'lost') link.lose(new Error('gone'));
      else if (how === 'fenced') link.fence(new Error('closing'));
      else release();
      const code = how === 'released' ? 'LEASE_RELEASED' : 'SESSION_LOST';
      for (const outcome of await calls) expect(outcome).toMatchObject({ reason: { code } });
      await settle();
      expect(leftInTables(client)).toEqual({ handlers: 0, progress: 0, timers: 0 });
      expect(onerror).not.toHaveBeenCalled();
    },
  );

  it('cancels upstream what is in flight at its end, and then sends nothing', async () => {
    const { upstream, link } = await openLink();
    const { transport, release } = lendOver(link);
    const sent = [1, 2].map((id) => transport.send(request(id)));
    const outcomes = Promise.allSettled(sent);
    await settle();
    const ids = upstream.requests('tools/call').map(({ id }) => id);
    release();
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ reason: { code: 'LEASE_RELEASED' } });
    }
    await settle();
    const cancels = upstream.sent.slice(-2) as unknown as { params: { requestId: number } }[];
    expect(cancels.map(({ params }) => params.requestId)).toEqual(ids);
    const before = upstream.sent.length;
    await expect(transport.send(request(3))).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    await expect(transport.send(cancel(3))).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    const answer = { jsonrpc: '2.0', id: 1, result: {} } as const;
    await expect(transport.send(answer)).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    expect(upstream.sent).toHaveLength(before);
  });

  it('rejects from the turn in which the lease ends, before it is given back', async () => {
    const { upstream, link } = await openLink();
    let ended: Error | undefined;
    const { transport } = lendOver(link, { endedWith: () => ended });
    const before = upstream.sent.length;
    ended = new Error('over');
    await expect(transport.send(request(1))).rejects.toBe(ended);
    expect(upstream.sent).toHaveLength(before);
  });

  it.each([
    ['logging/setLevel', true],
    ['resources/subscribe', true],
    ['resources/unsubscribe', true],
    ['tools/call', false],
    ['resources/read', false],
  ])('knows whether a request taints the session: %s, %s', async (method, tainted) => {
    const { upstream, link } = await openLink();
    answerAll(upstream);
    const { transport } = lendOver(link);
    expect(transport.tainted).toBe(false);
    await transport.send(request(1, method));
    expect(transport.tainted).toBe(tainted);
  });

  it('is tainted by a change of roots', async () => {
    const { link } = await openLink();
    const { client, transport } = lendOver(link);
    await client.sendRootsListChanged();
    expect(transport.tainted).toBe(true);
  });

  it('ends the lease when it is closed', async () => {
    const { link } = await openLink();
    const end = vi.fn();
    await lendOver(link, { end }).transport.close();
    expect(end).toHaveBeenCalledOnce();
  });

  it.each([
    ['is released', 'LEASE_RELEASED'],
    ['loses its session', 'SESSION_LOST'],
  ])('rejects what hangs on its way out when it %s', async (how, code) => {
    const { upstream, link } = await openLink();
    upstream.onSend = () => new Promise(() => {});
    const onRequest = (): Promise<never> => new Promise(() => {});
    const { transport, release } = lendOver(link, { onRequest });
    const notified = transport.send({ jsonrpc: '2.0', method: 'notifications/x' });
    upstream.say({ jsonrpc: '2.0', id: 1, method: 'sampling/createMessage', params: {} });
    const responded = transport.send({ jsonrpc: '2.0', id: 1, result: {} });
    const outcomes = Promise.allSettled([notified, responded]);
    await settle();
    if (how === 'is released') release();
    else link.lose(new Error('gone'));
    expect(await outcomes).toMatchObject([{ reason: { code } }, { reason: { code } }]);
    link.lose(new Error('gone'));
  });

  it('rejects what ended it from within its send', async () => {
    const { upstream, link } = await openLink();
    const { transport, release } = lendOver(link);
    upstream.onSend = () => {
      release();
      return new Promise(() => {});
    };
    const sent = transport.send({ jsonrpc: '2.0', method: 'notifications/x' });
    await expect(sent).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
  });

  it('is not held by the link after its end', async () => {
    const { link } = await openLink();
    const held = new WeakRef(
      (() => {
        const { transport, release } = lendOver(link);
        release();
        return transport;
      })(),
    );
    await settle();
    (globalThis as { gc?: () => void }).gc?.();
    await settle();
    expect(held.deref()).toBeUndefined();
  });
});
