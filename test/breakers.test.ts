// What a pool keeps of circuits: no more than it must, for no longer than it must.

import { ManualClock } from 'mcp-session-pool/testing';
import { describe, expect, test, vi } from 'vitest';
import type { Gate, GatedKey } from '../src/breaker-gate.ts';
import { Breakers } from '../src/breakers.ts';
import type { TargetKey } from '../src/key-maker.ts';
import type { PoolEvent } from '../src/observe/events.ts';
import { KeyReporter } from '../src/observe/key-reporter.ts';
import { noTotals } from '../src/observe/metrics.ts';
import { Outbox } from '../src/observe/outbox.ts';
import type { KeyId } from '../src/policy/session-key.ts';
import { as, BOB } from './support/breaker-fixture.ts';
import { makePool, type Outcome, targetOf, watch } from './support/pool-fixture.ts';

const MEMORY_MS = 60_000;
const refused = { vote: 'failure', scope: 'endpoint+identity' } as const;
const down = { vote: 'failure', scope: 'endpoint' } as const;

function makeBreakers(maxDeserted = 1_000) {
  const clock = new ManualClock();
  const events: PoolEvent[] = [];
  const outbox = new Outbox(clock, (event) => events.push(event), undefined);
  const due: number[] = [];
  const breakers = new Breakers({
    rules: { failureThreshold: 2, resetAfterMs: 1_000 },
    maxDeserted,
    random: () => 0.5,
    isDueAt: (at) => due.push(at),
  });
  const keyOf = (identity: string, endpoint = 'one'): TargetKey => ({
    id: `${endpoint} ${identity}` as KeyId,
    label: identity,
    server: endpoint,
    endpoint,
    identity,
    caller: `${endpoint} ${identity}`,
    affinity: undefined,
    leasesPerSession: undefined,
    isProcess: false,
  });
  const advanced: string[] = [];
  const gateOf = (key: TargetKey): Gate => {
    const gated: GatedKey = {
      key,
      report: new KeyReporter(noTotals(), outbox, key),
      forgive: () => undefined,
      advance: () => void advanced.push(key.label),
    };
    return breakers.gateFor(gated);
  };
  const fail = (gate: Gate, now: number, verdict: typeof refused | typeof down = refused): void => {
    const { label: key, server } = gate.key.key;
    const kind = 'other' as const;
    const details = { key, server, kind, status: undefined, elapsedMs: 0, cause: undefined };
    gate.failed(gate.begin(now, 100), details, verdict, now);
  };
  return { breakers, clock, events, due, keyOf, gateOf, fail, advanced };
}

describe('circuits', () => {
  test('are shared by all keys of an endpoint, and of a caller there', () => {
    const { keyOf, gateOf } = makeBreakers();
    const [ada, bob] = [gateOf(keyOf('ada')), gateOf(keyOf('bob'))];
    const again = gateOf({ ...keyOf('ada'), id: 'with affinity' as KeyId });
    expect(bob.endpoint).toBe(ada.endpoint);
    expect(bob.caller).not.toBe(ada.caller);
    expect(again.caller).toBe(ada.caller);
    expect(gateOf(keyOf('ada', 'two')).endpoint).not.toBe(ada.endpoint);
  });

  test('that know nothing are dropped with their last key', () => {
    const { breakers, keyOf, gateOf } = makeBreakers();
    gateOf(keyOf('ada'));
    gateOf(keyOf('bob'));
    expect(breakers.size).toBe(3);
    breakers.leave(keyOf('ada'));
    expect(breakers.size).toBe(2);
    breakers.leave(keyOf('bob'));
    expect(breakers.size).toBe(0);
    expect(breakers.dueAt).toBe(Number.POSITIVE_INFINITY);
  });

  test('that know something are kept over the life of a key, and then forgotten', () => {
    const { breakers, due, keyOf, gateOf, fail } = makeBreakers();
    fail(gateOf(keyOf('ada')), 10);
    breakers.leave(keyOf('ada'));
    expect(breakers.size).toBe(1);
    fail(gateOf(keyOf('ada')), 500);
    breakers.leave(keyOf('ada'));
    expect(breakers.counts).toEqual({ open: 1, halfOpen: 0 });
    expect(gateOf(keyOf('ada')).allowed(600)).toBe(0);
    breakers.leave(keyOf('ada'));
    // Not before: 1,500 is the end of the pause.
    expect(due).toEqual([61_000]);
    breakers.tick(61_000);
    expect(breakers.size).toBe(1);
    expect(due).toEqual([61_000, 62_000]);
    breakers.tick(61_999);
    expect(breakers.size).toBe(1);
    breakers.tick(62_000);
    expect(breakers.size).toBe(0);
    expect(breakers.counts).toEqual({ open: 0, halfOpen: 0 });
    expect(breakers.dueAt).toBe(Number.POSITIVE_INFINITY);
  });

  test('that still concern a key are closed when they are forgotten', async () => {
    const { breakers, clock, events, keyOf, gateOf, fail, advanced } = makeBreakers();
    const ada = gateOf(keyOf('ada'));
    fail(ada, 10);
    fail(ada, 500);
    breakers.settle();
    expect(advanced).toEqual(['ada']);
    breakers.tick(500 + 1_000 + MEMORY_MS + 1_000);
    breakers.settle();
    expect(ada.allowed(0)).toBe(Number.POSITIVE_INFINITY);
    expect(advanced).toEqual(['ada', 'ada']);
    expect(breakers.size).toBe(2);
    await clock.settle();
    expect(events.map(({ type }) => type)).toEqual(['circuit-opened', 'circuit-closed']);
  });

  test('of any number of callers who were refused do not grow without bound', async () => {
    const { breakers, clock, events, keyOf, gateOf, fail } = makeBreakers(10);
    for (let index = 0; index < 1_000; index += 1) {
      const gate = gateOf(keyOf(`stranger ${index}`));
      fail(gate, index * 100);
      fail(gate, index * 100 + 60);
      breakers.leave(gate.key.key);
      expect(breakers.size).toBeLessThanOrEqual(10);
    }
    expect(breakers.counts).toEqual({ open: 10, halfOpen: 0 });
    await clock.settle();
    const count = (type: string): number => events.filter((event) => event.type === type).length;
    expect([count('circuit-opened'), count('circuit-closed')]).toEqual([1_000, 990]);
  });

  test('of endpoints are not forgotten because of callers', () => {
    const { breakers, keyOf, gateOf, fail } = makeBreakers(10);
    const first = gateOf(keyOf('ada'));
    fail(first, 0, down);
    fail(first, 60, down);
    breakers.leave(keyOf('ada'));
    for (let index = 0; index < 50; index += 1) {
      const gate = gateOf(keyOf(`stranger ${index}`, 'two'));
      fail(gate, index);
      breakers.leave(gate.key.key);
    }
    expect(gateOf(keyOf('bob')).allowed(500)).toBe(0);
  });
});

test('a pool has forgotten everything of refused strangers after a while', async () => {
  const of = vi.spyOn(Breakers, 'of');
  const { pool, clock, connector } = makePool({ gates: { open: 'fails' } });
  connector.openError = Object.assign(new Error('no'), { status: 401 });
  for (let index = 0; index < 50; index += 1) {
    const stranger = watch(pool.acquire(targetOf('one', { identity: `stranger ${index}` })));
    await clock.advance(200);
    expect(stranger.code).toBe('OPEN_FAILED');
  }
  const breakers = of.mock.results[0]?.value as Breakers;
  expect(pool.stats().keys).toBeLessThan(3);
  expect(breakers.size).toBeGreaterThanOrEqual(50);
  await clock.advance(MEMORY_MS + 2_000);
  expect(pool.stats().keys).toBe(0);
  expect(breakers.size).toBe(0);
  expect(clock.pendingCount).toBe(0);
});

describe('a key that is dropped while others are told of a circuit', () => {
  const breaker = { failureThreshold: 1, resetAfterMs: 60 };

  test('takes nothing of the one that was made anew in its place', async () => {
    const { pool, clock, connector, lease } = makePool({ breaker, idleTimeoutMs: 150 });
    (await lease(as('ada'))).release();
    connector.gates = { open: 'fails' };
    const failed = watch(pool.acquire(BOB));
    await clock.settle();
    expect(failed.code).toBe('OPEN_FAILED');
    clock.burn(65);
    connector.gates = { open: 'held' };
    const trial = watch(pool.acquire(as('eve')));
    await clock.settle();
    // The loop lags: Bob's back-off and Ada's session are over, and no timer has fired.
    clock.burn(100);
    let anew: Outcome<unknown> | undefined;
    connector.onFence = () => {
      pool.retire({ identity: 'bob' });
      anew = watch(pool.acquire(BOB, { timeoutMs: 500 }));
    };
    connector.gates = { open: 'never' };
    connector.last.let('ok');
    await clock.settle();
    expect([trial.state, anew?.state]).toEqual(['fulfilled', 'pending']);
    expect(pool.stats().keys).toBe(2);
    await clock.advance(500);
    expect(anew?.code).toBe('ACQUIRE_TIMEOUT');
    const closing = watch(pool.close());
    await clock.advance(5_010);
    expect(closing.state).toBe('fulfilled');
  });

  test('leaves no circuit behind that nobody forgets', async () => {
    const { pool, clock, connector } = makePool({ breaker, gates: { open: 'held' } });
    const controller = new AbortController();
    const waiting = watch(pool.acquire(BOB, { signal: controller.signal }));
    await clock.settle();
    controller.abort();
    connector.last.lost.abort(new Error('lost at once'));
    connector.onFence = () => pool.retire();
    connector.last.let('ok');
    await clock.advance(200_000);
    expect(waiting.state).toBe('rejected');
    expect(pool.stats()).toMatchObject({ keys: 0, circuits: { open: 0, halfOpen: 0 } });
  });
});
