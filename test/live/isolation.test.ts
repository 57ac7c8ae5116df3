// Who may use whose session: nobody (promise P4, invariant I8). Ten thousand calls of fifty callers
// whose tokens rotate, judged by what five servers saw.

import { type SessionPool as Pool, SessionPool } from 'mcp-session-pool';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { Dice } from '../support/random.ts';
import { until } from '../support/raw-server.ts';
import { NOBODY, startTokenServer } from '../support/token-server.ts';

const CALLS = 10_000;
const IDENTITIES = 50;
const SERVERS = 5;
const CONCURRENCY = 32;

const closing = closeAfterEach();

/** One caller, whose identity stays while every call comes with a new token. */
class Caller {
  readonly identity: string;
  #issued = 0;

  constructor(index: number) {
    this.identity = `user-${index}`;
  }

  nextToken(): string {
    this.#issued += 1;
    return `Bearer ${this.identity}.${this.#issued}`;
  }
}

/** One use of the pool, of some kind. Throws if it did not end as it should. */
async function useOnce(pool: Pool, url: string, caller: Caller, dice: Dice): Promise<void> {
  const token = caller.nextToken();
  // Half of the tokens come with the target, half with the acquire. The latter belong to the lease,
  // so that a session which is opened then is opened without one.
  const ofTarget = dice.chance(0.5);
  const headers = { authorization: token };
  const { identity } = caller;
  const target = { url, identity, ...(ofTarget ? { headers } : { headers: {} }) };
  const controller = new AbortController();
  const options = { signal: controller.signal, ...(!ofTarget && { headers }) };
  const ending = dice.weighted({ returns: 90, throws: 4, discards: 2, aborts: 4 });
  const failure = new Error(ending);
  const work = pool.use(
    target,
    async (client, lease) => {
      const call = client.callTool({ name: 'whoami', arguments: { token } });
      if (ending === 'aborts') controller.abort(failure);
      const text = textOf(await call);
      if (text !== token) throw new Error(`${token} was answered as ${text}`);
      if (ending === 'discards') lease.discard();
      if (ending === 'throws') throw failure;
    },
    options,
  );
  await work.catch((error: unknown) => {
    if (error !== failure) throw error;
  });
}

test('10,000 calls of 50 identities with rotating tokens never share a session', async () => {
  const servers = await Promise.all(Array.from({ length: SERVERS }, () => startTokenServer()));
  for (const server of servers) closing(server);
  const pool = closing(new SessionPool({ maxSessionsPerKey: 3 }));
  const callers = Array.from({ length: IDENTITIES }, (_, index) => new Caller(index));
  const seed = Math.floor(Math.random() * 2 ** 31);
  const dice = new Dice(seed);
  let left = CALLS;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await useOnce(pool, dice.of(servers).url, dice.of(callers), dice);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  // An open outlives the caller that gave it up.
  await until(() => pool.stats().sessions.opening === 0);
  const { totals } = pool.stats();
  const report = await pool.close();

  const replay = `seed=${seed}`;
  const users = servers
    .flatMap(({ usersOf }) => [...usersOf.values()])
    .map((each) => [...each].filter((user) => user !== NOBODY));
  const tokens = new Set(servers.flatMap((server) => [...server.tokens]));
  expect(
    users.filter((each) => each.length > 1),
    replay,
  ).toEqual([]);
  expect(
    servers.flatMap(({ misdirected }) => misdirected),
    replay,
  ).toEqual([]);
  // Sessions survive the rotation: a few of each key serve all of its tokens.
  expect(users.length, replay).toBe(totals.opened);
  expect(totals.acquired, replay).toBe(CALLS);
  expect(tokens.size, replay).toBeGreaterThan(5 * users.length);
  expect(report, replay).toMatchObject({ abandoned: 0, unterminated: 0 });
}, 60_000);
