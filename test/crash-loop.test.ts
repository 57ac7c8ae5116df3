// Servers whose process ends by itself as soon as it is used: started anew ever more slowly, and
// who waits in vain is told why. On fakes, with all time in the test's hand.

import { expect, test } from 'vitest';
import { SessionLostError } from '../src/errors.ts';
import { StdioError } from '../src/stdio/stdio-error.ts';
import { makePool, type PoolFixture, TARGET, watch } from './support/pool-fixture.ts';

const details = { execution: 'unknown', sessionLost: true } as const;
const ended = new StdioError('PROCESS_ENDED', 'The server process exited with code 1', details);
const crash = (): Error =>
  new SessionLostError('The session was lost', 'unknown', { cause: ended });

/** Ends the session that was opened last. */
async function crashNow({ connector, clock }: PoolFixture): Promise<void> {
  connector.sessions.at(-1)!.lost.abort(crash());
  await clock.settle();
}

test('a server that crashes under each first lease is not started as fast as callers ask', async () => {
  const fixture = makePool({ maxSessionsPerKey: 1 }, () => 1);
  const { clock, connector, pool } = fixture;
  const waiting = Array.from({ length: 50 }, () => watch(pool.acquire(TARGET)));
  await clock.settle();
  const opened: number[] = [];
  // Full jitter at its longest: 100, 200, 400 ms …
  for (const waitMs of [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000, 5_000]) {
    await crashNow(fixture);
    opened.push(connector.sessions.length);
    await clock.advance(waitMs - 1);
    opened.push(connector.sessions.length);
    await clock.advance(1);
  }
  expect(opened).toEqual([1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10]);
  await crashNow(fixture);
  await clock.advance(4_000);
  expect(waiting.at(-1)).toMatchObject({
    state: 'rejected',
    error: { code: 'ACQUIRE_TIMEOUT', cause: { code: 'OPEN_FAILED', kind: 'process' } },
  });
});

test('one that was of use before is started anew at once', async () => {
  const fixture = makePool();
  const { connector, lease } = fixture;
  (await lease()).release();
  await crashNow(fixture);
  await lease();
  await crashNow(fixture);
  expect(connector.sessions).toHaveLength(2);
  const { clock, pool } = fixture;
  const next = watch(pool.acquire(TARGET));
  await clock.settle();
  expect(next.state).toBe('pending');
  await clock.advance(100);
  expect(next.state).toBe('fulfilled');
});

test('a minute after the last crash all is forgiven', async () => {
  const fixture = makePool({}, () => 1);
  const { clock, connector, lease, pool } = fixture;
  for (const waitMs of [100, 200, 400]) {
    await lease();
    await crashNow(fixture);
    await clock.advance(waitMs);
  }
  await lease();
  await clock.advance(60_001);
  await crashNow(fixture);
  const next = watch(pool.acquire(TARGET));
  await clock.advance(100);
  expect([next.state, connector.sessions.length]).toEqual(['fulfilled', 5]);
});

test('a loss of another kind holds nothing back', async () => {
  const { clock, connector, lease } = makePool();
  for (let n = 0; n < 5; n += 1) {
    await lease();
    connector.sessions.at(-1)!.lost.abort(new Error('forgotten'));
    await clock.settle();
  }
  await lease();
  expect(connector.sessions).toHaveLength(6);
});
