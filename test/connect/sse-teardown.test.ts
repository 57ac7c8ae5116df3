// The rungs of the end of a session over the older HTTP+SSE protocol, and that nothing of it is
// left: no request, no socket, nothing rooted.

import { describe, expect, it } from 'vitest';
import { lend, type OpenSession } from '../support/http-sessions.ts';
import { beginEvents, pause, until } from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import { type SseServer, take } from '../support/sse-server.ts';

const { newSessions, serveSse } = useSessions();

const over = new Error('taken down');

/** The rungs after `terminate`. */
async function takeDown(session: OpenSession): Promise<void> {
  await session.client.close();
  await session.transport.close();
  session.sever(over);
}

/** Holds nothing: the helper's lease, or one made in a test, would hold the session by itself. */
const BARE_LEASE = { headers: () => ({}), end: () => {}, endedWith: () => undefined };

const open = (server: SseServer): Promise<OpenSession> =>
  newSessions().open({ url: server.url, transport: 'sse' });

describe('the end of an SSE session', () => {
  it('tells the server of the calls in flight before all else, and waits for that in rung 2', async () => {
    const server = await serveSse({ 'tools/call': take, 'notifications/cancelled': () => {} });
    const session = await open(server);
    const codes = [1, 2].map(() =>
      lend(session)
        .client.callTool({ name: 'x' })
        .catch(({ code }) => code),
    );
    await until(() => server.count('POST', 'tools/call') === 2);
    session.fence(over);
    expect(await Promise.all(codes)).toEqual(['SESSION_LOST', 'SESSION_LOST']);
    const controller = new AbortController();
    const terminating = Promise.allSettled([session.terminate(controller.signal)]);
    await until(() => server.count('POST', 'notifications/cancelled') === 2);
    const late = Promise.race([terminating, pause(30).then(() => 'waits')]);
    expect(await late).toBe('waits');
    controller.abort(over);
    await terminating;
    await takeDown(session);
    await until(() => server.openSockets === 0);
  });

  it('tells nothing when the session is lost: its server is gone, or has forgotten it', async () => {
    const server = await serveSse({ 'tools/call': take });
    const session = await open(server);
    const outcome = lend(session)
      .client.callTool({ name: 'x' })
      .catch(({ code }) => code);
    await until(() => server.count('POST', 'tools/call') === 1);
    server.streams[0]?.response.end();
    expect(await outcome).toBe('SESSION_LOST');
    session.fence(over);
    await session.terminate(new AbortController().signal);
    await takeDown(session);
    expect(server.count('POST', 'notifications/cancelled')).toBe(0);
    await until(() => server.openSockets === 0);
  });

  it('keeps its stream until the transport is closed, and asks for no other', async () => {
    const server = await serveSse();
    const session = await open(server);
    session.fence(over);
    await pause(20);
    expect(server.streams).toHaveLength(1);
    // In mid-teardown: the `EventSource` would ask again.
    server.streams[0]?.response.end('retry: 0\n\n');
    await pause(1_300);
    await takeDown(session);
    expect(server.count('GET')).toBe(1);
  });

  it('lets nothing out that waited for its headers when the fence fell', async () => {
    const server = await serveSse({ 'tools/call': take });
    const session = await open(server);
    let give = (_: Record<string, string>): void => {};
    const headers = (): Promise<Record<string, string>> =>
      new Promise((resolve) => {
        give = resolve;
      });
    const client = session.lend({ ...BARE_LEASE, headers });
    const outcomes = Promise.allSettled([client.callTool({ name: 'x' }), client.ping()]);
    await pause(5);
    session.fence(over);
    give({});
    const lost = { reason: { code: 'SESSION_LOST' } };
    expect(await outcomes).toMatchObject([lost, lost]);
    await pause(30);
    expect(server.count('POST', 'tools/call') + server.count('POST', 'ping')).toBe(0);
  });

  it('can be called for again in any order, and rejects what is sent afterwards', async () => {
    const server = await serveSse();
    const session = await open(server);
    session.sever(over);
    await until(() => server.openSockets === 0);
    session.sever(over);
    session.fence(over);
    await takeDown(session);
    await session.transport.close();
    await expect(session.probe(new AbortController().signal)).rejects.toThrow();
    expect(server.count('GET')).toBe(1);
  });

  it.each(['hung', 'refused', 'cut'])(
    'leaves nothing of a session rooted whose calls were %s',
    async (how) => {
      const server = await serveSse({
        'tools/call': ({ response, stream }) => {
          if (how === 'refused') response.writeHead(404).end();
          if (how === 'cut') stream?.response.destroy();
        },
      });
      const sessions = newSessions();
      const refs: WeakRef<object>[] = [];
      const saved: unknown[] = [];
      for (let n = 0; n < 10; n += 1) {
        const session = await sessions.open({ url: server.url, transport: 'sse' });
        const client = session.lend(BARE_LEASE);
        const outcome = client.callTool({ name: 'x' }).catch((error: unknown) => error);
        await until(() => server.count('POST', 'tools/call') === n + 1);
        if (how !== 'hung') await until(() => session.lost?.aborted === true);
        refs.push(new WeakRef(session), new WeakRef(session.transport));
        sessions.forget(session);
        session.fence(over);
        // What a careless caller keeps must not keep the session.
        saved.push(client, await outcome);
        await takeDown(session);
      }
      await until(() => server.openSockets === 0);
      await untilCollected(refs);
      expect(saved).toHaveLength(20);
    },
  );
});

it('an open over SSE that never settles roots nothing once it is given up (row 7a)', async () => {
  const server = await serveSse({ GET: (exchange) => void beginEvents(exchange) });
  const refs: WeakRef<object>[] = [];
  for (let n = 0; n < 10; n += 1) {
    const controller = new AbortController();
    const { signal } = controller;
    // The context is what the transport asks for headers with.
    const headers = (): Record<string, string> => ({});
    refs.push(new WeakRef(headers));
    const opening = newSessions().open({ url: server.url, transport: 'sse' }, { signal, headers });
    const outcome = Promise.allSettled([opening]);
    await until(() => server.count('GET') === n + 1);
    controller.abort(over);
    expect(await outcome).toMatchObject([{ reason: over }]);
  }
  await until(() => server.openSockets === 0);
  await untilCollected(refs);
});

/** The last ones may still be held by variables of a loop. */
async function untilCollected(refs: readonly WeakRef<object>[]): Promise<void> {
  await until(() => {
    (globalThis as { gc?: () => void }).gc?.();
    return refs.filter((ref) => ref.deref() !== undefined).length <= 2;
  }, 5_000);
}
