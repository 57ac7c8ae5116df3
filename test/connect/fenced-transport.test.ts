// A transport of others in its session's hands: when it counts as closed, what its server is told
// last, and what is left on the network once it is cut.

import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, test, vi } from 'vitest';
import { createFence } from '../../src/connect/fence.ts';
import { FencedTransport, fencedFetch } from '../../src/connect/fenced-transport.ts';
import { LeaseHeaders } from '../../src/connect/lease-headers.ts';
import { Dispatchers } from '../../src/http/dispatchers.ts';
import { ScriptedTransport, settle } from '../support/scripted-transport.ts';
import { HUNG, stateOf, URL_OF_SERVER } from '../support/stubbed-fence.ts';

const over = new Error('over');

/** A transport over a script, and a fence over a fetch that never answers and notes its signals. */
function scene(inner = new ScriptedTransport()) {
  const signals: AbortSignal[] = [];
  const fence = createFence({
    fetch: (_url, init) => {
      signals.push(init?.signal as AbortSignal);
      return HUNG;
    },
  });
  const headers = new LeaseHeaders(() => ({}));
  const hold = new Dispatchers({ connectTimeoutMs: 1_000 }).hold();
  const transport = new FencedTransport(inner, { fence, headers, hold });
  return { inner, transport, fence, headers, hold, signals };
}

describe('a close', () => {
  test('of an open transport settles once that has said so as well', async () => {
    const { inner, transport } = scene();
    const onclose = vi.fn();
    transport.onclose = onclose;
    await transport.start();
    inner.close = async () => {};
    const closing = transport.close();
    expect(await stateOf(closing)).toBe('pending');
    inner.onclose?.();
    await closing;
    expect(onclose).toHaveBeenCalledTimes(1);
  });

  test.each<[string, (inner: ScriptedTransport) => unknown]>([
    ['was never started', () => undefined],
    ['could not start', (inner) => (inner.start = () => Promise.reject(over))],
    ['never finished to start', (inner) => (inner.start = () => HUNG)],
    ['closed as it started', (inner) => (inner.start = async () => inner.onclose?.())],
  ])('of a transport that %s waits for no word of it', async (how, prepare) => {
    const { inner, transport } = scene();
    prepare(inner);
    inner.close = async () => {};
    if (how !== 'was never started') void transport.start().catch(() => {});
    await settle();
    await expect(transport.close()).resolves.toBeUndefined();
  });

  test('of a transport that closed by itself before waits for no second word', async () => {
    const { inner, transport } = scene();
    await transport.start();
    inner.onclose?.();
    inner.close = async () => {};
    await expect(transport.close()).resolves.toBeUndefined();
  });

  test('that fails, fails', async () => {
    const { inner, transport } = scene();
    await transport.start();
    inner.close = () => Promise.reject(over);
    await expect(transport.close()).rejects.toBe(over);
  });
});

describe('the last words', () => {
  const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled' } as const;

  test('are the session’s end where the transport can tell it, else the cancels of calls', async () => {
    const { inner, transport } = scene();
    const { signal } = new AbortController();
    const terminateSession = vi.fn(async () => {});
    await transport.sendLastWord(cancel);
    await transport.terminate(signal);
    Object.assign(inner, { terminateSession });
    // No session to end: it gave no id.
    await transport.sendLastWord(cancel);
    await transport.terminate(signal);
    expect([inner.sent.length, terminateSession.mock.calls.length]).toEqual([2, 0]);
    inner.sessionId = 'session-1';
    await transport.sendLastWord(cancel);
    await transport.terminate(signal);
    expect([inner.sent.length, terminateSession.mock.calls.length]).toEqual([2, 1]);
  });

  test('take no longer than they may', async () => {
    const inner = Object.assign(new ScriptedTransport(), { terminateSession: () => HUNG });
    inner.sessionId = 'session-1';
    const { transport } = scene(inner);
    const controller = new AbortController();
    const terminating = transport.terminate(controller.signal);
    controller.abort(over);
    await expect(terminating).rejects.toBe(over);
  });

  test('pass the armed fence, and nothing else does', async () => {
    const { fence, signals } = scene();
    const fetch = fencedFetch(fence);
    const post = (message: unknown): Promise<Response> =>
      fetch(URL_OF_SERVER, { method: 'POST', body: JSON.stringify(message) });
    fence.arm(over);
    void post({ ...cancel, params: { requestId: 7 } }).catch(() => {});
    void fetch(URL_OF_SERVER, { method: 'delete' }).catch(() => {});
    expect(signals).toHaveLength(2);
    await expect(post({ jsonrpc: '2.0', method: 'tools/list', id: 8 })).rejects.toBe(over);
    await expect(post({ jsonrpc: '2.0', method: 'notifications/x' })).rejects.toBe(over);
    expect(await stateOf(fetch(URL_OF_SERVER))).toBe('pending');
    expect(signals).toHaveLength(2);
    fence.abortAll();
  });
});

test('a cut aborts what is under way and shuts every way out, though the transport closes nothing', async () => {
  const { inner, transport, fence, hold, signals } = scene();
  await transport.start();
  const heard = vi.fn();
  transport.onmessage = heard;
  const posted = fence.fetch(URL_OF_SERVER, { method: 'POST', body: '{}' });
  transport.sever(over);
  await expect(posted).rejects.toBe(over);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  await expect(fencedFetch(fence)(URL_OF_SERVER, { method: 'DELETE' })).rejects.toBe(over);
  expect(() => hold.for('http://127.0.0.1:1')).toThrow(over);
  expect(inner.onmessage).toBeUndefined();
  expect(heard).not.toHaveBeenCalled();
});

test('a cut lets go of the leases whose messages never went', async () => {
  const { inner, transport, headers } = scene();
  inner.send = () => HUNG;
  const request = { jsonrpc: '2.0', id: 1, method: 'tools/list' } as const;
  void transport.send(request, { headers: () => ({ 'x-who': 'lease' }) });
  const who = async (): Promise<unknown> => {
    let seen: unknown;
    const fetch = headers.over(async (_url, init) => {
      seen = new Headers(init?.headers).get('x-who');
      return new Response();
    });
    await fetch(URL_OF_SERVER, { method: 'POST', body: JSON.stringify(request) });
    return seen;
  };
  expect(await who()).toBe('lease');
  transport.sever(over);
  expect(await who()).toBeNull();
});

test('a transport that somebody else listens to is refused', () => {
  const inner = new ScriptedTransport();
  inner.onmessage = (_message: JSONRPCMessage) => {};
  expect(() => scene(inner)).toThrow('Expected a transport of its own for each session');
});
