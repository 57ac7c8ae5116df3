// What ends a session over the older HTTP+SSE protocol, and what does not: its stream is the
// session, and a call that is refused is judged as any other (rows 7b, 7c and 10d of the hazards).

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { describe, expect, it } from 'vitest';
import { type HttpSessions, lend, type OpenSession } from '../support/http-sessions.ts';
import { eventOf, pause, until } from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import {
  echo,
  type SseHandlers,
  type SseServer,
  type SseStream,
  take,
} from '../support/sse-server.ts';

const { newSessions, serveSse } = useSessions();

const call = (client: Client): Promise<unknown> => client.callTool({ name: 'x' });

async function scene(
  handlers: SseHandlers = {},
  sessions: HttpSessions = newSessions(),
): Promise<{ server: SseServer; session: OpenSession; client: Client; stream: SseStream }> {
  const server = await serveSse({ 'tools/call': take, ...handlers });
  const session = await sessions.open({ url: server.url, transport: 'sse', leasesPerSession: 4 });
  await until(() => server.count('POST', 'notifications/initialized') === 1);
  return { server, session, client: lend(session).client, stream: server.streams[0]! };
}

describe('an SSE session is lost at once, with the calls in flight, when', () => {
  it.each<[string, string, (stream: SseStream) => void]>([
    ['the server ends the stream', 'RESPONSE_CUT', ({ response }) => response.end()],
    ['the connection is cut', 'RESPONSE_CUT', ({ response }) => response.destroy()],
    [
      'the stream ends with `retry: 0`',
      'RESPONSE_CUT',
      ({ response }) => response.end('retry: 0\n\n'),
    ],
    [
      'the stream ends with a `retry` beyond what a timer takes',
      'RESPONSE_CUT',
      ({ response }) => response.end('retry: 3000000000\n\n'),
    ],
    [
      'what comes is no JSON',
      'UNEXPECTED_CONTENT',
      ({ response }) => response.write('data: {\n\n'),
    ],
    ['what comes is no message', 'UNEXPECTED_CONTENT', ({ send }) => send({ jsonrpc: '1.0' })],
    [
      'it names an endpoint of another origin',
      'UNEXPECTED_CONTENT',
      ({ response }) => response.write('event: endpoint\ndata: http://127.0.0.1:9/in\n\n'),
    ],
    [
      'an event is over the bound',
      'MESSAGE_TOO_LARGE',
      ({ send }) => send({ jsonrpc: '2.0', method: 'x', params: { text: 'x'.repeat(5_000) } }),
    ],
    [
      'a line never ends (row 10d)',
      'MESSAGE_TOO_LARGE',
      ({ response }) => response.write(`data: ${'x'.repeat(5_000)}`),
    ],
  ])('%s', async (_, code, act) => {
    const { server, session, client, stream } = await scene(
      {},
      newSessions({ maxMessageBytes: 4_096 }),
    );
    const calls = [call(client), call(lend(session).client)].map((each) =>
      each.catch((error: unknown) => error),
    );
    await until(() => server.count('POST', 'tools/call') === 2);
    const endedAt = performance.now();
    act(stream);
    const lost = { code: 'SESSION_LOST', execution: 'unknown' };
    expect(await Promise.all(calls)).toMatchObject([lost, lost]);
    // At once; the rest is for a busy machine. The SDK alone waits for the calls' own timeout.
    expect(performance.now() - endedAt).toBeLessThan(5_000);
    expect(session.lost?.reason).toMatchObject({ cause: { code } });
    const unsent = { code: 'SESSION_LOST', execution: 'not-executed' };
    await expect(call(client)).rejects.toMatchObject(unsent);
    expect(server.count('POST', 'tools/call')).toBe(2);
  });

  it('the server ends the stream with `retry: 0`, and no other stream is asked for', async () => {
    const { server, session, stream } = await scene();
    stream.response.end('retry: 0\n\n');
    await until(() => session.lost?.aborted === true);
    // Nobody has taken it down yet. The SDK alone asks at once.
    await pause(1_300);
    expect(server.count('GET')).toBe(1);
  });

  it('the server restarts: the next one never hears of the session', async () => {
    const { server, session, client } = await scene();
    const outcome = call(client).catch((error: unknown) => error);
    await until(() => server.count('POST', 'tools/call') === 1);
    await server.close();
    expect(await outcome).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    expect(session.lost?.aborted).toBe(true);
  });
});

describe('a call that an SSE server refuses', () => {
  it('with 404 loses the session: the endpoint is the session’s own, and nothing was executed', async () => {
    const { session, client } = await scene({
      'tools/call': ({ response }) => response.writeHead(404).end('Session not found'),
    });
    await expect(call(client)).rejects.toMatchObject({
      code: 'SESSION_LOST',
      execution: 'not-executed',
      cause: { code: 404, body: 'Session not found' },
    });
    expect(session.lost?.aborted).toBe(true);
  });

  it('with a 400 that speaks of the session loses it when the server, asked again, agrees', async () => {
    const { session, client } = await scene({
      'tools/call': ({ response }) => response.writeHead(400).end('No such session'),
      ping: ({ response }) => response.writeHead(400).end('No such session'),
    });
    await expect(call(client)).rejects.toMatchObject({
      code: 'SESSION_LOST',
      execution: 'not-executed',
    });
    expect(session.lost?.aborted).toBe(true);
  });

  it.each([
    [400, 'Bad Request', 'not-executed'],
    [400, 'No such session', 'not-executed'],
    [403, 'No', 'not-executed'],
    [429, 'Slow down', 'not-executed'],
    [500, 'Oops', 'unknown'],
  ])('with %i (%s) fails, and the session stays', async (status, body, execution) => {
    let isRefused = true;
    const { session, client } = await scene({
      'tools/call': (exchange) => {
        if (isRefused) exchange.response.writeHead(status).end(body);
        else echo(exchange);
      },
    });
    await expect(call(client)).rejects.toMatchObject({ code: status, body, execution });
    isRefused = false;
    await expect(call(client)).resolves.toBeDefined();
    expect(session.lost?.aborted).toBe(false);
  });

  it('with an answer whose body never ends fails within a second or two', async () => {
    const { client, server } = await scene({
      'tools/call': ({ response }) => void response.writeHead(500).write('Oo'),
    });
    await expect(call(client)).rejects.toMatchObject({ code: 500, body: 'Oo' });
    await until(() => server.pending === 1);
  });

  it('by cutting the connection of its POST fails, executed or not, and wears the session out', async () => {
    let worn = 0;
    const server = await serveSse({ 'tools/call': ({ response }) => response.destroy() });
    const target = { url: server.url, transport: 'sse', leasesPerSession: 4 } as const;
    const session = await newSessions().open(target, { worn: () => (worn += 1) });
    await expect(call(lend(session).client)).rejects.toMatchObject({
      code: 'SESSION_LOST',
      execution: 'unknown',
    });
    expect(worn).toBe(1);
    await session.probe(new AbortController().signal);
    expect(session.lost?.aborted).toBe(false);
  });
});

it('a server that floods an idle SSE session loses it', async () => {
  const server = await serveSse();
  const session = await newSessions().open({ url: server.url, transport: 'sse' });
  const notification = {
    jsonrpc: '2.0',
    method: 'notifications/message',
    params: { level: 'info' },
  };
  const flood = eventOf(notification).repeat(1_100);
  server.streams[0]?.response.write(flood);
  await until(() => session.lost?.aborted === true);
  expect(session.lost?.reason).toMatchObject({ code: 'SESSION_LOST' });
});

it.each([
  ['comments', ': x\n\n'],
  ['events of a kind that nobody knows', 'event: weather\ndata: fine\n\n'],
  ['a line without end', 'x'],
])('a server that floods an idle SSE session with %s loses it (P3)', async (_, piece) => {
  const server = await serveSse();
  const session = await newSessions().open({ url: server.url, transport: 'sse' });
  await until(() => server.count('POST', 'notifications/initialized') === 1);
  server.streams[0]?.response.write(piece.repeat(Math.ceil(1_200_000 / piece.length)));
  await until(() => session.lost?.aborted === true);
  expect(session.lost?.reason).toMatchObject({
    code: 'SESSION_LOST',
    cause: { message: 'The server flooded an idle session' },
  });
  await until(() => server.openSockets === 0);
  expect(server.count('GET')).toBe(1);
});

it('what an SSE server streams while somebody leases is no flood', async () => {
  const { server, session, client, stream } = await scene({ 'tools/call': echo });
  stream.response.write(': x\n\n'.repeat(300_000));
  expect(await call(client)).toMatchObject({ content: [{ text: '{}' }] });
  expect([session.lost?.aborted, server.openSockets > 0]).toEqual([false, true]);
});
