// What sessions at work tell the circuit breaker, and what events tell of circuits.

import { expect, test } from 'vitest';
import { ADA, as, breaker, httpError, RESET_MS, trip } from './support/breaker-fixture.ts';
import { makePool, type PoolFixture } from './support/pool-fixture.ts';

const circuitEvents = ({ events }: PoolFixture): readonly (readonly unknown[])[] =>
  events.flatMap((event) => ('scope' in event ? [[event.type, event.scope]] : []));

test('sessions that are lost because nobody listens count as opens that fail', async () => {
  const { pool, clock, connector, lease } = makePool({ breaker });
  const identities = ['a', 'b', 'c'];
  for (const identity of identities) await lease(as(identity));
  for (const session of connector.sessions) {
    const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    session.lost.abort(new Error('lost', { cause: refused }));
    await clock.advance(100);
  }
  expect(pool.stats().circuits.open).toBe(1);
});

test('sessions that are lost for another reason do not', async () => {
  const { pool, clock, connector, lease } = makePool({ breaker });
  for (const identity of ['a', 'b', 'c', 'd']) await lease(as(identity));
  for (const session of connector.sessions) {
    session.lost.abort(new Error('lost', { cause: httpError(404) }));
    await clock.advance(100);
  }
  expect(pool.stats().circuits.open).toBe(0);
});

test('events tell of every change, with key, server and scope', async () => {
  const fixture = makePool({ breaker });
  const { clock, events, connector, lease } = fixture;
  await trip(fixture);
  await clock.advance(RESET_MS);
  (await lease(ADA)).release();
  connector.last.context.throttled?.(5_000);
  await clock.settle();
  expect(circuitEvents(fixture)).toEqual([
    ['circuit-opened', 'endpoint'],
    ['circuit-half-opened', 'endpoint'],
    ['circuit-closed', 'endpoint'],
    ['circuit-opened', 'endpoint+identity'],
  ]);
  const opened = events.filter(({ type }) => type === 'circuit-opened');
  const { key } = events.find(({ type }) => type === 'session-opened') as { key: string };
  expect(opened).toMatchObject([
    { key, server: 'https://one.example', reason: 'failures', retryAfterMs: RESET_MS },
    { key, server: 'https://one.example', reason: 'throttled', retryAfterMs: 5_250 },
  ]);
  const rejected = events.filter(({ type }) => type === 'acquire-rejected');
  expect(rejected).toHaveLength(3);
});
