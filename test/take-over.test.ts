// What a connector gives is foreign: whatever its members do, teardown and close go on.

import { ManualClock } from 'mcp-session-pool/testing';
import { expect, test } from 'vitest';
import { SessionPool } from '../src/session-pool.ts';
import { makePool, targetOf, watch } from './support/pool-fixture.ts';

const MEMBERS = ['client', 'transport', 'fence', 'terminate', 'sever', 'giveBack', 'lost'] as const;

/** A connection whose member `bad` throws when read, once it is open. */
function fickle(bad: string): { gone: boolean } {
  const close = async (): Promise<void> => {};
  const connection: Record<string, unknown> & { gone: boolean } = { gone: false };
  for (const name of MEMBERS) {
    const isPart = name === 'client' || name === 'transport';
    const value = isPart ? { close } : name === 'lost' ? undefined : () => undefined;
    Object.defineProperty(connection, name, {
      get: () => {
        if (connection.gone && name === bad) throw new Error('Not connected');
        return value;
      },
    });
  }
  return connection;
}

test.each(MEMBERS)('a `%s` that throws when read stops neither release nor close', async (bad) => {
  const clock = new ManualClock();
  const made: { gone: boolean }[] = [];
  const pool = new SessionPool<{ close(): Promise<void> }>(
    {
      connector: async () => {
        made.push(fickle(made.length === 0 ? bad : 'none'));
        return made.at(-1) as never;
      },
    },
    { clock },
  );
  const leases = ['a', 'b', 'c'].map((name) => watch(pool.acquire(targetOf(name))));
  await clock.settle();
  for (const connection of made) connection.gone = true;
  leases[0]?.got.release();
  const closing = watch(pool.close());
  await clock.advance(5_000);
  expect(closing.got).toMatchObject({ sessions: 3, abandoned: 0 });
  expect(pool.stats().sessions).toMatchObject({ idle: 0, leased: 0, closing: 0 });
});

test('a session that is done with makes room for a key that has waited for longer', async () => {
  const { pool, clock, lease } = makePool({ maxSessions: 1 });
  const held = await lease(targetOf('busy'));
  const other = watch(pool.acquire(targetOf('other')));
  await clock.advance(5);
  const own = watch(pool.acquire(targetOf('busy')));
  await clock.settle();
  held.release();
  await clock.settle();
  expect([other.state, own.state]).toEqual(['fulfilled', 'pending']);
  other.got.release();
  await clock.settle();
  expect(own.state).toBe('fulfilled');
});

test.each([
  [() => ({ authorization: 'Bearer SECRET\r\nx: 1' })],
  [() => new Headers({ authorization: 'SECRET' })],
  [async () => ({ 'mcp-session-id': 'SECRET' })],
])('what a headers function returns is checked, and no value is told: %s', async (headers) => {
  const { pool, clock } = makePool({ gates: { lend: 'ok' } });
  const pending = watch(pool.acquire(targetOf('h', { identity: 'a', headers: headers as never })));
  await clock.settle();
  expect(pending.state).toBe('fulfilled');
  const asked = (async () => pending.got.client.context?.headers())();
  await expect(asked).rejects.toThrow(/^(Expected|Header) /);
  await expect(asked).rejects.not.toThrow(/SECRET/);
});
