// Transports that misbehave on purpose, through a real pool: whatever they do, an acquire and a
// close settle in time, nobody's rejection goes unhandled, and the pool goes on.

import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import {
  type CloseReport,
  type CustomTarget,
  createTransportConnector,
  SessionPool,
  type SessionPoolOptions,
  type SessionTransport,
} from 'mcp-session-pool';
import { describe, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { inMemoryServers } from '../support/in-memory-server.ts';
import { pause, until } from '../support/raw-server.ts';
import { ScriptedTransport, settle } from '../support/scripted-transport.ts';

const closing = closeAfterEach();
/** Long enough for a good transport on a busy machine. */
const GOOD_OPEN_MS = 2_000;
const OPEN_MS = 300;
const CLOSE_MS = 300;
/** How far the event loop may lag on a busy machine. */
const LAG_MS = 1_000;

const never = (): Promise<never> => new Promise(() => {});
const fails = (what: string) => async (): Promise<never> => {
  throw new Error(`${what} failed`);
};
const throws = (what: string) => (): never => {
  throw new Error(`${what} threw`);
};

type Act = (transport: ScriptedTransport) => unknown;

const STARTS: Readonly<Record<string, Act>> = {
  ok: async () => {},
  never,
  fails: fails('start'),
  throws: throws('start'),
  'closes at once': async (transport) => transport.onclose?.(),
};
const SENDS: Readonly<Record<string, Act>> = {
  ok: async () => {},
  never,
  fails: fails('send'),
  throws: throws('send'),
};
const CLOSES: Readonly<Record<string, Act>> = {
  ok: async (transport) => transport.onclose?.(),
  never,
  fails: fails('close'),
  throws: throws('close'),
  'tells twice': async (transport) => {
    transport.onclose?.();
    transport.onclose?.();
  },
  'tells nobody': async () => {},
};

interface Acts {
  readonly start?: Act | undefined;
  readonly send?: Act | undefined;
  readonly close?: Act | undefined;
}

/** A transport whose parts do as they are told. Calls are sent as `send` says, and are answered. */
function hostile(acts: Acts): ScriptedTransport {
  const transport = new ScriptedTransport();
  const { start, send, close } = acts;
  const carry = transport.send.bind(transport);
  if (start !== undefined) transport.start = () => start(transport) as Promise<void>;
  if (close !== undefined) {
    transport.close = () => {
      transport.closed += 1;
      return close(transport) as Promise<void>;
    };
  }
  transport.send = (message: JSONRPCMessage) => {
    // The handshake goes well, or no call would come.
    const isCall = 'id' in message && 'method' in message && message.method !== 'initialize';
    if (send !== undefined && isCall) return send(transport) as Promise<void>;
    return carry(message);
  };
  transport.onSend = (message) => {
    const isCall = 'id' in message && 'method' in message && message.method !== 'initialize';
    if (isCall) queueMicrotask(() => transport.answer(message as never, { tools: [] }));
  };
  return transport;
}

const targetOf = (make: () => Transport | SessionTransport | Promise<Transport>): CustomTarget => ({
  server: 'hostile',
  identity: 'ada',
  connect: createTransportConnector(make),
});

const newPool = (options: SessionPoolOptions = {}): SessionPool =>
  new SessionPool({
    connectTimeoutMs: OPEN_MS,
    closeTimeoutMs: CLOSE_MS,
    breaker: false,
    ...options,
  });

/** Acquires, calls, releases and closes; sees to the promises that hold whatever a peer does. */
async function live(
  target: CustomTarget,
  pool: SessionPool = newPool(),
): Promise<{ opened: boolean; report: CloseReport }> {
  const lease = await pool.acquire(target, { timeoutMs: 5_000 }).catch((error: unknown) => {
    expect(error).toMatchObject({ code: 'OPEN_FAILED' });
    return undefined;
  });
  const called = lease?.client.listTools(undefined, { timeout: 50 }).catch(() => 'rejected');
  await called;
  lease?.release();
  const report = await pool.close();
  expect(report.durationMs).toBeLessThan(CLOSE_MS + 250 + LAG_MS);
  expect(report.sessions).toBe(report.closed + report.abandoned);
  expect(pool.stats().sessions).toEqual({ opening: 0, probing: 0, idle: 0, leased: 0, closing: 0 });
  return { opened: lease !== undefined, report };
}

describe('whatever start, send and close do', () => {
  const gates = Object.keys(STARTS).flatMap((start) =>
    Object.keys(SENDS).flatMap((send) =>
      Object.keys(CLOSES).map((close) => ({ start, send, close })),
    ),
  );

  test('an open fails or a session is lent, and the close settles in time', {
    timeout: 30_000,
  }, async () => {
    const lives = gates.map(async ({ start, send, close }) => {
      const acts = { start: STARTS[start], send: SENDS[send], close: CLOSES[close] };
      const made: ScriptedTransport[] = [];
      const target = targetOf(() => {
        made.push(hostile(acts));
        return made.at(-1) as Transport;
      });
      const { opened, report } = await live(target, newPool({ connectTimeoutMs: GOOD_OPEN_MS }));
      const isAbandoned = opened && (close === 'never' || close === 'tells nobody');
      expect({
        start,
        send,
        close,
        opened,
        report,
        closed: made.map(({ closed }) => closed),
      }).toMatchObject({
        opened: start === 'ok',
        report: { sessions: opened ? 1 : 0, abandoned: isAbandoned ? 1 : 0 },
        // Once each, whatever it did.
        closed: [1],
      });
      // Nothing of the session is held by what may be held by others.
      const { onmessage, onerror, onclose } = made[0] as ScriptedTransport;
      expect([onmessage, onerror, onclose]).toEqual([undefined, undefined, undefined]);
    });
    await Promise.all(lives);
    expect(lives).toHaveLength(120);
  });

  test('another target of the same pool is served as if nothing was', async () => {
    const pool = closing(newPool({ connectTimeoutMs: GOOD_OPEN_MS }));
    const servers = inMemoryServers();
    const bad = gates
      .filter(({ start }) => start !== 'ok')
      .map(({ start, close }, n) => {
        const make = (): Transport => hostile({ start: STARTS[start], close: CLOSES[close] });
        return pool.acquire({ ...targetOf(make), identity: `bad ${n}` }).catch(() => 'failed');
      });
    const tools = await pool.use(servers.target, (client) => client.listTools());
    expect(tools.tools.length).toBeGreaterThan(0);
    expect(new Set(await Promise.all(bad))).toEqual(new Set(['failed']));
  });
});

describe('a factory', () => {
  test('that never settles fails the open in time, and holds up no close', async () => {
    const { opened, report } = await live(targetOf(never));
    expect([opened, report.sessions]).toEqual([false, 0]);
  });

  test('that settles late has its transport closed, which was never started', async () => {
    const transport = hostile({});
    const start = vi.spyOn(transport, 'start');
    const pool = closing(newPool());
    const target = targetOf(() => pause(OPEN_MS + 100).then(() => transport));
    await expect(pool.acquire(target)).rejects.toMatchObject({ kind: 'timeout' });
    await until(() => transport.closed === 1);
    expect(start).not.toHaveBeenCalled();
  });

  test('that hears of the abort can let go of what it began', async () => {
    const aborted: unknown[] = [];
    const pool = closing(newPool());
    const connect = createTransportConnector(({ signal }) => {
      signal.addEventListener('abort', () => aborted.push(signal.reason));
      return never();
    });
    await expect(pool.acquire({ server: 's', identity: 'ada', connect })).rejects.toBeDefined();
    expect(aborted).toHaveLength(1);
  });
});

describe('what a transport says', () => {
  async function opened(
    extra: Omit<SessionTransport, 'transport'> = {},
    options: SessionPoolOptions = {},
  ) {
    const transport = hostile({});
    const pool = closing(newPool({ connectTimeoutMs: GOOD_OPEN_MS, ...options }));
    const lease = await pool.acquire(targetOf(() => ({ transport, ...extra })));
    return { transport, pool, lease };
  }

  const cyclic: Record<string, unknown> = { jsonrpc: '2.0', method: 'notifications/x' };
  cyclic['params'] = cyclic;
  const unreadable = new Proxy({}, { get: throws('get'), has: throws('has') });
  const GARBAGE: readonly unknown[] = [
    ...[undefined, null, 7, 'text', true, Symbol('s'), 7n, [], {}, () => {}],
    ...[
      { jsonrpc: '2.0' },
      { id: 1e9, result: {} },
      { id: {}, result: 1 },
      { id: null, error: null },
    ],
    ...[{ method: null }, { method: 5, id: 3 }, { method: 'ping', id: {} }, cyclic, unreadable],
    { jsonrpc: '2.0', method: 'notifications/progress', params: null },
    { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: unreadable } },
  ];

  test('garbage is ignored or reported; the lease and idle sessions go on', async () => {
    const { transport, pool, lease } = await opened();
    for (const each of GARBAGE) transport.say(each as never);
    await expect(lease.client.listTools()).resolves.toEqual({ tools: [] });
    lease.release();
    for (const each of GARBAGE) transport.say(each as never);
    await settle();
    expect(pool.stats()).toMatchObject({ sessions: { idle: 1 } });
    expect(pool.stats().totals.troubles).toBeGreaterThan(5);
    expect(await pool.use(targetOf(never), (client) => client.listTools())).toEqual({ tools: [] });
  });

  test('a storm of errors is counted, told a few times, and ends nothing', async () => {
    const told: unknown[] = [];
    const onEvent = ({ type }: { type: string }): void => {
      if (type === 'session-trouble') told.push(type);
    };
    const { transport, pool, lease } = await opened({}, { onEvent });
    for (let n = 0; n < 100_000; n += 1) transport.onerror?.(new Error(`trouble ${n}`));
    for (const each of [undefined, null, 'text', unreadable]) transport.onerror?.(each as never);
    expect(pool.stats().totals.troubles).toBeGreaterThanOrEqual(100_004);
    await expect(lease.client.listTools()).resolves.toEqual({ tools: [] });
    expect(lease.signal.aborted).toBe(false);
    expect(told.length).toBeLessThan(10);
  });

  test('an error that `isLoss` takes for one ends the session; what it throws itself does not', async () => {
    const isLoss = (error: unknown): boolean => {
      if (error === 'throw') throw new Error('isLoss threw');
      return error === 'lost';
    };
    const { transport, pool, lease } = await opened({ isLoss });
    for (const each of ['other', 'throw']) transport.onerror?.(each as never);
    expect(lease.signal.aborted).toBe(false);
    expect(pool.stats().totals.troubles).toBe(3);
    transport.onerror?.('lost' as never);
    expect(lease.signal.reason).toMatchObject({ code: 'SESSION_LOST' });
  });

  test('its end is told once, however often it is said, also after the close', async () => {
    const { transport, pool, lease } = await opened();
    const { onclose } = transport;
    for (let n = 0; n < 3; n += 1) onclose?.();
    expect(lease.signal.aborted).toBe(true);
    await until(() => pool.stats().totals.closed === 1);
    onclose?.();
    transport.onclose?.();
    expect(transport.closed).toBe(1);
    expect(pool.stats().totals.closed).toBe(1);
  });

  test('a session id that changes is the one that is ended, and `terminate` may be one’s own', async () => {
    const ended: unknown[] = [];
    const { transport, pool, lease } = await opened({
      terminate: async () => void ended.push(transport.sessionId),
    });
    transport.sessionId = 'session-2';
    expect(lease.sessionId).toBe('session-2');
    expect(await pool.close()).toMatchObject({ closed: 1, unterminated: 0 });
    expect(ended).toEqual(['session-2']);
  });

  test.each([
    ['never settles', never, 'unterminated'],
    ['rejects', fails('terminate'), 'unterminated'],
    ['throws', throws('terminate'), 'unterminated'],
  ])(
    'a `terminate` that %s is counted, and the rest of the end comes in time',
    async (_, terminate) => {
      const severed: unknown[] = [];
      const { transport, pool } = await opened({
        terminate,
        sever: (reason) => severed.push(reason),
      });
      const report = await pool.close();
      expect(report).toMatchObject({ closed: 1, unterminated: 1 });
      expect(report.durationMs).toBeLessThan(CLOSE_MS + 250 + LAG_MS);
      expect([transport.closed, severed.length]).toEqual([1, 1]);
    },
  );

  test('a `sever` that throws harms nobody, in a close and in a failed open', async () => {
    const { pool } = await opened({ sever: throws('sever') });
    expect(await pool.close()).toMatchObject({ closed: 1 });
    const failing = hostile({ start: fails('start') });
    const other = closing(newPool());
    const target = targetOf(() => ({ transport: failing, sever: throws('sever') }));
    await expect(other.acquire(target)).rejects.toMatchObject({
      cause: { message: 'start failed' },
    });
    expect(failing.onmessage).toBeUndefined();
  });
});

// Row 14d.
test('callbacks of a lease’s client that throw break neither the session nor the process', async () => {
  const transport = hostile({});
  const pool = closing(newPool({ connectTimeoutMs: GOOD_OPEN_MS, leasesPerSession: 2 }));
  const target = targetOf(() => transport);
  const [one, other] = await Promise.all([pool.acquire(target), pool.acquire(target)]);
  one.client.onclose = throws('onclose');
  one.client.fallbackNotificationHandler = throws('handler');
  transport.say({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
  await expect(other.client.listTools()).resolves.toEqual({ tools: [] });
  transport.onclose?.();
  await settle();
  expect([one.signal.aborted, other.signal.aborted]).toEqual([true, true]);
  expect(await pool.close()).toMatchObject({ abandoned: 0 });
});
