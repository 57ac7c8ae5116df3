// The fake connectors, as gateway authors use them: gates, records, calls that hang, methods of
// one's own. That they keep the port's contract is shown in `gated-connector.contract.test.ts`.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SessionPool } from 'mcp-session-pool';
import {
  type FakeClient,
  type Gate,
  type GatedConnector,
  type GatedConnectorOptions,
  gatedConnector,
  hungConnector,
  ManualClock,
} from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { TARGET, watch } from '../support/pool-fixture.ts';

interface Fakes {
  readonly clock: ManualClock;
  readonly connector: GatedConnector;
  readonly pool: SessionPool<FakeClient>;
}

const setUp = (options: GatedConnectorOptions<FakeClient> = {}, make = gatedConnector): Fakes => {
  const clock = new ManualClock();
  const connector = make<FakeClient>({ ...options, clock });
  return { clock, connector, pool: new SessionPool({ connector: connector.connect }, { clock }) };
};

describe('a gate', () => {
  const outcomes: [Gate, string, number][] = [
    ['ok', 'fulfilled', 0],
    ['fails', 'rejected', 0],
    ['throws', 'rejected', 0],
    ['slow', 'fulfilled', 250],
    ['held', 'pending', 0],
    ['never', 'pending', 0],
  ];

  test.each(outcomes)('open: %s comes to %s', async (open, state, afterMs) => {
    const { clock, connector, pool } = setUp({ gates: { open, slowMs: 250 } });
    const acquired = watch(pool.acquire(TARGET));
    await clock.advance(afterMs);
    expect(acquired.state).toBe(state);
    expect(connector.last.calls[0]).toMatchObject({ name: 'open', at: 1_000, order: 0 });
    expect(connector.last.calls[0]?.settledAt).toBe(
      state === 'pending' ? undefined : 1_000 + afterMs,
    );
  });

  test.each(outcomes)('call: %s comes to %s', async (call, state, afterMs) => {
    const { clock, connector, pool } = setUp({ gates: { call, slowMs: 250 } });
    const lease = await clock.waitFor(pool.acquire(TARGET));
    const called = watch(lease.client.call());
    await clock.advance(afterMs);
    expect(called.state).toBe(state);
    expect(lease.client.pendingCalls).toBe(state === 'pending' ? 1 : 0);
    expect(connector.last.count('call')).toBe(1);
    if (state === 'fulfilled') expect(called.got).toBe('session-0');
  });

  test('held is let go by the test, all of it or by name', async () => {
    const { clock, connector, pool } = setUp({ gates: { open: 'held', call: 'held' } });
    const acquired = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(connector.last.heldCalls).toEqual(['open']);
    expect(connector.last.let('ok', 'probe')).toBe(0);
    expect(connector.last.let('ok')).toBe(1);
    await clock.settle();
    const calls = [watch(acquired.got.client.call()), watch(acquired.got.client.call())];
    expect(connector.last.let('fails', 'call')).toBe(2);
    await clock.settle();
    expect(calls.map(({ error }) => error)).toEqual(
      Array(2).fill(new Error('the peer fails call')),
    );
    expect(connector.last.heldCalls).toEqual([]);
  });

  test('can be chosen for each open, and be changed later', async () => {
    const { clock, connector, pool } = setUp({
      gates: (open) => ({ open: open === 0 ? 'fails' : 'ok' }),
    });
    await expect(clock.waitFor(pool.acquire(TARGET))).rejects.toMatchObject({
      code: 'OPEN_FAILED',
    });
    const lease = await clock.waitFor(pool.acquire(TARGET));
    connector.gates = { open: 'never' };
    connector.last.gates.call = 'fails';
    await expect(lease.client.call()).rejects.toThrow('the peer fails call');
    const second = watch(pool.acquire(TARGET));
    await clock.settle();
    expect(second.state).toBe('pending');
    expect(connector.sessions).toHaveLength(3);
  });
});

describe('a call that hangs', () => {
  test('ends with its lease, as a real one does', async () => {
    const { clock, pool } = setUp({ gates: { call: 'never' } });
    const lease = await clock.waitFor(pool.acquire(TARGET));
    const called = watch(lease.client.call());
    lease.release();
    await clock.settle();
    expect([called.code, lease.client.pendingCalls]).toEqual(['LEASE_RELEASED', 0]);
    expect(await pool.use(TARGET, (client) => client.session.id)).toBe('session-0');
  });

  test('ends when the session is fenced, with the reason', async () => {
    const { clock, connector, pool } = setUp({ gates: { call: 'never' } });
    const lease = await clock.waitFor(pool.acquire(TARGET));
    const called = watch(lease.client.call());
    connector.last.lost.abort(new Error('the server is gone'));
    await clock.settle();
    expect(called.code).toBe('SESSION_LOST');
    expect(connector.last.count('sever')).toBe(1);
    expect(connector.live).toEqual([]);
  });

  test('does not outlive the session for clients that share it without a lease of their own', async () => {
    const { clock, connector, pool } = setUp({ gates: { call: 'never', lend: 'absent' } });
    const lease = await clock.waitFor(pool.acquire(TARGET));
    expect(lease.client).toBe(connector.last.client);
    const called = watch(lease.client.call());
    await clock.waitFor(pool.close());
    expect(called.state).toBe('rejected');
  });
});

describe('a hung connector', () => {
  test('opens, and acknowledges nothing after: the close is bounded, and says so', async () => {
    const { clock, connector, pool } = setUp({}, hungConnector);
    const lease = await clock.waitFor(pool.acquire(TARGET));
    const called = watch(lease.client.call());
    const startedAt = clock.now();
    const report = await clock.waitFor(pool.close());
    expect(report).toMatchObject({ sessions: 1, closed: 0, abandoned: 1 });
    expect(clock.now() - startedAt).toBe(5_000);
    expect(called.code).toBe('SESSION_LOST');
    const names = connector.calls.map(({ name }) => name);
    expect(names).toEqual([
      ...['open', 'lend', 'call', 'fence', 'terminate'],
      ...['clientClose', 'transportClose', 'sever'],
    ]);
    expect(clock.pendingCount).toBe(0);
  });

  test('never answers a probe', async () => {
    const clock = new ManualClock();
    const connector = hungConnector({ clock });
    const options = { connector: connector.connect, probeAfterIdleMs: 0, probeTimeoutMs: 400 };
    const pool = new SessionPool(options, { clock });
    await clock.waitFor(pool.use(TARGET, () => 'done'));
    await clock.advance(1);
    const lease = await clock.waitFor(pool.acquire(TARGET));
    expect(lease.reused).toBe(false);
    expect(connector.sessions[0]?.count('probe')).toBe(1);
  });

  test('takes gates of its own over those that hang', async () => {
    const gates = () => ({ terminate: 'ok', clientClose: 'ok' }) as const;
    for (const own of [gates(), gates]) {
      const { clock, connector, pool } = setUp({ gates: own }, hungConnector);
      await clock.waitFor(pool.use(TARGET, () => 'done'));
      const report = await clock.waitFor(pool.close());
      expect(report).toMatchObject({ abandoned: 1, unterminated: 0 });
      expect(connector.last.calls.find(({ name }) => name === 'clientClose')?.settledAt).toBe(
        1_000,
      );
    }
  });
});

describe('methods of the test', () => {
  test('make the client what the code under test knows', async () => {
    const clock = new ManualClock();
    const connector = gatedConnector<Client>({
      clock,
      methods: (fake) => ({
        listTools: async () => {
          const name = await fake.call();
          return { tools: [{ name, inputSchema: { type: 'object' as const } }] };
        },
      }),
    });
    const pool: SessionPool = new SessionPool({ connector: connector.connect }, { clock });
    const work = pool.use(TARGET, (client) => client.listTools());
    expect(await clock.waitFor(work)).toMatchObject({ tools: [{ name: 'session-0' }] });
    expect(connector.count('call')).toBe(1);
  });

  test('are asked for each client, and may replace close', async () => {
    const made: FakeClient[] = [];
    const clock = new ManualClock();
    const connector = gatedConnector<{ close(): Promise<void> }>({
      clock,
      methods: (fake) => {
        made.push(fake);
        return { close: () => Promise.reject(new Error('will not')) };
      },
    });
    const pool = new SessionPool({ connector: connector.connect }, { clock });
    await clock.waitFor(pool.use(TARGET, () => 'done'));
    expect(made.map(({ context }) => context === undefined)).toEqual([true, false]);
    await clock.waitFor(pool.close());
    expect(connector.count('clientClose')).toBe(0);
    expect(connector.count('transportClose')).toBe(1);
  });
});

test('a custom target takes a fake as well', async () => {
  const clock = new ManualClock();
  const { connect } = gatedConnector({ clock });
  const pool = new SessionPool({}, { clock });
  const target = { server: 'fake', identity: 'ada', connect };
  const id = pool.use(target, (client) => (client as unknown as FakeClient).call());
  expect(await clock.waitFor(id)).toBe('session-0');
  await clock.waitFor(pool.close());
});

test('the last session before any was opened is a mistake of the test', () => {
  expect(() => gatedConnector().last).toThrow('nothing was opened');
});
