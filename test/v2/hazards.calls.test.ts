// The rows of the hazards table that a call can meet, with clients of SDK 2 and in both eras: each
// ends for its caller in time, and leaves nothing behind. The SDK's own behaviour is in the table.

import { describe, expect, test, vi } from 'vitest';
import { resultOf } from '../support/modern-server.ts';
import { beginEvents, eventOf, pause, type RawExchange, until } from '../support/raw-server.ts';
import { ERAS, useSdk2Scenes } from '../support/sdk2-scene.ts';

const scene = useSdk2Scenes();
const call = { name: 'x' };
const hold = (each: RawExchange): void => void beginEvents(each);
const hang = (): void => {};
/** Ends the stream of a call at once, after `text`. */
const endWith =
  (text: string) =>
  (each: RawExchange): void =>
    void beginEvents(each, text).end();
const answer = ({ message }: RawExchange): string =>
  eventOf({ jsonrpc: '2.0', id: message.id, result: resultOf({ content: [] }) });

describe.each(ERAS)('in the %s era', (era) => {
  // Row 11.
  test.each([
    ['no answer at all', hang],
    ['a stream that says nothing', hold],
  ])('50 calls that are given up on, with %s, keep no socket', async (_, handler) => {
    const { server, pool, target } = await scene(era, { 'tools/call': handler });
    const lease = await pool.acquire(target);
    for (let batch = 0; batch < 2; batch += 1) {
      const controller = new AbortController();
      const { signal } = controller;
      const calls = Array.from({ length: 25 }, (_each, n) =>
        // Half of them by their own timeout.
        lease.client.callTool(call, n < 12 ? { signal } : { timeout: 1_000 }),
      );
      const settled = Promise.allSettled(calls);
      await until(() => server.count('POST', 'tools/call') === 25 * (batch + 1));
      controller.abort(new Error('enough'));
      const outcomes = await settled;
      expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    }
    await until(() => server.openSockets <= 16);
    await until(() => server.pending === 0);
    const cancels = (): number => server.count('POST', 'notifications/cancelled');
    if (era === 'handshake') await until(() => cancels() === 50);
    else expect(cancels()).toBe(0);
  });

  // Row 11b.
  test('a call that is given up on is not resumed, whatever its stream said', async () => {
    const text = 'retry: 0\nid: c1\ndata:\n\n';
    const { server, pool, target } = await scene(era, {
      'tools/call': (each) => beginEvents(each, text),
      GET: hold,
    });
    const lease = await pool.acquire(target);
    const controller = new AbortController();
    const given = lease.client.callTool(call, { signal: controller.signal });
    const rejected = expect(given).rejects.toThrow(/enough/);
    await until(() => server.count('POST', 'tools/call') === 1);
    await pause(30);
    controller.abort(new Error('enough'));
    await rejected;
    await until(() => server.pending === 0);
    await pause(100);
    expect(server.count('GET')).toBe(0);
  });

  // Row 11c.
  test('a call whose stream ends before its answer fails at once', async () => {
    const { server, pool, target } = await scene(era, { 'tools/call': endWith(': nothing\n\n') });
    const lease = await pool.acquire(target);
    await expect(lease.client.callTool(call)).rejects.toMatchObject({ execution: 'unknown' });
    expect(server.count('POST', 'tools/call')).toBe(1);
    // Without a session there is nothing to lose by it.
    expect(lease.signal.aborted).toBe(era === 'handshake');
  });

  // Row 10d.
  test('a line without an end is read up to the bound, and no further', async () => {
    let written = 0;
    const flood = (each: RawExchange): void => {
      const response = beginEvents(each, 'data: ');
      const more = (): void => {
        if (response.destroyed) return;
        written += 65_536;
        response.write('x'.repeat(65_536), () => setImmediate(more));
      };
      more();
    };
    const maxMessageBytes = 1_048_576;
    const { pool, target, server } = await scene(era, { 'tools/call': flood }, { maxMessageBytes });
    const lease = await pool.acquire(target);
    await expect(lease.client.callTool(call)).rejects.toMatchObject({
      ...(era === 'handshake'
        ? { code: 'SESSION_LOST', cause: { code: 'MESSAGE_TOO_LARGE' } }
        : { code: 'MESSAGE_TOO_LARGE' }),
    });
    await until(() => server.openSockets <= 1);
    // What the sockets had taken by then comes on top.
    expect(written).toBeLessThan(16 * maxMessageBytes);
  });

  // Row 10b.
  test('what a server floods an answered call with reaches nobody', async () => {
    const notification = eventOf({
      jsonrpc: '2.0',
      method: 'notifications/message',
      params: { level: 'info', data: 'x'.repeat(99) },
    });
    const flood = (each: RawExchange): void => {
      const response = beginEvents(each, answer(each));
      const more = (): void => {
        if (response.destroyed) return;
        response.write(notification.repeat(100), () => setTimeout(more, 1));
      };
      more();
    };
    const { server, pool, target } = await scene(era, { 'tools/call': flood });
    const heard = vi.fn();
    await pool.use(target, async (client) => {
      client.setNotificationHandler('notifications/message', heard);
      await client.callTool(call);
    });
    const atEnd = heard.mock.calls.length;
    await until(() => server.pending === 0, 2_000);
    expect(heard.mock.calls.length).toBe(atEnd);
    await pool.close();
    await until(() => server.openSockets === 0);
  });

  // Row 14d.
  test('handlers that throw break neither their own lease nor the next', async () => {
    const { pool, target } = await scene(era, {
      'tools/call': (each) => {
        const params = { level: 'info', data: 'x' };
        const message = { jsonrpc: '2.0', method: 'notifications/message', params };
        beginEvents(each, eventOf(message) + answer(each)).end();
      },
    });
    const explode = (): never => {
      throw new Error('from a handler');
    };
    const client = await pool.use(target, async (lent) => {
      lent.onclose = explode;
      lent.setNotificationHandler('notifications/message', explode);
      const hanging = lent.callTool(call);
      await hanging;
      return lent;
    });
    await expect(client.callTool(call)).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    await pool.use(target, (next) => next.callTool(call));
    expect(pool.stats().totals.opened).toBe(1);
  });

  // Row 6d.
  test('no clock of the HTTP client ends a call that is silent for long', async () => {
    const seen: { bodyTimeout?: unknown; headersTimeout?: unknown }[] = [];
    const { Agent } = await import('undici');
    const agent = new Agent();
    const dispatcher = new Proxy(agent, {
      get: (of, name) => {
        if (name !== 'dispatch') return Reflect.get(of, name, of) as unknown;
        return (options: Parameters<typeof agent.dispatch>[0], handler: never) => {
          seen.push(options);
          return agent.dispatch(options, handler);
        };
      },
    });
    const { pool, target } = await scene(era, {}, { dispatcher });
    await pool.use(target, (client) => client.callTool(call));
    await pool.close();
    await agent.destroy();
    expect(seen.length).toBeGreaterThan(1);
    for (const each of seen) expect(each).toMatchObject({ bodyTimeout: 0, headersTimeout: 0 });
  });

  // Row 2b.
  test('nothing of a session is rooted whose calls were hung when it closed', async () => {
    const { server, pool, target } = await scene(era, { 'tools/call': hold });
    const refs: WeakRef<object>[] = [];
    for (let n = 0; n < 10; n += 1) {
      const lease = await pool.acquire({ ...target, identity: `user-${n}` });
      refs.push(new WeakRef(lease.client), new WeakRef(lease));
      lease.client.callTool(call).catch(() => {});
    }
    await until(() => server.count('POST', 'tools/call') === 10);
    await pool.close();
    await until(() => server.openSockets === 0);
    for (let n = 0; n < 10; n += 1) {
      await pause(10);
      globalThis.gc?.();
    }
    expect(refs.filter((each) => each.deref() !== undefined).length).toBeLessThanOrEqual(2);
  });
});
