// use: a lease for as long as some work lasts, with an abort that is heard whether the work listens
// or not.

import { describe, expect, test } from 'vitest';
import { CountedController } from './support/counted-signal.ts';
import { runMicrotasks } from './support/microtasks.ts';
import { type FakeLease, makePool, TARGET, watch } from './support/pool-fixture.ts';

const never = (): Promise<never> => new Promise(() => undefined);

describe('use', () => {
  test('gives the work a client and its lease, gives its result back, and releases', async () => {
    const { pool, connector } = makePool();
    const result = await pool.use(TARGET, (client, lease) => {
      expect(lease.client).toBe(client);
      return client.call();
    });
    expect(result).toBe('session-0');
    expect(connector.last.count('giveBack')).toBe(1);
    expect(pool.stats()).toMatchObject({
      sessions: { idle: 1, leased: 0 },
      totals: { released: 1 },
    });
  });

  test.each([
    {
      name: 'throws',
      work: (error: unknown) => () => {
        throw error;
      },
    },
    { name: 'rejects', work: (error: unknown) => () => Promise.reject(error) },
  ])('passes through untouched what the work $name, and releases', async ({ work }) => {
    for (const signal of [undefined, new CountedController().signal]) {
      const { pool } = makePool();
      const error = { not: 'an Error' };
      await expect(pool.use(TARGET, work(error), { signal })).rejects.toBe(error);
      expect(pool.stats().sessions).toMatchObject({ idle: 1, leased: 0 });
    }
  });

  test('rejects at once when aborted, though the work does not listen, and ends the lease first', async () => {
    const { pool, clock, connector } = makePool();
    const controller = new CountedController();
    const order: string[] = [];
    connector.onGiveBack = () => order.push('given back');
    const using = pool.use(TARGET, never, { signal: controller.signal });
    using.catch(() => order.push('rejected'));
    await clock.settle();
    expect(controller.listenerCount).toBe(1);
    controller.abort('enough');
    expect(pool.stats().sessions).toMatchObject({ idle: 1, leased: 0 });
    await expect(using).rejects.toBe('enough');
    expect(order).toEqual(['given back', 'rejected']);
    expect(controller.listenerCount).toBe(0);
  });

  test('does not begin the work when the signal aborts between grant and turn', async () => {
    for (let after = 0; after < 20; after += 1) {
      const { pool, clock } = makePool();
      const controller = new CountedController();
      let begunAborted = false;
      const using = watch(
        pool.use(
          TARGET,
          () => {
            begunAborted ||= controller.signal.aborted;
            return 'done';
          },
          { signal: controller.signal },
        ),
      );
      await runMicrotasks(after);
      controller.abort('enough');
      await clock.settle();
      expect(begunAborted).toBe(false);
      expect([using.value, using.error]).toContain(using.state === 'fulfilled' ? 'done' : 'enough');
      expect(controller.listenerCount).toBe(0);
      expect(pool.stats().sessions).toMatchObject({ leased: 0, idle: 1 });
    }
  });

  test('absorbs what aborted work still rejects with', async () => {
    const { pool, clock } = makePool();
    const controller = new AbortController();
    const work = () =>
      new Promise((_resolve, reject) => clock.later(50, () => reject(new Error('late'))));
    const using = watch(pool.use(TARGET, work, { signal: controller.signal }));
    await clock.settle();
    controller.abort('enough');
    await clock.advance(100);
    expect(using.error).toBe('enough');
  });

  test('leaves no listener on a signal that outlives many of them', async () => {
    const { pool } = makePool();
    const controller = new CountedController();
    for (let count = 0; count < 50; count += 1) {
      await pool.use(TARGET, () => count, { signal: controller.signal });
    }
    expect(controller.listenerCount).toBe(0);
  });

  test('releases once, though the work released or discarded by itself', async () => {
    const { pool, clock, connector } = makePool();
    await pool.use(TARGET, (_client, lease) => lease.release());
    await pool.use(TARGET, (_client, lease) => lease.discard('dirty'));
    await clock.settle();
    expect(pool.stats().totals).toMatchObject({ released: 1, discarded: 1 });
    expect(connector.count('giveBack')).toBe(2);
    expect(pool.stats().sessions).toEqual({
      opening: 0,
      probing: 0,
      idle: 0,
      leased: 0,
      closing: 0,
    });
  });

  test('rejects as acquire does', async () => {
    const { pool } = makePool({ gates: { open: 'fails' } });
    await expect(pool.use(TARGET, () => 1)).rejects.toMatchObject({ code: 'OPEN_FAILED' });
    await pool.close();
    await expect(pool.use(TARGET, () => 1)).rejects.toMatchObject({ code: 'POOL_CLOSED' });
  });

  test('lets work see that its session was taken from it', async () => {
    const { pool, clock, connector } = makePool();
    let seen: FakeLease | undefined;
    const using = watch(
      pool.use(TARGET, async (client, lease) => {
        seen = lease;
        await new Promise<void>((resolve) =>
          lease.signal.addEventListener('abort', () => resolve()),
        );
        return client.call();
      }),
    );
    await clock.settle();
    connector.last.lost.abort(new Error('gone'));
    await clock.settle();
    expect(seen?.signal.aborted).toBe(true);
    expect(using.code).toBe('SESSION_LOST');
  });
});
