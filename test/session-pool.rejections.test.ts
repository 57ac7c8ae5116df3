// Every acquire that ends without a lease is counted (P8), and callers may share what they give.

import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { makePool, TARGET, targetOf, watch } from './support/pool-fixture.ts';

const rejections = (events: readonly { type: string }[]): unknown[] =>
  events.filter(({ type }) => type === 'acquire-rejected');

test('30 acquires and 30 uses on one signal put one listener on it, and leave none', async () => {
  const { pool, clock } = makePool({ maxSessionsPerKey: 2 });
  const controller = new AbortController();
  const held = [await pool.acquire(TARGET), await pool.acquire(TARGET)];
  const waiting = Array.from({ length: 30 }, () =>
    watch(pool.acquire(TARGET, { signal: controller.signal })),
  );
  const working = Array.from({ length: 30 }, (_, n) =>
    watch(pool.use(targetOf(`w${n}`), () => new Promise(() => {}), { signal: controller.signal })),
  );
  await clock.settle();
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
  controller.abort(new Error('enough'));
  await clock.settle();
  for (const { error } of [...waiting, ...working]) expect(error).toBe(controller.signal.reason);
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  expect(pool.stats()).toMatchObject({ waiting: 0, sessions: { leased: 2 } });
  for (const lease of held) lease.release();
});

test('an acquire whose signal has aborted before is counted and told', async () => {
  const { pool, clock, events } = makePool();
  await expect(pool.acquire(TARGET, { signal: AbortSignal.abort() })).rejects.toThrow();
  await clock.settle();
  expect(pool.stats()).toMatchObject({ keys: 0, totals: { aborted: 1 } });
  expect(rejections(events)).toMatchObject([{ reason: 'aborted', waitedMs: 0 }]);
});

test('acquires that wait when the pool closes, or come after, are counted', async () => {
  const { pool, clock } = makePool({ gates: { open: 'never' } });
  const waiting = watch(pool.acquire(TARGET));
  await clock.settle();
  const closing = watch(pool.close());
  await expect(pool.acquire(TARGET)).rejects.toMatchObject({ code: 'POOL_CLOSED' });
  await clock.advance(5_010);
  expect(closing.got.sessions).toBe(0);
  expect(waiting.code).toBe('POOL_CLOSED');
  expect(pool.stats().totals.refused).toBe(2);
});

test('an acquire that a connection has no client for is told as a failed open', async () => {
  const { pool, clock, events } = makePool({ gates: { lend: 'throws' } });
  const acquiring = watch(pool.acquire(TARGET));
  await clock.settle();
  expect(acquiring.code).toBe('OPEN_FAILED');
  expect(rejections(events)).toMatchObject([{ reason: 'open-failed' }]);
});

test('a hungry key that loses one waiter of two keeps its place before others', async () => {
  const { pool, lease, clock } = makePool({ maxSessions: 1 });
  const held = await lease(targetOf('busy'));
  const leaving = new AbortController();
  const order: string[] = [];
  const note = (name: string) => (got: { release(): void }) => {
    order.push(name);
    got.release();
  };
  const first = pool.acquire(targetOf('first')).then(note('first'));
  const gone = watch(pool.acquire(targetOf('first'), { signal: leaving.signal }));
  const second = pool.acquire(targetOf('second')).then(note('second'));
  await clock.settle();
  leaving.abort();
  await clock.settle();
  expect(gone.state).toBe('rejected');
  held.release();
  await clock.settle();
  await Promise.all([first, second]);
  expect(order).toEqual(['first', 'second']);
});

test('a logger without a method that is needed is refused at the door', () => {
  const logger = { debug: () => {}, info: () => {}, warn: () => {} };
  expect(() => makePool({ logger: logger as never })).toThrow(/`logger`.*`error`/);
});

test('a lease that is discarded is given back, so that a shared session cancels its calls', async () => {
  const { lease, connector } = makePool({ leasesPerSession: 2 });
  const [first, second] = [await lease(), await lease()];
  first.discard('broken');
  expect(connector.last.count('giveBack')).toBe(1);
  expect(second.signal.aborted).toBe(false);
  second.release();
});

test.each([
  [{ dispatcher: {} }, /`dispatcher`/],
  [{ clientInfo: { name: 'x' } }, /`clientInfo`/],
  [{ capabilities: [] }, /`capabilities`/],
])('the option %j is refused at the door', (options, message) => {
  expect(() => makePool(options as never)).toThrow(message);
});

test.each([
  [{ url: 'http://x/', idenity: 'a' }, /Unknown target member `idenity`/],
  [{ url: 'http://x/', identity: 'a', affinty: 's' }, /Unknown target member `affinty`/],
  [{ url: 'http://x/', notifications: 'yes' }, /`notifications`/],
  [{ url: 'http://x/', clientInfo: 5 }, /`clientInfo`/],
  [{ url: 'http://x/', identity: 'a', authProvider: 7 }, /`authProvider`/],
  [{ url: 'http://x/', server: 's', connect: () => {}, identity: 'a' }, /Unknown target member/],
  [{ command: 'node', args: 'x' }, /`args`/],
  [{ command: 'node', env: { A: 1 } }, /`env`/],
])('the target %j is refused at the door', async (target, message) => {
  const { pool, warm } = makePool();
  await warm({ url: 'http://x/', identity: 'a' });
  await expect(pool.acquire(target as never)).rejects.toThrow(message);
  expect(pool.stats().keys).toBe(1);
});

test('refusing 20,000 waiters costs no stack for each', async () => {
  const { pool, clock } = makePool({ maxWaitersPerKey: 20_000, gates: { open: 'never' } });
  const waiting = Array.from({ length: 20_000 }, () => watch(pool.acquire(TARGET)));
  await clock.settle();
  const closing = watch(pool.close());
  await clock.advance(5_010);
  expect(closing.state).toBe('fulfilled');
  expect(new Set(waiting.map(({ error }) => error)).size).toBe(1);
});

test('a warm that ends while a signal is heard does not end twice, and waits are still held', async () => {
  const fixture = makePool({ maxSessions: 1, breaker: false, gates: { open: 'fails' } });
  const { pool, clock, connector, lease } = fixture;
  const failed = watch(pool.acquire(TARGET));
  await clock.settle();
  expect(failed.code).toBe('OPEN_FAILED');
  connector.gates = {};
  const { signal, abort } = aborting();
  const waiting = watch(pool.acquire(TARGET, { signal }));
  const warming = watch(pool.warm(TARGET, 1, { signal }));
  // The loop lags: the back-off is over, no timer has fired, and another key has all the room.
  clock.burn(100);
  const held = await lease(targetOf('other'));
  abort();
  await clock.settle();
  expect([waiting.state, warming.state]).toEqual(['rejected', 'fulfilled']);
  expect(clock.referencedCount).toBe(0);
  watch(pool.acquire(targetOf('other')));
  await clock.settle();
  expect(clock.referencedCount).toBe(1);
  held.release();
});

function aborting(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort(new Error('enough')) };
}
