// One session over any transport, without a pool: the order of its end, what its parts are told, and
// what a failed open leaves, on a clock that stands still.

import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { ManualClock } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import type { ConnectContext, SessionSettings } from '../../src/connect/connector.ts';
import { lentShared } from '../../src/connect/sdk-1.ts';
import { type TransportParts, TransportSession } from '../../src/connect/transport-session.ts';
import { lend } from '../support/http-sessions.ts';
import { ScriptedTransport, settle } from '../support/scripted-transport.ts';
import { testSettings } from '../support/session-settings.ts';

const over = new Error('taken down');
const never = (): Promise<never> => new Promise(() => {});

interface Options {
  readonly parts?: Partial<TransportParts>;
  readonly settings?: Partial<SessionSettings>;
  readonly context?: Partial<ConnectContext>;
}

/** A session that is not open yet, and a log of what its parts were told, in order. */
function makeSession({ parts, settings, context }: Options = {}) {
  const transport = new ScriptedTransport();
  const log: string[] = [];
  const close = transport.close.bind(transport);
  transport.close = () => {
    log.push('close');
    return close();
  };
  transport.onSend = (message: JSONRPCMessage) => {
    if ('method' in message && message.method === 'notifications/cancelled') log.push('cancel');
  };
  const clock = new ManualClock();
  const troubles: unknown[] = [];
  const onTrouble = (error: unknown): void => void troubles.push(error);
  const session = new TransportSession(
    {
      transport,
      fence: () => void log.push('fence'),
      terminate: async () => void log.push('terminate'),
      sever: () => void log.push('sever'),
      ...parts,
    },
    {
      signal: new AbortController().signal,
      key: 'key-1',
      settings: testSettings({}, { clock, onTrouble, ...settings }),
      headers: () => ({}),
      ...context,
    },
    lentShared(),
  );
  return { session, transport, log, clock, troubles };
}

async function openSession(options: Options = {}) {
  const made = makeSession(options);
  await made.session.open(new AbortController().signal);
  return made;
}

describe('an open that fails', () => {
  test('ends the server’s session, closes the transport once and leaves nothing', async () => {
    const { session, transport, log, troubles } = makeSession();
    transport.onSend = () => Promise.reject(new Error('no'));
    await expect(session.open(new AbortController().signal)).rejects.toThrow('no');
    expect(log).toEqual(['fence', 'terminate', 'close', 'sever']);
    expect(transport.onmessage).toBeUndefined();
    expect(troubles).toEqual([]);
  });

  test('by an abort rejects with its reason', async () => {
    const { session, transport, log } = makeSession();
    transport.answersHandshake = false;
    const controller = new AbortController();
    const opening = session.open(controller.signal);
    controller.abort(over);
    await expect(opening).rejects.toBe(over);
    expect(log).toEqual(['fence', 'terminate', 'close', 'sever']);
    expect(transport.count('notifications/cancelled')).toBe(0);
  });

  test('gives the DELETE a second and the rest of the time to the close', async () => {
    const { session, transport, log, clock, troubles } = makeSession({
      parts: { terminate: never },
      settings: { closeTimeoutMs: 5_000 },
    });
    transport.start = () => Promise.reject(new Error('no'));
    transport.close = () => {
      log.push('close');
      return never();
    };
    const outcome = session.open(new AbortController().signal).catch((error: unknown) => error);
    await settle();
    expect(log).toEqual(['fence']);
    await clock.advance(1_000);
    expect(log).toEqual(['fence', 'close']);
    await clock.advance(3_999);
    expect(log).toEqual(['fence', 'close']);
    await clock.advance(1);
    expect(log).toEqual(['fence', 'close', 'sever']);
    expect(await outcome).toMatchObject({ message: 'no' });
    // The caller is told why the open failed, and the pool of the rest.
    expect(troubles).toHaveLength(2);
    expect(clock.pendingCount).toBe(0);
  });

  test('rejects with its own cause though its parts throw', async () => {
    const bad = (what: string) => (): never => {
      throw new Error(`${what} threw`);
    };
    const parts = { terminate: bad('terminate'), sever: bad('sever') };
    const { session, transport, troubles } = makeSession({ parts });
    transport.start = bad('start');
    transport.close = bad('close');
    await expect(session.open(new AbortController().signal)).rejects.toThrow('start threw');
    expect(troubles.map((each) => (each as Error).message)).toEqual([
      'terminate threw',
      'close threw',
      'sever threw',
    ]);
  });
});

describe('the end of a session', () => {
  test('sends the cancels of calls in flight, then fences, terminates, closes and severs', async () => {
    const { session, log } = await openSession();
    const { client } = lend(session);
    const calls = [1, 2].map(() => client.listTools().catch((error: unknown) => error));
    await settle();
    session.fence(over);
    expect(log).toEqual(['cancel', 'cancel', 'fence']);
    for (const outcome of await Promise.all(calls)) {
      expect(outcome).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    }
    await session.terminate(new AbortController().signal);
    await session.client.close();
    await session.transport.close();
    session.sever(over);
    expect(log).toEqual(['cancel', 'cancel', 'fence', 'terminate', 'close', 'sever']);
    expect(session.lost.aborted).toBe(false);
  });

  test('terminates once the cancels have gone, and no later than it may', async () => {
    let letGo = (): void => {};
    const sendLastWord = (): Promise<void> =>
      new Promise((resolve) => {
        letGo = resolve;
      });
    const { session, log } = await openSession({ parts: { sendLastWord } });
    void lend(session)
      .client.listTools()
      .catch(() => {});
    await settle();
    session.fence(over);
    const terminating = session.terminate(new AbortController().signal);
    await settle();
    expect(log).toEqual(['fence']);
    letGo();
    await terminating;
    expect(log).toEqual(['fence', 'terminate']);
    const controller = new AbortController();
    const other = await openSession({ parts: { sendLastWord: never } });
    void lend(other.session)
      .client.listTools()
      .catch(() => {});
    await settle();
    other.session.fence(over);
    const late = other.session.terminate(controller.signal);
    controller.abort(over);
    await expect(late).rejects.toBe(over);
    expect(other.log).toEqual(['fence']);
  });

  test('tells no server of it that said itself that it knows the session no more', async () => {
    for (const [code, told] of [
      [404, []],
      [500, ['terminate']],
    ] as const) {
      const { session, transport, log } = await openSession();
      transport.onSend = () => Promise.reject(Object.assign(new Error('no'), { code }));
      await expect(lend(session).client.listTools()).rejects.toBeDefined();
      session.fence(over);
      await session.terminate(new AbortController().signal);
      expect(log.slice(1)).toEqual(told);
    }
  });

  test('lets go of lent clients though a part’s sever throws', async () => {
    const sever = (): never => {
      throw over;
    };
    const { session, transport } = await openSession({ parts: { sever } });
    const { client } = lend(session);
    const call = client.setLoggingLevel('debug').catch(() => 'rejected');
    await settle();
    expect(() => session.sever(over)).toThrow(over);
    expect(transport.onmessage).toBeUndefined();
    expect(await call).toBe('rejected');
    // It knows nothing of the client any more, and so not that it changed the server's state.
    expect(session.giveBack(client)).toBe('clean');
  });
});

test('more than is put up with while nobody leases ends the session, unless a part decides', async () => {
  const pour = (transport: ScriptedTransport): void => {
    for (let n = 0; n < 1_100; n += 1) transport.say({ jsonrpc: '2.0', method: 'notifications/x' });
  };
  const { session, transport } = await openSession();
  pour(transport);
  expect(session.lost.reason).toMatchObject({
    cause: { message: expect.stringMatching('flooded') },
  });
  let floods = 0;
  const onFlood = (): void => {
    floods += 1;
  };
  const other = await openSession({ parts: { onFlood } });
  pour(other.transport);
  expect([other.session.lost.aborted, floods]).toEqual([false, 100]);
});

test('an error that a part takes for a loss is one; without such a part none is', async () => {
  const { session, transport, troubles } = await openSession();
  transport.onerror?.(over);
  expect([session.lost.aborted, troubles]).toEqual([false, [over]]);
  const other = await openSession({ parts: { isLoss: (error) => error === over } });
  other.transport.onerror?.(new Error('another'));
  expect(other.session.lost.aborted).toBe(false);
  other.transport.onerror?.(over);
  expect(other.session.lost.reason).toMatchObject({ code: 'SESSION_LOST', cause: over });
});

test('a server’s request goes where the origin of its message says', async () => {
  const parts: Partial<TransportParts> = {
    originOf: (message) => ('method' in message ? (message.params?.['from'] as number) : undefined),
  };
  const settings = { exclusive: false };
  const { session, transport } = await openSession({ parts, settings });
  const heard: string[] = [];
  const lease = (name: string) =>
    lend(session, { onNotification: () => void heard.push(name) }).client;
  const [one, other] = [lease('one'), lease('other')];
  void one.listTools().catch(() => {});
  void other.listTools().catch(() => {});
  await settle();
  const id = transport.requests('tools/list')[1]?.id;
  transport.say({ jsonrpc: '2.0', method: 'notifications/x', params: { from: id } });
  await settle();
  expect(heard).toEqual(['other']);
  session.sever(over);
});

test('the pool is told of worn sessions, and of servers that ask for a pause', async () => {
  const told: unknown[] = [];
  const context = {
    worn: () => void told.push('worn'),
    throttled: (ms: number) => void told.push(ms),
  };
  const { session, transport } = await openSession({ context, settings: { exclusive: false } });
  const { client } = lend(session);
  const throttle = { status: 429, retryAfterMs: 7_000 };
  const reset = { code: 'ECONNRESET' };
  for (const each of [throttle, reset]) {
    transport.onSend = () => Promise.reject(Object.assign(new Error('no'), each));
    await expect(client.listTools()).rejects.toBeDefined();
  }
  expect(told).toEqual([7_000, 'worn']);
  expect(session.lost.aborted).toBe(false);
});
