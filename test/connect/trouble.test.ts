// What goes wrong where no call can tell of it: it reaches `onTrouble`, breaks nothing, and does
// not reject unheard (the guard of all tests looks for that). Handlers that throw are hazard 14d.

import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, it, vi } from 'vitest';
import { createDefaultConnector } from '../../src/connect/default-connector.ts';
import { HttpSessions, lend } from '../support/http-sessions.ts';
import { answerJson, beginEvents, eventOf, pause, until } from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import { testSettings } from '../support/session-settings.ts';

const { closers, serveRaw } = useSessions();

const boom = new Error('boom');
const explode = (): never => {
  throw boom;
};

/** Sessions that record their trouble. */
function newSessions(): { sessions: HttpSessions; trouble: unknown[] } {
  const trouble: unknown[] = [];
  const sessions = new HttpSessions({ onTrouble: (error) => trouble.push(error) });
  closers.push(() => sessions.cutAll());
  return { sessions, trouble };
}

const listChanged = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' };

describe('a handler that throws', () => {
  it('breaks neither its own lease nor another one, and is told as trouble', async () => {
    const server = await serveRaw({
      'tools/call': (exchange) => {
        const { id } = exchange.message;
        const answer = eventOf({ jsonrpc: '2.0', id, result: { content: [] } });
        beginEvents(exchange, eventOf(listChanged) + answer).end();
      },
    });
    const { sessions, trouble } = newSessions();
    const session = await sessions.open({ url: server.url, leasesPerSession: 2 });
    const one = lend(session, { onNotification: explode });
    const two = lend(session);
    two.client.setNotificationHandler(ToolListChangedNotificationSchema, explode);
    await expect(one.client.callTool({ name: 'x' })).resolves.toBeDefined();
    await expect(two.client.callTool({ name: 'x' })).resolves.toBeDefined();
    await until(() => trouble.length >= 2);
    for (const error of trouble) {
      expect(String(error)).toContain('boom');
    }
    expect(session.lost?.aborted).toBe(false);
  });

  it('on the end of a lease leaves no call unsettled, here or on another lease', async () => {
    const server = await serveRaw({
      'tools/call': (exchange) => {
        const { message } = exchange;
        if (message.params?.['name'] === 'hang') beginEvents(exchange, ': silence\n\n');
        else answerJson(exchange, { content: [] });
      },
    });
    const { sessions, trouble } = newSessions();
    const session = await sessions.open({ url: server.url, leasesPerSession: 2 });
    const [one, two] = [lend(session), lend(session)];
    one.client.onclose = explode;
    two.client.onclose = explode;
    const outcome = one.client.callTool({ name: 'hang' }).catch((error) => error.code);
    await until(() => server.pending === 1);
    one.release();
    expect(await outcome).toBe('LEASE_RELEASED');
    await expect(two.client.callTool({ name: 'x' })).resolves.toBeDefined();
    expect(trouble).toEqual([boom]);
    const last = two.client.callTool({ name: 'hang' }).catch((error) => error.code);
    await until(() => server.pending === 1);
    await sessions.close(session);
    expect(await last).toBe('SESSION_LOST');
    await until(() => server.openSockets === 0);
  });

  it('on the failure of an open rejects nothing unheard (a server that hangs up)', async () => {
    const server = await serveRaw({ initialize: ({ response }) => response.destroy() });
    const sessions = new HttpSessions({ onTrouble: explode });
    closers.push(() => sessions.cutAll());
    await expect(sessions.open(server.url)).rejects.toThrow();
    await expect(sessions.open(server.url)).rejects.toThrow();
    await until(() => server.openSockets === 0);
  });
});

describe('trouble', () => {
  it('is a notification stream that can not be opened, told once', async () => {
    const server = await serveRaw({ GET: ({ response }) => response.writeHead(500).end() });
    const { sessions, trouble } = newSessions();
    const session = await sessions.open({ url: server.url, notifications: true });
    await until(() => trouble.length > 0);
    await pause(20);
    expect(trouble).toEqual([expect.objectContaining({ code: 500 })]);
    expect(session.lost?.aborted).toBe(false);
  });

  it('is a refusal that could not be sent, told once', async () => {
    const asked = { jsonrpc: '2.0', id: 7, method: 'sampling/createMessage', params: {} };
    const server = await serveRaw({
      'tools/call': (exchange) => void beginEvents(exchange, eventOf(asked)),
      response: ({ response }) => response.writeHead(500).end(),
    });
    const { sessions, trouble } = newSessions();
    const session = await sessions.open(server.url);
    const onRequest = vi.fn(() => new Promise<Record<string, unknown>>(() => {}));
    const { client, release } = lend(session, { onRequest });
    client.callTool({ name: 'x' }).catch(() => {});
    await until(() => onRequest.mock.calls.length === 1);
    release();
    await until(() => trouble.length > 0);
    await pause(20);
    expect(trouble).toEqual([expect.objectContaining({ code: 500 })]);
  });

  it('is not what we do ourselves: cancelled calls, ended streams, teardowns', async () => {
    const server = await serveRaw({
      'tools/call': () => {},
      GET: (exchange) => void beginEvents(exchange).end(),
    });
    const { sessions, trouble } = newSessions();
    const session = await sessions.open({ url: server.url, notifications: true });
    const { client } = lend(session);
    const controller = new AbortController();
    const { signal } = controller;
    const calls = [client.callTool({ name: 'x' }, undefined, { signal }).catch(() => {})];
    calls.push(client.callTool({ name: 'x' }).catch(() => {}));
    await until(() => server.count('POST', 'tools/call') === 2 && server.count('GET') > 0);
    controller.abort(boom);
    await until(() => server.pending === 1);
    await sessions.close(session);
    await Promise.all(calls);
    await pause(20);
    expect(trouble).toEqual([]);
  });

  it('reaches the option of the default connector', async () => {
    const server = await serveRaw({ GET: ({ response }) => response.writeHead(500).end() });
    const trouble: unknown[] = [];
    const connect = createDefaultConnector({});
    const settings = testSettings({}, { onTrouble: (error) => trouble.push(error) });
    const { signal } = new AbortController();
    const target = { url: server.url, notifications: true };
    const session = await connect(target, { signal, key: 'k', settings, headers: () => ({}) });
    closers.push(() => session.sever?.(boom));
    await until(() => trouble.length > 0);
    expect(trouble).toHaveLength(1);
  });
});
