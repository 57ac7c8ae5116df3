// use, when its session is lost: when work runs a second time, and when it must not. On fakes: the
// connection says what may be replayed, `live/replay.test.ts` shows that real ones say it rightly.

import type { FakeClient } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { SessionLostError } from '../src/errors.ts';
import type { UseOptions } from '../src/use.ts';
import { runMicrotasks } from './support/microtasks.ts';
import { makePool, type PoolFixture, TARGET, watch } from './support/pool-fixture.ts';

/** What a transport threw. */
const refusal = new Error('HTTP 404');
const lossOf = (cause: unknown = refusal): SessionLostError =>
  new SessionLostError('lost', 'not-executed', { cause });

interface Scene {
  readonly name: string;
  /** What the connection says of `refusal`. Default: 'once'. */
  readonly replay?: 'never' | 'once' | 'once-if-reused';
  /** What the first run throws. */
  readonly thrown?: () => unknown;
  readonly wasUsed?: boolean;
  readonly wasWarmed?: boolean;
  readonly options?: UseOptions;
  readonly affinity?: string;
  readonly runs: 1 | 2;
}

const deep = (depth: number): Error => {
  let error: Error = lossOf();
  for (let count = 0; count < depth; count += 1) error = new Error('wrapped', { cause: error });
  return error;
};
const cyclic = new Error('cyclic');
cyclic.cause = cyclic;

const scenes: readonly Scene[] = [
  { name: 'the session was forgotten', runs: 2 },
  { name: 'the session was forgotten, and had been used', wasUsed: true, runs: 2 },
  {
    name: 'the server was refused, on a session that had worked',
    replay: 'once-if-reused',
    wasUsed: true,
    runs: 2,
  },
  { name: 'the server was refused, on a fresh session', replay: 'once-if-reused', runs: 1 },
  {
    name: 'the server was refused, on a session that had idled since it was warmed',
    replay: 'once-if-reused',
    wasWarmed: true,
    runs: 2,
  },
  { name: 'the connection says never', replay: 'never', runs: 1 },
  { name: 'the caller says never', options: { replay: 'never' }, runs: 1 },
  { name: 'the caller says so', options: { replay: 'if-not-executed' }, runs: 2 },
  { name: 'the caller leaves it open', options: { replay: undefined }, runs: 2 },
  { name: 'the session has affinity', affinity: 'downstream', runs: 1 },
  {
    name: 'it may have been executed',
    thrown: () => new SessionLostError('x', 'unknown', { cause: refusal }),
    runs: 1,
  },
  { name: 'work threw something else', thrown: () => new Error('mine'), runs: 1 },
  { name: 'work threw what the transport threw', thrown: () => refusal, runs: 1 },
  { name: 'work wrapped the loss', thrown: () => new Error('mine', { cause: lossOf() }), runs: 2 },
  { name: 'work wrapped the loss often', thrown: () => deep(6), runs: 2 },
  { name: 'work wrapped the loss too often', thrown: () => deep(8), runs: 1 },
  { name: 'work threw a cycle of causes', thrown: () => cyclic, runs: 1 },
  { name: 'work threw nothing', thrown: () => undefined, runs: 1 },
  { name: 'work threw the loss of another session', thrown: () => lossOf(new Error('x')), runs: 1 },
];

async function play(fixture: PoolFixture, scene: Scene) {
  const { pool, clock, connector, warm } = fixture;
  const { replay = 'once', thrown = lossOf, affinity } = scene;
  const target = { ...TARGET, identity: 'ada', ...(affinity && { affinity }) };
  if (scene.wasUsed === true) await warm(target);
  if (scene.wasWarmed === true) await Promise.all([pool.warm(target, 1), clock.advance(1)]);
  const seen: string[] = [];
  const reused: boolean[] = [];
  const error = thrown();
  const using = watch(
    pool.use(
      target,
      async (client: FakeClient, lease) => {
        seen.push(client.session.id);
        reused.push(lease.reused);
        if (seen.length > 1) return client.call();
        if (replay !== 'never') client.session.replays.set(refusal, replay);
        client.session.lost.abort(lossOf());
        throw error;
      },
      scene.options,
    ),
  );
  await clock.settle();
  return { using, seen, error, connector };
}

describe('work whose session is lost', () => {
  test.each(scenes)('runs $runs times when $name', async (scene) => {
    const fixture = makePool();
    const { using, seen, error } = await play(fixture, scene);
    expect(seen).toHaveLength(scene.runs);
    if (scene.runs === 2) expect(using.got).toBe('session-1');
    else expect(using.error).toBe(error);
    expect(fixture.pool.stats().sessions.leased).toBe(0);
  });

  test('runs no third time', async () => {
    const { pool, clock } = makePool();
    let runs = 0;
    const using = watch(
      pool.use(TARGET, async (client) => {
        runs += 1;
        client.session.replays.set(refusal, 'once');
        client.session.lost.abort(lossOf());
        throw lossOf();
      }),
    );
    await clock.settle();
    expect([runs, using.code]).toEqual([2, 'SESSION_LOST']);
  });

  test('runs once when the caller aborted meanwhile', async () => {
    const { pool, clock } = makePool();
    const controller = new AbortController();
    let runs = 0;
    const work = async (client: FakeClient): Promise<never> => {
      runs += 1;
      client.session.replays.set(refusal, 'once');
      client.session.lost.abort(lossOf());
      controller.abort('enough');
      throw lossOf();
    };
    const using = watch(pool.use(TARGET, work, { signal: controller.signal }));
    await clock.settle();
    expect([runs, using.error]).toEqual([1, 'enough']);
    // Nor is a session asked for.
    expect(pool.stats().totals).toMatchObject({ acquired: 1, aborted: 0 });
  });

  test('runs once when the caller aborts right after the loss was heard', async () => {
    for (let after = 0; after < 12; after += 1) {
      const { pool, clock } = makePool();
      const controller = new AbortController();
      let begunAborted = false;
      const work = async (client: FakeClient): Promise<string> => {
        begunAborted ||= controller.signal.aborted;
        if (client.session.id !== 'session-0') return client.call();
        client.session.replays.set(refusal, 'once');
        client.session.lost.abort(lossOf());
        void runMicrotasks(after).then(() => controller.abort('enough'));
        throw lossOf();
      };
      const using = watch(pool.use(TARGET, work, { signal: controller.signal }));
      await clock.settle();
      expect(begunAborted).toBe(false);
      expect([using.value, using.error]).toContain(
        using.state === 'fulfilled' ? 'session-1' : 'enough',
      );
    }
  });

  test('hears an abort in its second run as in its first', async () => {
    const { pool, clock } = makePool();
    const controller = new AbortController();
    let runs = 0;
    const work = async (client: FakeClient): Promise<unknown> => {
      runs += 1;
      if (runs > 1) return new Promise(() => undefined);
      client.session.replays.set(refusal, 'once');
      client.session.lost.abort(lossOf());
      throw lossOf();
    };
    const using = watch(pool.use(TARGET, work, { signal: controller.signal }));
    await clock.settle();
    expect([runs, using.state]).toEqual([2, 'pending']);
    controller.abort('enough');
    await clock.settle();
    expect(using.error).toBe('enough');
    expect(pool.stats().sessions.leased).toBe(0);
  });

  test('that had sent nothing when another lease found the loss out runs again', async () => {
    const { pool, clock, connector } = makePool();
    const target = { ...TARGET, leasesPerSession: 2 };
    let runs = 0;
    const work = async (client: FakeClient): Promise<string> => {
      runs += 1;
      if (runs === 1) {
        client.session.replays.set(refusal, 'once');
        client.session.lost.abort(new SessionLostError('lost', 'unknown', { cause: refusal }));
      }
      return client.call();
    };
    const using = watch(pool.use(target, work));
    await clock.settle();
    expect([runs, using.got]).toEqual([2, 'session-1']);
    expect(connector.sessions).toHaveLength(2);
  });

  test('rejects as acquire does when there is no session for the second run, in its own time', async () => {
    const { pool, clock, connector } = makePool();
    const work = async (client: FakeClient): Promise<never> => {
      connector.gates = { open: 'never' };
      client.session.replays.set(refusal, 'once');
      client.session.lost.abort(lossOf());
      await new Promise<void>((resolve) => clock.later(900, resolve));
      throw lossOf();
    };
    const using = watch(pool.use(TARGET, work, { timeoutMs: 1_000 }));
    await clock.advance(1_800);
    expect(using.state).toBe('pending');
    await clock.advance(200);
    expect(using.code).toBe('ACQUIRE_TIMEOUT');
  });

  test('runs once when the connection tells nothing, or rubbish, or throws', async () => {
    for (const replayOf of [
      undefined,
      ...[false, true, 0, null, 'always', Promise.resolve('never')].map(
        (said) => () => said as never,
      ),
      () => {
        throw new Error('no');
      },
    ]) {
      const { pool, clock } = makePool({
        connector: async () => ({
          client: { close: async () => undefined } as never,
          transport: { close: async () => undefined },
          ...(replayOf && { replayOf }),
        }),
      });
      let runs = 0;
      const error = lossOf();
      const using = watch(
        pool.use(TARGET, () => {
          runs += 1;
          throw error;
        }),
      );
      await clock.settle();
      expect([runs, using.error]).toEqual([1, error]);
    }
  });
});

test('an error that throws when it is read passes through untouched', async () => {
  const { pool } = makePool();
  const error = new Proxy(lossOf(), {
    get() {
      throw new Error('not to be read');
    },
  });
  const using = pool.use(TARGET, () => Promise.reject(error));
  const isUntouched = await using.catch((why: unknown) => Object.is(why, error));
  expect(isUntouched).toBe(true);
});

test('`replay` is an option of use alone, and checked', async () => {
  const { pool } = makePool();
  const bad = pool.use(TARGET, () => 1, { replay: 'always' as never });
  await expect(bad).rejects.toThrow(/`replay` to be/);
  await expect(pool.acquire(TARGET, { replay: 'never' } as never)).rejects.toThrow(/replay/);
  expect(pool.stats().totals.acquired).toBe(0);
});
