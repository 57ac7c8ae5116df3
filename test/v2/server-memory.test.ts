// What sessions of one caller share: an era with a date, a discovery, a cache, and none of it with
// another caller.

import { InMemoryResponseCacheStore, type PriorDiscovery } from '@modelcontextprotocol/client';
import { ManualClock } from 'mcp-session-pool/testing';
import { expect, test } from 'vitest';
import { ServerMemory } from '../../src/v2/server-memory.ts';

const MODERN: PriorDiscovery = {
  kind: 'modern',
  discover: { supportedVersions: ['2026-07-28'], capabilities: {} } as never,
};
const LEGACY: PriorDiscovery = { kind: 'legacy' };
const TEN_MINUTES_MS = 600_000;
const key = (principal: string, server = 'x@1') => ({
  method: 'tools/list',
  params: '',
  partition: JSON.stringify([server, principal]),
});

test('a server without sessions is known as long as a session of its caller is open', () => {
  const memory = new ServerMemory(undefined);
  const clock = new ManualClock();
  const first = memory.hold('ada', clock);
  expect(first.prior).toBeUndefined();
  first.learned(MODERN);
  const second = memory.hold('ada', clock);
  expect(second.prior).toBe(MODERN);
  expect(memory.hold('bob', clock).prior).toBeUndefined();
  first.release();
  first.release();
  expect(memory.hold('ada', clock).prior).toBe(MODERN);
  second.forget();
  expect(second.prior).toBeUndefined();
});

test('nothing of a caller is held once its last session has let go', () => {
  const memory = new ServerMemory(undefined);
  const clock = new ManualClock();
  const holds = ['ada', 'ada', 'bob'].map((caller) => memory.hold(caller, clock));
  for (const hold of holds) hold.learned(MODERN);
  expect(memory.size).toBe(2);
  for (const hold of holds) hold.release();
  expect(memory.size).toBe(0);
  expect(memory.hold('ada', clock).prior).toBeUndefined();
});

test('a server of the handshake era is known for ten minutes, however often it is met', async () => {
  const memory = new ServerMemory(undefined);
  const clock = new ManualClock();
  const first = memory.hold('ada', clock);
  first.learned(LEGACY);
  first.release();
  await clock.advance(TEN_MINUTES_MS - 1);
  const second = memory.hold('ada', clock);
  expect(second.prior).toEqual(LEGACY);
  // Met again by what was remembered, not by asking.
  second.learned(LEGACY);
  await clock.advance(1);
  expect(second.prior).toBeUndefined();
  second.learned(LEGACY);
  expect(second.prior).toEqual(LEGACY);
  second.learned(MODERN);
  expect(second.prior).toBe(MODERN);
  second.forget();
  expect(second.prior).toBeUndefined();
});

test('of servers of the handshake era, the 10,000 met last are known', () => {
  const memory = new ServerMemory(undefined);
  const clock = new ManualClock();
  for (let n = 0; n <= 10_000; n += 1) {
    const hold = memory.hold(`caller ${n}`, clock);
    hold.learned(LEGACY);
    hold.release();
  }
  expect(memory.hold('caller 0', clock).prior).toBeUndefined();
  expect(memory.hold('caller 1', clock).prior).toEqual(LEGACY);
});

test('callers have a part each of a store that all of them use', async () => {
  const store = new InMemoryResponseCacheStore();
  const memory = new ServerMemory(store);
  const clock = new ManualClock();
  const [ada, bob] = ['ada', 'bob'].map((caller) => memory.hold(caller, clock).cache);
  await ada!.set(key('caller'), { value: '{"of":"ada"}' });
  // A server can say "for everybody", and call itself what it likes.
  await ada!.set(key(''), { value: '{"of":"all"}', scope: 'public' });
  expect(await bob!.get(key('caller'))).toBeUndefined();
  expect(await bob!.get(key(''))).toBeUndefined();
  // One that has no name has another with each client: it is the same to its caller.
  expect(await ada!.get(key('caller', 'anonymous:1'))).toMatchObject({ value: '{"of":"ada"}' });
  expect(await ada!.get(key('', 'anonymous:1'))).toMatchObject({ value: '{"of":"all"}' });
  await bob!.clear();
  await bob!.evict('tools/list');
  expect(store.size).toBe(2);
  await ada!.delete(key('caller'));
  expect(store.size).toBe(1);
});

test('who a caller is can not be read in a store', async () => {
  const partitions: (string | undefined)[] = [];
  const store = new InMemoryResponseCacheStore();
  const set = store.set.bind(store);
  store.set = (of, entry) => {
    partitions.push(of.partition);
    return set(of, entry);
  };
  const { cache } = new ServerMemory(store).hold('["http","x"],["named","ada"]', new ManualClock());
  await cache.set(key('caller'), { value: '{}' });
  expect(partitions).toHaveLength(1);
  expect(partitions[0]).not.toMatch(/ada|http/);
});
