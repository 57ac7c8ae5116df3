// The life of a hostile server: good until told, hostile, good again, cut, closed; and its counts.

import { type HostileServer, hostileServer } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { initializeMessage, post, type RawAnswer, send } from '../support/raw-client.ts';
import { until } from '../support/raw-server.ts';

const closing = closeAfterEach();

const isDone = (answer: RawAnswer): boolean => answer.isEnded || answer.error !== undefined;

async function initialize({ url }: HostileServer): Promise<RawAnswer> {
  const answer = post(url, initializeMessage);
  await until(() => isDone(answer));
  return answer;
}

describe('a server is good until it is told, and again when it is told', () => {
  test('with a hazard of answers', async () => {
    const server = closing(await hostileServer('unavailable', { hostile: false }));
    expect(server.isHostile).toBe(false);
    expect((await initialize(server)).status).toBe(200);
    await server.misbehave();
    expect(server.isHostile).toBe(true);
    expect((await initialize(server)).status).toBe(503);
    await server.behave();
    expect((await initialize(server)).status).toBe(200);
  });

  test('with a port that is closed: its connections are cut, and it comes back on it', async () => {
    const server = closing(await hostileServer('refuses-connections', { hostile: false }));
    const { href } = server.url;
    expect((await initialize(server)).status).toBe(200);
    await server.misbehave();
    expect(server.openSockets).toBe(0);
    expect((await initialize(server)).error).toBe('ECONNREFUSED');
    await server.misbehave();
    await server.behave();
    await server.behave();
    expect((await initialize(server)).status).toBe(200);
    expect(server.url.href).toBe(href);
  });

  test('what hangs goes on hanging, until it is cut', async () => {
    const server = closing(await hostileServer('black-hole'));
    const hanging = post(server.url, initializeMessage);
    await until(() => server.requests.length === 1);
    await server.behave();
    expect((await initialize(server)).status).toBe(200);
    expect(hanging.status).toBeUndefined();
    server.cut();
    await until(() => isDone(hanging));
    expect(hanging.error).toBe('ECONNRESET');
    expect((await initialize(server)).status).toBe(200);
  });
});

describe('a good server', () => {
  test('answers calls, pings and lists, and knows its sessions', async () => {
    const server = closing(await hostileServer('black-hole', { hostile: false }));
    const sessionId = String((await initialize(server)).headers['mcp-session-id']);
    const ask = async (message: object, id?: string): Promise<[number | undefined, unknown]> => {
      const answer = post(server.url, { id: 7, ...message }, id);
      await until(() => answer.isEnded);
      const { result, error } = JSON.parse(answer.text) as Record<string, unknown>;
      return [answer.status, result ?? error];
    };
    const call = { method: 'tools/call', params: { name: 'echo', arguments: { text: 'x' } } };
    expect(await ask(call, sessionId)).toEqual([200, { content: [{ type: 'text', text: 'x' }] }]);
    expect(await ask({ method: 'ping' }, sessionId)).toEqual([200, {}]);
    expect(await ask({ method: 'tools/list' }, sessionId)).toMatchObject([
      200,
      { tools: [{ name: 'echo' }] },
    ]);
    expect(await ask({ method: 'nonsense' }, sessionId)).toMatchObject([200, { code: -32_601 }]);
    expect(await ask(call)).toMatchObject([400, {}]);
    expect(await ask(call, 'stranger')).toMatchObject([404, {}]);
    const ended = send(server.url, 'DELETE', { 'mcp-session-id': sessionId });
    await until(() => ended.isEnded);
    expect([ended.status, (await ask(call, sessionId))[0]]).toEqual([204, 404]);
  });

  test('negotiates a revision: the one asked for, or its newest', async () => {
    const server = closing(await hostileServer('black-hole', { hostile: false }));
    const negotiated = async (protocolVersion: string): Promise<unknown> => {
      const params = { ...initializeMessage.params, protocolVersion };
      const answer = post(server.url, { ...initializeMessage, params });
      await until(() => answer.isEnded);
      const { result } = JSON.parse(answer.text) as { result: { protocolVersion: unknown } };
      return result.protocolVersion;
    };
    expect(await negotiated('2025-03-26')).toBe('2025-03-26');
    expect(await negotiated('1999-01-01')).toBe('2025-11-25');
  });
});

test('counts requests, sockets, connections and bytes', async () => {
  const server = closing(await hostileServer('black-hole'));
  const first = post(server.url, initializeMessage);
  const second = send(server.url, 'GET');
  const third = post(server.url, { method: 'notifications/initialized' });
  await until(() => server.requests.length === 3);
  expect([server.count('POST'), server.count('GET'), server.count('DELETE')]).toEqual([2, 1, 0]);
  expect(server.count('POST', 'initialize')).toBe(1);
  expect([server.connections, server.openSockets, server.pending]).toEqual([3, 3, 3]);
  expect(server.bytesSent).toBe(0);
  const posted = server.requests.find(({ message }) => message.method === 'initialize');
  expect(posted).toMatchObject({ method: 'POST', path: '/mcp', message: initializeMessage });
  expect(JSON.parse(posted?.body ?? '')).toMatchObject({ jsonrpc: '2.0' });
  for (const answer of [first, second, third]) answer.hangUp();
  await until(() => server.openSockets === 0);
  expect([server.connections, server.pending]).toEqual([3, 0]);
  await server.behave();
  await initialize(server);
  expect(server.bytesSent).toBeGreaterThan(100);
});

test('closes for good, any number of times, whatever hangs on it', async () => {
  const server = await hostileServer('never-ends');
  const hanging = post(server.url, { id: 1, method: 'tools/call' });
  await until(() => hanging.status !== undefined);
  await Promise.all([server.close(), server.close(), server[Symbol.asyncDispose]()]);
  expect([server.openSockets, server.pending]).toEqual([0, 0]);
  await server.behave();
  expect((await initialize(server)).error).toBe('ECONNREFUSED');
});

test('several hazards at once: of those that take a request, the first does', async () => {
  const also = ['forbidden', 'delete-unanswered'] as const;
  const server = closing(await hostileServer('initialized-unanswered', { also }));
  const unanswered = post(server.url, { method: 'notifications/initialized' });
  expect((await initialize(server)).status).toBe(403);
  const refused = send(server.url, 'DELETE');
  await until(() => refused.isEnded);
  expect([refused.status, unanswered.status]).toEqual([403, undefined]);
  unanswered.hangUp();
  const sse = closing(await hostileServer('forbidden', { also: ['sse-drops'] }));
  expect([server.url.pathname, sse.url.pathname]).toEqual(['/mcp', '/sse']);
});

test('a name that is none is refused with those there are', async () => {
  await expect(hostileServer('toString' as never)).rejects.toThrow(
    /^Expected the name of a hostile server, got `toString`: .*never-ends/,
  );
  const also = ['nonsense' as never];
  await expect(hostileServer('never-ends', { also })).rejects.toThrow(/got `nonsense`/);
});
