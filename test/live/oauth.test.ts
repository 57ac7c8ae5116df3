// Providers of OAuth tokens, one per identity, against a real OAuth server whose refresh tokens are
// good for one use: a token that expired is refreshed once, whoever notices, and a refresh that fails
// or hangs ends in time.

import type { SessionPoolOptions } from 'mcp-session-pool';
import { SessionPool } from 'mcp-session-pool';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { type GuardedServer, startGuardedServer } from '../support/guarded-server.ts';
import { textOf } from '../support/http-sessions.ts';
import type { MemoryOAuthProvider } from '../support/memory-oauth-provider.ts';
import { pause, until } from '../support/raw-server.ts';

const CALLS = 20;

const closing = closeAfterEach();
const newPool = (options: SessionPoolOptions): SessionPool => closing(new SessionPool(options));

const echo = (text: string) => ({ name: 'echo', arguments: { text } });

/** `count` leases of one identity, on sessions that were opened with a token that was good. */
async function scene(count: number, options: SessionPoolOptions) {
  const server = closing(await startGuardedServer());
  const authProvider = server.newProvider();
  const pool = newPool(options);
  const target = { url: server.mcp.url, identity: 'ada', authProvider };
  const leases = await Promise.all(Array.from({ length: count }, () => pool.acquire(target)));
  expect(server.oauth.tokenRequests).toHaveLength(0);
  return { server, authProvider, pool, target, leases };
}

/** What was executed with the token that is good now, by the text of the call. */
function executed({ mcp, good }: GuardedServer): unknown[] {
  const calls = mcp.seen.filter(({ method }) => method === 'tools/call');
  return calls
    .filter(
      ({ headers: { authorization } }) => authorization !== undefined && authorization === good,
    )
    .map(({ params }) => (params!['arguments'] as { text: string }).text)
    .toSorted();
}

describe('a token that has expired', () => {
  const texts = Array.from({ length: CALLS }, (_, n) => `${10 + n}`);

  test.each([
    { name: 'one lease', leases: 1, sessions: 1, options: {} },
    { name: 'leases of one session', leases: 5, sessions: 1, options: { leasesPerSession: 5 } },
    { name: 'four sessions', leases: 4, sessions: 4, options: {} },
  ])('is refreshed once for 20 calls at once on $name', async ({ leases, sessions, options }) => {
    const { server, authProvider, leases: lent } = await scene(leases, options);
    const before = lent.map(({ sessionId }) => sessionId);
    server.expire();
    const calls = texts.map((text, n) => lent[n % leases]!.client.callTool(echo(text)));
    expect((await Promise.all(calls)).map(textOf)).toEqual(texts);
    expect(executed(server)).toEqual(texts);
    expect(server.oauth.tokenRequests).toHaveLength(1);
    expect(authProvider.current).toMatchObject(server.oauth.tokens);
    expect(authProvider.redirects).toEqual([]);
    expect(lent.map(({ sessionId }) => sessionId)).toEqual(before);
    expect(server.mcp.count('initialize')).toBe(sessions);
  });

  test('is refreshed again when the next one has expired, by another session', async () => {
    const { server, leases } = await scene(2, {});
    for (const text of ['1', '2', '3', '4']) {
      server.expire();
      const { client } = leases[Number(text) % 2]!;
      expect(textOf(await client.callTool(echo(text)))).toBe(text);
    }
    expect(server.oauth.tokenRequests).toHaveLength(4);
    expect(server.mcp.sessions.size).toBe(2);
  });

  test('is refreshed for a session that opens, and for the end of one', async () => {
    const { server, pool, target, leases } = await scene(1, {});
    server.expire();
    const second = await pool.acquire(target);
    expect(second.reused).toBe(false);
    expect(server.oauth.tokenRequests).toHaveLength(1);
    for (const lease of [...leases, second]) lease.release();
    server.expire();
    pool.retire();
    await until(() => server.mcp.sessions.size === 0);
    expect(server.oauth.tokenRequests).toHaveLength(2);
    expect(pool.stats().totals.unterminated).toBe(0);
  });

  test('of one identity is none of the other’s: each has its provider', async () => {
    const [ada, bob] = await Promise.all([startGuardedServer(), startGuardedServer()]);
    closing(ada);
    closing(bob);
    const pool = newPool({});
    const work = [ada, bob].map((server, n) => {
      const authProvider = server.newProvider();
      server.expire();
      const target = { url: server.mcp.url, identity: `user-${n}`, authProvider };
      return pool.use(target, (client) => client.callTool(echo('x')));
    });
    await Promise.all(work);
    const tokensAt = ({ mcp }: GuardedServer) =>
      mcp.seen.map(({ headers }) => headers.authorization);
    expect(tokensAt(ada)).not.toContain(`Bearer ${bob.oauth.tokens.access_token}`);
    expect(tokensAt(bob)).not.toContain(`Bearer ${ada.oauth.tokens.access_token}`);
    expect([ada, bob].map(({ oauth }) => oauth.tokenRequests.length)).toEqual([1, 1]);
  });
});

describe('a session of a shared provider that goes while the token is refreshed', () => {
  test('takes nothing from the others: the refresh token was used once, and well', async () => {
    const { server, pool, target, leases } = await scene(2, { closeTimeoutMs: 200 });
    const [one, two] = leases as [(typeof leases)[0], (typeof leases)[0]];
    server.expire();
    server.oauth.mode = 'held';
    const lost = one.client.callTool(echo('lost'));
    lost.catch(() => {});
    await until(() => server.oauth.tokenRequests.length === 1);
    const kept = two.client.callTool(echo('kept'));
    one.discard();
    await expect(lost).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    // Its DELETE would need a token, and gets none in time.
    await until(() => pool.stats().sessions.closing === 0);
    server.oauth.mode = 'good';
    server.oauth.letGo();
    expect(textOf(await kept)).toBe('kept');
    expect(server.oauth.tokenRequests).toHaveLength(1);
    expect(executed(server)).toEqual(['kept']);
    two.release();
    expect(textOf(await pool.use(target, (client) => client.callTool(echo('next'))))).toBe('next');
  });
});

describe('a refresh that fails', () => {
  test.each(['broken', 'revoked'] as const)(
    'because the server is %s fails the calls with UnauthorizedError, without a loop',
    async (why) => {
      const { server, authProvider, pool, leases } = await scene(2, {});
      server.expire();
      if (why === 'revoked') server.oauth.revoke();
      else server.oauth.mode = 'broken';
      const calls = Array.from({ length: CALLS }, (_, n) =>
        leases[n % 2]!.client.callTool(echo('x')),
      );
      const outcomes = await Promise.allSettled(calls);
      for (const outcome of outcomes) {
        expect(outcome).toMatchObject({ status: 'rejected', reason: { name: 'Error' } });
        expect(String((outcome as PromiseRejectedResult).reason)).toMatch(/Unauthorized/);
      }
      expect(executed(server)).toEqual([]);
      // Nothing goes on by itself.
      const before = [server.mcp.seen.length, server.oauth.paths.length];
      await pause(100);
      expect([server.mcp.seen.length, server.oauth.paths.length]).toEqual(before);
      // One flow spoke for all of them, and the user was sent to sign in once.
      expect(server.oauth.tokenRequests).toHaveLength(1);
      expect(authProvider.redirects).toHaveLength(1);
      expect(server.mcp.count('tools/call')).toBe(CALLS);
      expect(pool.stats().totals).toMatchObject({ lost: 0, worn: 0 });
      expect(leases.map(({ signal }) => signal.aborted)).toEqual([false, false]);
    },
  );

  test('fails a session that opens with OPEN_FAILED, kind unauthorized', async () => {
    const { server, pool, target } = await scene(1, {});
    server.expire();
    server.oauth.mode = 'broken';
    await expect(pool.acquire(target)).rejects.toMatchObject({
      code: 'OPEN_FAILED',
      kind: 'unauthorized',
    });
    expect(server.oauth.tokenRequests).toHaveLength(1);
  });
});

describe('opens that fail for one identity’s credentials hold back no other identity', () => {
  const breaker = { failureThreshold: 2, resetAfterMs: 60_000 };

  test.each([
    {
      name: 'a provider that throws',
      fail: (_server: GuardedServer, provider: MemoryOAuthProvider) => {
        provider.before.tokens = () => {
          throw Object.assign(new Error('no token store'), { code: 'ECONNREFUSED' });
        };
      },
    },
    {
      name: 'somebody who has to sign in',
      fail: (server: GuardedServer) => {
        server.expire();
        server.oauth.mode = 'broken';
      },
    },
  ])('$name', async ({ fail }) => {
    const { server, authProvider, pool, target, leases } = await scene(1, { breaker });
    fail(server, authProvider);
    leases[0]!.discard();
    for (let count = 0; count < 4; count += 1) {
      await expect(pool.acquire(target)).rejects.toMatchObject({
        code: expect.stringMatching(/OPEN_FAILED|CIRCUIT_OPEN/),
      });
      await pause(120);
    }
    // Refused by the server, for it knows no such token: it is asked all the same.
    const headers = { authorization: 'Bearer of bob' };
    const bob = pool.acquire({ url: server.mcp.url, identity: 'bob', headers });
    await expect(bob).rejects.toMatchObject({ code: 'OPEN_FAILED', kind: 'unauthorized' });
  });
});

describe('a provider or a token endpoint that hangs', () => {
  type Hang = (server: GuardedServer, provider: MemoryOAuthProvider) => void;
  const hangs: readonly { name: string; hang: Hang }[] = [
    {
      name: 'in tokens()',
      hang: (_server, provider) => {
        provider.before.tokens = () => new Promise(() => {});
      },
    },
    {
      name: 'in saveTokens()',
      hang: (server, provider) => {
        server.expire();
        provider.before.saveTokens = () => new Promise(() => {});
      },
    },
    {
      name: 'at the token endpoint',
      hang: (server) => {
        server.expire();
        server.oauth.mode = 'held';
      },
    },
  ];

  test.each(hangs)('$name holds a call no longer than its timeout', async ({ hang }) => {
    const { server, authProvider, pool, leases } = await scene(2, { closeTimeoutMs: 500 });
    hang(server, authProvider);
    const [one, two] = leases.map(({ client }) => client);
    const timed = one!.callTool(echo('x'), undefined, { timeout: 150 });
    await expect(timed).rejects.toMatchObject({ code: -32_001 });
    const controller = new AbortController();
    const stuck = two!.callTool(echo('x'), undefined, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('the user went away')), 30);
    await expect(stuck).rejects.toThrow('the user went away');
    const ended = two!.callTool(echo('x'));
    ended.catch(() => {});
    leases[1]!.release();
    await expect(ended).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    expect(executed(server)).toEqual([]);
    const { closed, abandoned, durationMs } = await pool.close();
    expect([closed, abandoned]).toEqual([2, 0]);
    expect(durationMs).toBeLessThan(500 + 250);
    await until(() => server.mcp.openSockets === 0 && server.oauth.pending === 0);
  });

  test.each(hangs)('$name holds an open no longer than connectTimeoutMs', async ({ hang }) => {
    const { server, authProvider, pool, target } = await scene(1, {
      connectTimeoutMs: 200,
      closeTimeoutMs: 500,
    });
    hang(server, authProvider);
    await expect(pool.acquire(target)).rejects.toMatchObject({
      code: 'OPEN_FAILED',
      kind: 'timeout',
    });
    await until(() => pool.stats().sessions.opening === 0);
  });
});

describe("retire({ identity }, { leased: 'now' })", () => {
  test('during a refresh ends the leases, and the refresh with the last of them', async () => {
    const { server, pool, leases } = await scene(2, { closeTimeoutMs: 500 });
    server.expire();
    server.oauth.mode = 'held';
    const calls = leases.map(({ client }) => client.callTool(echo('x')));
    for (const call of calls) call.catch(() => {});
    await until(() => server.oauth.tokenRequests.length === 1);
    expect(pool.retire({ identity: 'ada' }, { leased: 'now' })).toBe(2);
    for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'SESSION_LOST' });
    await until(() => pool.stats().sessions.closing === 0);
    await until(() => server.oauth.pending === 0 && server.mcp.openSockets === 0);
    expect(server.oauth.tokenRequests).toHaveLength(1);
  });
});
