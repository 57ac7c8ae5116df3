// Leases that share a session of a real server: each keeps to itself what it aborts and loses, and
// the session ends with its last lease. And affinity: one session for one downstream session.

import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { type Lease, SessionPool, type SessionPoolOptions } from 'mcp-session-pool';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { startMcpServer, type TestMcpServer } from '../support/mcp-server.ts';
import { answerJson, pause, speakMcp, startRawServer, until } from '../support/raw-server.ts';

const closing = closeAfterEach();

const echo = (text: string) => ({ name: 'echo', arguments: { text } });
const slow = (ms: number) => ({ name: 'slow', arguments: { ms } });

/** Leases of one identity. */
async function scene(count: number, options: SessionPoolOptions = {}) {
  const server = closing(await startMcpServer());
  const pool = closing(new SessionPool({ capabilities: { elicitation: {} }, ...options }));
  const target = { url: server.url, identity: 'ada' };
  const leases: Lease[] = [];
  for (let n = 0; n < count; n += 1) leases.push(await pool.acquire(target));
  return { server, pool, target, leases };
}

const idsOf = (leases: readonly Lease[]): unknown[] => leases.map(({ sessionId }) => sessionId);

/** A call that never ends by itself, once the server has it. */
async function hang(server: TestMcpServer, { client }: Lease): Promise<Promise<unknown>[]> {
  const before = server.count('tools/call');
  const call = client.callTool({ name: 'hang' });
  call.catch(() => {});
  await until(() => server.count('tools/call') > before);
  // In an array: an async function would wait for it.
  return [call];
}

describe('leases that share', () => {
  test('have a session opened only when all others are full', async () => {
    const { server, pool, target, leases } = await scene(7, { leasesPerSession: 3 });
    const ids = idsOf(leases);
    const counts = new Map(ids.map((id) => [id, ids.filter((each) => each === id).length]));
    expect([...counts.values()]).toEqual([3, 3, 1]);
    leases[0]!.release();
    leases[1]!.release();
    const more = [
      await pool.acquire(target),
      await pool.acquire(target),
      await pool.acquire(target),
    ];
    expect(server.count('initialize')).toBe(3);
    // One more beside the last, two in the place of the first two, and then there is one place.
    expect(idsOf([...more, await pool.acquire(target)]).toSorted()).toEqual(
      [ids[6], ids[6], ids[0], ids[0]].toSorted(),
    );
    expect((await pool.acquire(target)).reused).toBe(false);
    expect(pool.stats().sessions).toMatchObject({ leased: 4, idle: 0 });
    expect(server.count('initialize')).toBe(4);
  });

  test('and wait meanwhile, are served by one open', async () => {
    const { server, pool, target } = await scene(0, { leasesPerSession: 4 });
    const leases = await Promise.all(Array.from({ length: 8 }, () => pool.acquire(target)));
    expect(new Set(idsOf(leases)).size).toBe(2);
    expect(server.count('initialize')).toBe(2);
  });

  test('abort each for itself: the calls of the others go on', async () => {
    const { server, pool, target, leases } = await scene(2, { leasesPerSession: 3 });
    const controller = new AbortController();
    const { signal } = controller;
    const reason = new Error('the user went away');
    const used = pool.use(target, (client) => client.callTool({ name: 'hang' }), { signal });
    used.catch(() => {});
    await until(() => server.count('tools/call') === 1);
    const [released, kept] = leases as [Lease, Lease];
    const [cancelled] = await hang(server, released);
    const going = [kept.client.callTool(slow(150)), kept.client.callTool(echo('kept'))];
    controller.abort(reason);
    await expect(used).rejects.toBe(reason);
    released.release();
    await expect(cancelled).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    expect((await Promise.all(going)).map(textOf)).toEqual(['after 150', 'kept']);
    await until(() => server.aborted.length === 2);
    expect(server.count('notifications/cancelled')).toBe(2);
    expect(pool.stats()).toMatchObject({ sessions: { leased: 1 }, totals: { opened: 1, lost: 0 } });
  });

  test('lose their session together, and nobody else’s', async () => {
    const { server, pool, target, leases } = await scene(3, { leasesPerSession: 2 });
    const [one, two, other] = leases as [Lease, Lease, Lease];
    const [stuck] = await hang(server, one);
    const [others] = await hang(server, other);
    await server.forget(one.sessionId!);
    const found = two.client.callTool(echo('never'));
    await expect(found).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'not-executed' });
    await expect(stuck).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    await until(() => one.signal.aborted && two.signal.aborted);
    for (const { signal } of [one, two])
      expect(signal.reason).toMatchObject({ code: 'SESSION_LOST' });
    expect(other.signal.aborted).toBe(false);
    // The other answers a probe before it is lent again, and needs no second session.
    expect((await pool.acquire(target)).sessionId).toBe(other.sessionId);
    other.release();
    await expect(others).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    expect(pool.stats()).toMatchObject({ sessions: { leased: 1 }, totals: { opened: 2, lost: 1 } });
    // A stale release of a lease that is lost gives nothing to anybody.
    one.release();
    two.discard();
    expect(pool.stats().sessions.leased).toBe(1);
  });

  test('keep a retired session until the last of them is released; it takes no other', async () => {
    const { server, pool, target, leases } = await scene(2, { leasesPerSession: 3 });
    const [one, two] = leases as [Lease, Lease];
    const retired = one.sessionId!;
    const call = two.client.callTool(slow(150));
    expect(pool.retire({ identity: 'ada' })).toBe(1);
    const next = await pool.acquire(target);
    expect(next.sessionId).not.toBe(retired);
    one.release();
    expect(textOf(await call)).toBe('after 150');
    expect(textOf(await two.client.callTool(echo('still here')))).toBe('still here');
    expect(server.sessions.has(retired)).toBe(true);
    two.release();
    await until(() => !server.sessions.has(retired));
    const deletes = server.seen.filter(({ httpMethod }) => httpMethod === 'DELETE');
    expect(deletes.map(({ headers }) => headers['mcp-session-id'])).toEqual([retired]);
    expect(textOf(await next.client.callTool(echo('next')))).toBe('next');
  });

  test('go on when the stream of one call is cut: the session is worn, and ends with DELETE', async () => {
    const answers: (() => void)[] = [];
    const server = closing(
      await startRawServer(
        speakMcp({
          'tools/call': (exchange) => {
            const { name } = exchange.message.params as { name: string };
            if (name !== 'cut')
              return void answers.push(() => answerJson(exchange, { content: [] }));
            exchange.response.writeHead(200, { 'content-type': 'text/event-stream' });
            exchange.response.write(': here it comes\n\n', () => exchange.response.destroy());
          },
        }),
      ),
    );
    const pool = closing(new SessionPool({ leasesPerSession: 3 }));
    const target = { url: server.url, identity: 'ada' };
    const [one, two] = [await pool.acquire(target), await pool.acquire(target)];
    const call = one.client.callTool({ name: 'slow' });
    await until(() => answers.length === 1);
    const cut = two.client.callTool({ name: 'cut' });
    await expect(cut).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    expect((await pool.acquire(target)).reused).toBe(false);
    // Its own lease, too, may go on.
    const again = two.client.callTool({ name: 'slow' });
    await until(() => answers.length === 2);
    for (const answer of answers) answer();
    await Promise.all([call, again]);
    two.release();
    await pause(20);
    expect([one.signal.aborted, server.count('DELETE')]).toEqual([false, 0]);
    one.release();
    await until(() => server.count('DELETE') === 1);
    expect(pool.stats().totals).toMatchObject({ worn: 1, lost: 0 });
  });
});

describe('affinity', () => {
  const affine = (target: object) => ({ ...target, affinity: 'downstream' }) as never;

  test.each([{}, { leasesPerSession: 1 }])(
    'lets calls out of the work of others share the one session, three deep (target: %o)',
    async (more) => {
      const options = { leasesPerSession: 1, maxSessionsPerKey: 1, maxSessions: 1 };
      const { server, pool, target } = await scene(0, { ...options, acquireTimeoutMs: 5_000 });
      const own = affine({ ...target, ...more });
      const ids = new Set<unknown>();
      const nested = (depth: number): Promise<string[]> =>
        pool.use(own, async (client, { sessionId }) => {
          ids.add(sessionId);
          const before = textOf(await client.callTool({ name: 'count' }));
          return [before, ...(depth > 1 ? await nested(depth - 1) : [])];
        });
      const counted = await Promise.all(Array.from({ length: 8 }, () => nested(3)));
      expect(
        counted
          .flat()
          .map(Number)
          .toSorted((a, b) => a - b),
      ).toEqual(Array.from({ length: 24 }, (_, n) => n + 1));
      expect([ids.size, server.count('initialize')]).toEqual([1, 1]);
      expect(pool.stats().sessions).toMatchObject({ idle: 1, leased: 0 });
    },
  );

  test('lets the handler of a server’s request use the session that asks', async () => {
    const { server, pool, target } = await scene(0, { maxSessionsPerKey: 1 });
    const own = affine(target);
    const answered = await pool.use(own, async (client) => {
      client.setRequestHandler(ElicitRequestSchema, async () => {
        const name = await pool.use(own, async (inner) =>
          textOf(await inner.callTool(echo('inner'))),
        );
        return { action: 'accept' as const, content: { name } };
      });
      return textOf(await client.callTool({ name: 'elicit', arguments: { name: 'x' } }));
    });
    expect([answered, server.count('initialize')]).toEqual(['inner', 1]);
  });

  test('keeps identities and downstream sessions apart', async () => {
    const { server, pool, target } = await scene(0);
    const countOf = (identity: string, affinity: string): Promise<string> =>
      pool.use({ ...target, identity, affinity }, async (client) =>
        textOf(await client.callTool({ name: 'count' })),
      );
    for (const expected of ['1', '2']) {
      expect(await countOf('ada', 'x')).toBe(expected);
      expect(await countOf('ada', 'y')).toBe(expected);
      expect(await countOf('bob', 'x')).toBe(expected);
    }
    expect(server.sessions.size).toBe(3);
  });

  test('never papers over a loss: all its leases end, and the next session is a new one', async () => {
    const { server, pool, target } = await scene(0);
    const own = affine(target);
    const [one, two] = [await pool.acquire(own), await pool.acquire(own)];
    await one.client.callTool({ name: 'count' });
    const [stuck] = await hang(server, two);
    await server.forget(one.sessionId!);
    let runs = 0;
    const used = pool.use(own, (client) => {
      runs += 1;
      return client.callTool({ name: 'count' });
    });
    await expect(used).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'not-executed' });
    await expect(stuck).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    expect(runs).toBe(1);
    for (const { signal } of [one, two])
      expect(signal.reason).toMatchObject({ code: 'SESSION_LOST' });
    const next = await pool.acquire(own);
    expect(next.reused).toBe(false);
    expect(textOf(await next.client.callTool({ name: 'count' }))).toBe('1');
    expect((await pool.acquire(own)).reused).toBe(true);
    expect(server.count('initialize')).toBe(2);
  });

  test('is not ended by age or by the cap, but by affinityIdleTimeoutMs', async () => {
    const { server, pool, target } = await scene(0, {
      ...{ maxSessions: 1, maxLifetimeMs: 50, idleTimeoutMs: 50, affinityIdleTimeoutMs: 400 },
    });
    const own = affine(target);
    const held = await pool.acquire(own);
    await held.client.callTool({ name: 'count' });
    await pause(120);
    // It gives way to nobody: neither in use, nor idle.
    const other = { ...target, identity: 'bob' };
    await expect(pool.acquire(other, { timeoutMs: 100 })).rejects.toMatchObject({
      code: 'ACQUIRE_TIMEOUT',
    });
    held.release();
    await expect(pool.acquire(other, { timeoutMs: 100 })).rejects.toMatchObject({
      code: 'ACQUIRE_TIMEOUT',
    });
    expect(
      await pool.use(own, async (client) => textOf(await client.callTool({ name: 'count' }))),
    ).toBe('2');
    await until(() => server.sessions.size === 0);
    expect([server.count('DELETE'), pool.stats().sessions.idle]).toEqual([1, 0]);
    await pool.use(other, (client) => client.ping());
  });

  test.each(['when-released', 'now'] as const)('ends by retire, leased: %s', async (leased) => {
    const { server, pool, target } = await scene(0);
    const own = affine(target);
    const held = await pool.acquire(own);
    await pool.use(target, (client) => client.ping());
    const ended = held.sessionId!;
    expect(pool.retire({ affinity: 'downstream' }, { leased })).toBe(1);
    expect(held.signal.aborted).toBe(leased === 'now');
    // One session per affinity: the next one opens when this one is gone.
    const waiting = pool.acquire(own);
    if (leased === 'when-released') {
      await held.client.callTool({ name: 'count' });
      expect(pool.stats().waiting).toBe(1);
      held.release();
    }
    expect(await waiting).toMatchObject({ reused: false });
    expect([server.sessions.has(ended), server.count('DELETE')]).toEqual([false, 1]);
    // The one without affinity stays.
    expect(server.sessions.size).toBe(2);
  });

  test('with a call nested in the work of a retired session ends in ACQUIRE_TIMEOUT, not never', async () => {
    const { pool, target } = await scene(0, { acquireTimeoutMs: 200 });
    const own = affine(target);
    const nested = pool.use(own, async () => {
      pool.retire({ affinity: 'downstream' });
      return pool.use(own, (client) => client.ping());
    });
    await expect(nested).rejects.toMatchObject({ code: 'ACQUIRE_TIMEOUT', phase: 'wait' });
    expect(await pool.use(own, (_client, { reused }) => reused)).toBe(false);
  });
});
