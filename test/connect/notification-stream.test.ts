// When a session over HTTP has a notification stream (GET), and what becomes of it.

import { describe, expect, it, vi } from 'vitest';
import type { HttpTarget } from '../../src/target.ts';
import { lend } from '../support/http-sessions.ts';
import { beginEvents, eventOf, pause, type RawHandlers, until } from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';

const { newSessions, serveRaw } = useSessions();

const hold: RawHandlers = { GET: (each) => beginEvents(each) };
const listener = { onNotification: (): void => {} };
const listChanged = { tools: { onChanged: (): void => {} } };
const changed = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' };

describe('the notification stream', () => {
  it.each<[string, Partial<HttpTarget>, Parameters<typeof newSessions>[0], object, number]>([
    ['is not opened when nobody listens', {}, {}, {}, 0],
    ['is opened when the target wants it', { notifications: true }, {}, {}, 1],
    ['is opened with affinity', { affinity: 'a' }, {}, {}, 1],
    ['is opened for listChanged', {}, { clientOptions: { listChanged } }, {}, 1],
    ['is opened for a lease with onNotification', {}, {}, listener, 1],
    ['is opened for a lease with onRequest', {}, {}, { onRequest: () => ({}) }, 1],
    ['is not opened when the target wants none', { notifications: false }, {}, listener, 0],
  ])('%s', async (_, target, options, lease, gets) => {
    const server = await serveRaw(hold);
    const session = await newSessions(options).open({ url: server.url, ...target });
    lend(session, lease);
    lend(session, lease);
    await until(() => server.count('GET') >= gets);
    await pause(30);
    expect(server.count('GET')).toBe(gets);
  });

  it('carries the headers of the session, not of the lease that wanted it', async () => {
    const server = await serveRaw(hold);
    const headers = () => ({ 'x-session': 'yes' });
    const session = await newSessions().open(server.url, { headers });
    lend(session, { ...listener, headers: { 'x-lease': 'no' } });
    await until(() => server.count('GET') === 1);
    expect(server.exchanges.at(-1)?.headers).toMatchObject({
      'x-session': 'yes',
      'mcp-session-id': session.sessionId,
    });
    expect(server.exchanges.at(-1)?.headers['x-lease']).toBeUndefined();
  });

  it('is not asked for again after a 405', async () => {
    const server = await serveRaw();
    const session = await newSessions().open({ url: server.url, notifications: true });
    await until(() => server.count('GET') === 1);
    lend(session, listener);
    await pause(1_200);
    expect(server.count('GET')).toBe(1);
    expect(session.lost?.aborted).toBe(false);
  });

  it('is opened again after the last event, no sooner than a second later', async () => {
    const server = await serveRaw({
      GET: (each) => {
        const stream = beginEvents(
          each,
          `retry: 0\n\n${eventOf(changed, { id: `e${each.count}` })}`,
        );
        if (each.count === 1) stream.end();
      },
    });
    const onNotification = vi.fn();
    const session = await newSessions().open(server.url);
    lend(session, { onNotification });
    await until(() => server.count('GET') === 2, 4_000);
    const [first, second] = server.exchanges.filter(({ method }) => method === 'GET');
    expect(second!.cameAt - first!.cameAt).toBeGreaterThan(950);
    expect(second!.headers['last-event-id']).toBe('e1');
    await until(() => onNotification.mock.calls.length === 2);
  });

  it('that the server refuses with 404 from the first is none, and ends nothing', async () => {
    const server = await serveRaw({ GET: ({ response }) => response.writeHead(404).end() });
    const session = await newSessions().open({ url: server.url, notifications: true });
    await until(() => server.count('GET') === 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(session.lost?.aborted).toBe(false);
    expect(server.count('GET')).toBe(1);
  });

  it('that the server refuses with 404 after it had given one ends the session', async () => {
    let gets = 0;
    const server = await serveRaw({
      GET: ({ response }) => {
        gets += 1;
        if (gets > 1) response.writeHead(404).end();
        else response.writeHead(200, { 'content-type': 'text/event-stream' }).end(': bye\n\n');
      },
    });
    const session = await newSessions().open({ url: server.url, notifications: true });
    await until(() => session.lost?.aborted === true);
    expect(session.lost?.reason).toMatchObject({ code: 'SESSION_LOST', cause: { status: 404 } });
  });

  it('that floods an idle session is closed, and calls still work', async () => {
    let endedAt: number | undefined;
    const server = await serveRaw({
      GET: (each) => {
        const stream = beginEvents(each, eventOf(changed).repeat(1_500));
        stream.on('close', () => {
          endedAt = performance.now();
        });
      },
      'tools/call': ({ message, response }) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, result: { content: [] } }));
      },
    });
    const session = await newSessions().open({ url: server.url, notifications: true });
    await until(() => endedAt !== undefined);
    await expect(lend(session).client.callTool({ name: 'x' })).resolves.toBeDefined();
    await pause(1_200);
    expect(server.count('GET')).toBe(1);
  });
});
