import { getEventListeners } from 'node:events';
import {
  type JSONRPCRequest,
  ListRootsRequestSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, it, vi } from 'vitest';
import { leftInTables, lendOver } from '../support/link-leases.ts';
import {
  HANDSHAKE,
  openLink,
  type ScriptedTransport,
  settle,
} from '../support/scripted-transport.ts';

const answerAll = (upstream: ScriptedTransport): void => {
  upstream.onSend = (message) => {
    if ('id' in message && 'method' in message) {
      upstream.answer(message, { content: [], tools: [] });
    }
  };
};

describe('the client of a lease', () => {
  it('knows the server in the turn it was lent', async () => {
    const { link } = await openLink();
    const { client } = lendOver(link);
    expect(client.getServerCapabilities()).toEqual(HANDSHAKE.capabilities);
    expect(client.getServerVersion()).toEqual(HANDSHAKE.serverInfo);
    expect(client.getInstructions()).toBe(HANDSHAKE.instructions);
    await settle();
    expect(client.getServerCapabilities()).toEqual(HANDSHAKE.capabilities);
  });

  it('enforces strict capabilities from its first call on', async () => {
    const { upstream, link } = await openLink();
    answerAll(upstream);
    const clientOptions = { enforceStrictCapabilities: true };
    const { client } = lendOver(link, { clientOptions });
    const [tools, prompts] = await Promise.allSettled([client.listTools(), client.listPrompts()]);
    expect(tools.status).toBe('fulfilled');
    expect(prompts).toMatchObject({ reason: { message: expect.stringMatching(/prompts/) } });
    expect(upstream.count('prompts/list')).toBe(0);
  });

  it('serves `listChanged` as the SDK does', async () => {
    const { upstream, link } = await openLink();
    answerAll(upstream);
    const onChanged = vi.fn();
    const clientOptions = { listChanged: { tools: { onChanged, debounceMs: 0 } } };
    lendOver(link, { clientOptions });
    await settle();
    upstream.say({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
    await settle();
    expect(onChanged).toHaveBeenCalledExactlyOnceWith(null, []);
  });

  it('hands what its own handlers do not take to onRequest and onNotification', async () => {
    const { upstream, link } = await openLink();
    const onRequest = vi.fn(() => ({ content: 1 }));
    const onNotification = vi.fn();
    const { client } = lendOver(link, { onRequest, onNotification });
    const own = vi.fn();
    client.setNotificationHandler(ToolListChangedNotificationSchema, own);
    client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [] }));
    upstream.say({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
    upstream.say({ jsonrpc: '2.0', method: 'notifications/prompts/list_changed' });
    upstream.say({ jsonrpc: '2.0', id: 1, method: 'roots/list' });
    upstream.say({ jsonrpc: '2.0', id: 2, method: 'elicitation/create', params: {} });
    await settle();
    expect(own).toHaveBeenCalledOnce();
    expect(onNotification).toHaveBeenCalledOnce();
    expect(onRequest).toHaveBeenCalledOnce();
    const answers = upstream.sent.filter((each) => 'result' in each);
    expect(answers).toHaveLength(2);
    expect(answers).toContainEqual({ jsonrpc: '2.0', id: 1, result: { roots: [] } });
    expect(answers).toContainEqual({ jsonrpc: '2.0', id: 2, result: { content: 1 } });
  });

  it('answers with an error when onRequest throws', async () => {
    const { upstream, link } = await openLink();
    lendOver(link, {
      onRequest: () => {
        throw new Error('no');
      },
    });
    upstream.say({ jsonrpc: '2.0', id: 2, method: 'elicitation/create', params: {} });
    await settle();
    expect(upstream.sent.at(-1)).toMatchObject({ id: 2, error: { message: 'no' } });
  });

  it('rejects connect', async () => {
    const { link } = await openLink();
    const { client, release } = lendOver(link);
    await expect(client.connect()).rejects.toThrow(/connected already/);
    release();
    await expect(client.connect()).rejects.toThrow(/connected already/);
  });

  it('ends the lease when it is closed, and tells its onclose', async () => {
    const { link } = await openLink();
    const { client } = lendOver(link);
    const onclose = vi.fn();
    client.onclose = onclose;
    await client.close();
    await client.close();
    await settle();
    expect(onclose).toHaveBeenCalledOnce();
    await expect(client.ping()).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
  });

  it('rejects everything with LEASE_RELEASED after the lease, and sends nothing', async () => {
    const { upstream, link } = await openLink();
    answerAll(upstream);
    const { client, release } = lendOver(link);
    await client.listTools();
    release();
    const before = upstream.sent.length;
    const attempts = [
      client.callTool({ name: 'x' }),
      client.listTools(),
      client.ping(),
      client.setLoggingLevel('debug'),
      client.readResource({ uri: 'a://b' }),
      client.sendRootsListChanged(),
      client.notification({ method: 'notifications/initialized' }),
      client.request({ method: 'initialize' } as never, {} as never),
    ];
    for (const outcome of await Promise.allSettled(attempts)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'LEASE_RELEASED' } });
    }
    await settle();
    for (const attempt of [client.listTools(), client.ping()]) {
      await expect(attempt).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    }
    expect(upstream.sent).toHaveLength(before);
    expect(leftInTables(client)).toEqual({ handlers: 0, progress: 0, timers: 0 });
  });

  it('rejects a call made in the turn of the loan whose lease ends in it too', async () => {
    const { upstream, link } = await openLink();
    const before = upstream.sent.length;
    const { client, release } = lendOver(link);
    const called = client.listTools();
    release();
    await expect(called).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    expect(upstream.sent).toHaveLength(before);
    await settle();
    expect(leftInTables(client)).toEqual({ handlers: 0, progress: 0, timers: 0 });
  });

  it('leaves no listener on the signal of a call, and a late abort sends nothing', async () => {
    const { upstream, link } = await openLink();
    answerAll(upstream);
    const { client } = lendOver(link);
    const controller = new AbortController();
    const options = { signal: controller.signal };
    const many = Array.from({ length: 50 }, () =>
      client.callTool({ name: 'x' }, undefined, options),
    );
    await Promise.all(many);
    for (let n = 0; n < 2_000; n += 1) await client.callTool({ name: 'x' }, undefined, options);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    const before = upstream.sent.length;
    controller.abort();
    await settle();
    expect(upstream.sent).toHaveLength(before);
  });

  it('cancels a call whose signal aborts, and rejects at once if it has already', async () => {
    const { upstream, link } = await openLink();
    const { client } = lendOver(link);
    const controller = new AbortController();
    const called = client.callTool({ name: 'x' }, undefined, { signal: controller.signal });
    await settle();
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(called).rejects.toThrow(/enough/);
    await settle();
    expect(upstream.count('notifications/cancelled')).toBe(1);
    const late = client.callTool({ name: 'x' }, undefined, { signal: controller.signal });
    await expect(late).rejects.toBe(reason);
    expect(upstream.requests('tools/call')).toHaveLength(1);
  });

  it('hands nothing on to the next lease: handlers, tool schemas, answers', async () => {
    const { upstream, link } = await openLink();
    const outputSchema = { type: 'object' as const, required: ['n'] };
    upstream.onSend = (message) => {
      if (!('id' in message && 'method' in message)) return;
      const tools = [{ name: 'x', inputSchema: { type: 'object' }, outputSchema }];
      upstream.answer(message, message.method === 'tools/list' ? { tools } : { content: [] });
    };
    const first = lendOver(link);
    const heard = vi.fn();
    first.client.setNotificationHandler(ToolListChangedNotificationSchema, heard);
    await first.client.listTools();
    await expect(first.client.callTool({ name: 'x' })).rejects.toThrow(/output schema/);
    first.release();
    const second = lendOver(link);
    await expect(second.client.callTool({ name: 'x' })).resolves.toMatchObject({ content: [] });
    upstream.say({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
    await settle();
    expect(heard).not.toHaveBeenCalled();
  });

  it('can not change what the next lease sees of the server', async () => {
    const { link } = await openLink();
    const { client } = lendOver(link);
    const capabilities = client.getServerCapabilities()!;
    expect(() => Object.assign(capabilities, { tools: undefined })).toThrow(TypeError);
    await settle();
    Object.assign(client.getServerCapabilities()!, { prompts: {} });
    expect(lendOver(link).client.getServerCapabilities()).toEqual(HANDSHAKE.capabilities);
  });

  it('fails like any call when its request is refused', async () => {
    const { upstream, link } = await openLink();
    const { client } = lendOver(link);
    upstream.onSend = (message) => {
      const { id } = message as JSONRPCRequest;
      upstream.say({ jsonrpc: '2.0', id, error: { code: -32_000, message: 'no' } });
    };
    await expect(client.callTool({ name: 'x' })).rejects.toMatchObject({ code: -32_000 });
  });
});
