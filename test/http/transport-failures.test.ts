// What a failed call tells of what a server did: a code, whether the server can have executed the
// call, whether the session is gone, the status, the beginning of the body, when to come back.

import type { Socket } from 'node:net';
import { ManualClock } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { answerOf, startByteServer, writeInParts } from '../support/byte-server.ts';
import { lend } from '../support/http-sessions.ts';
import {
  answerJson,
  beginEvents,
  eventOf,
  pause,
  type RawExchange,
  until,
} from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import {
  notification,
  rejectionOf,
  request,
  resultOf,
  stateWithin,
  useTransports,
} from '../support/transport-fixture.ts';

const { closers, serve, start, prepare, connect } = useTransports();
const { newSessions, serveRaw } = useSessions();

type Behaviour = (each: RawExchange) => void;

const answer =
  (status: number, headers: Record<string, string> = {}, body = ''): Behaviour =>
  ({ response }) =>
    void response.writeHead(status, headers).end(body);
const raw =
  (bytes: string, end: 'end' | 'destroy' | 'resetAndDestroy'): Behaviour =>
  ({ response: { socket } }) =>
    void socket?.write(bytes, () => setTimeout(() => socket[end](), 20));

const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n';
const SSE =
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';

const DATE = 'Wed, 21 Oct 2037 07:28:00 GMT';
const LOST = { execution: 'unknown', sessionLost: true, status: undefined, body: '' };
const cutBefore = { ...LOST, code: 'CONNECTION_LOST' };
const cutAfter = { ...LOST, code: 'RESPONSE_CUT' };
const refused = { execution: 'not-executed', sessionLost: false };
const failed = { execution: 'unknown', sessionLost: false };

/** A server's behaviour and what a call in a session tells of it. */
const TABLE: [string, Behaviour, object][] = [
  ['reset before headers', ({ response }) => void response.socket?.resetAndDestroy(), cutBefore],
  ['closed before headers', ({ response }) => void response.socket?.destroy(), cutBefore],
  ['half-closed before headers', ({ response }) => void response.socket?.end(), cutBefore],
  ['reset in mid-headers', raw('HTTP/1.1 200 OK\r\ncontent-ty', 'resetAndDestroy'), cutBefore],
  ['closed in mid-headers', raw(HEAD, 'destroy'), cutBefore],
  ['garbage', raw('220 smtp.example ESMTP\r\n', 'end'), cutBefore],
  ['JSON cut', raw(`${HEAD}content-length: 90\r\n\r\n{"jsonrpc"`, 'destroy'), cutAfter],
  ['JSON reset', raw(`${HEAD}content-length: 90\r\n\r\n{"jsonrpc"`, 'resetAndDestroy'), cutAfter],
  ['a stream cut', raw(`${SSE}9\r\n: hello\n\n\r\n`, 'destroy'), cutAfter],
  ['a stream reset', raw(`${SSE}9\r\n: hello\n\n\r\n`, 'resetAndDestroy'), cutAfter],
  ['a stream cut in mid-event', raw(`${SSE}9\r\ndata: {"i\r\n`, 'end'), cutAfter],
  ['a stream ended', answer(200, { 'content-type': 'text/event-stream' }), cutAfter],
  [
    'a coding that is none',
    answer(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }, 'no gzip'),
    { ...failed, code: 'UNEXPECTED_CONTENT', status: undefined },
  ],
  ['400', answer(400, {}, 'bad'), { ...refused, code: 400, status: 400, body: 'bad' }],
  ['401', answer(401), { ...refused, code: 401, status: 401, body: '' }],
  ['403', answer(403), { ...refused, code: 403 }],
  ['404', answer(404), { ...refused, code: 404, sessionLost: true }],
  ['405', answer(405), { ...refused, code: 405 }],
  ['408', answer(408), { ...failed, code: 408 }],
  ['413', answer(413), { ...refused, code: 413 }],
  ['429', answer(429), { ...refused, code: 429, retryAfterMs: undefined }],
  ['429 and 3 s', answer(429, { 'retry-after': '3' }), { ...refused, retryAfterMs: 3_000 }],
  ['429 and a day', answer(429, { 'retry-after': '86400' }), { retryAfterMs: 300_000 }],
  ['429 and now', answer(429, { 'retry-after': '0' }), { retryAfterMs: 0 }],
  ['429 and a fraction', answer(429, { 'retry-after': '1.5' }), { retryAfterMs: undefined }],
  ['429 and the past', answer(429, { 'retry-after': '-5' }), { retryAfterMs: undefined }],
  ...[
    { retry: 'Wed, 21 Oct 2037 07:28:40 GMT', date: DATE, retryAfterMs: 40_000 },
    { retry: 'Wednesday, 21-Oct-37 07:28:40 GMT', date: DATE, retryAfterMs: 40_000 },
    { retry: 'Wed Oct 21 07:28:40 2037', date: DATE, retryAfterMs: undefined },
    { retry: 'Wed, 21 Oct 2037 07:27:00 GMT', date: DATE, retryAfterMs: 0 },
    { retry: 'Wed, 21 Oct 2039 07:28:00 GMT', date: DATE, retryAfterMs: 300_000 },
    { retry: 'Wed, 21 Oct 2037 07:28:00 GMT', date: 'today', retryAfterMs: undefined },
    { retry: 'soon', date: DATE, retryAfterMs: undefined },
    { retry: '2037-10-21', date: DATE, retryAfterMs: undefined },
  ].map(({ retry, date, retryAfterMs }): [string, Behaviour, object] => [
    `429 and ${retry}, sent ${date}`,
    answer(429, { 'retry-after': retry, date }),
    { retryAfterMs },
  ]),
  ['500', answer(500), { ...failed, code: 500 }],
  ['502', answer(502), { ...failed, code: 502 }],
  ['503 and 2 s', answer(503, { 'retry-after': '2' }), { ...failed, retryAfterMs: 2_000 }],
  ['302', answer(302, { location: '/other' }), { ...refused, code: 302 }],
  [
    '307 to another origin',
    answer(307, { location: 'http://other.example/mcp?token=t' }),
    { ...refused, code: 307, message: 'Redirect to http://other.example/mcp not followed' },
  ],
  ['304', answer(304), { ...refused, code: 304 }],
];

describe('a call tells what its server did', () => {
  test.each(TABLE)('%s', async (_, behave, expected) => {
    const server = await serve({ 'tools/call': behave });
    const { client } = await connect(server.url);
    const error = await rejectionOf(client.callTool({ name: 'x' }));
    expect(error).toMatchObject({ name: 'HttpRequestError', ...expected });
    expect(error).toBeInstanceOf(Error);
    expect(String(error['message'])).not.toMatch(/session-1|token/);
    await until(() => server.pending === 0);
  });

  test('refused: nothing can have been executed', async () => {
    const server = await serve();
    const { client } = await connect(server.url);
    await server.close();
    // Until the connections that are kept alive have heard of it, a call may be written to one.
    await pause(50);
    expect(await rejectionOf(client.callTool({ name: 'x' }))).toMatchObject({
      code: 'CONNECT_FAILED',
      execution: 'not-executed',
      sessionLost: true,
      status: undefined,
      cause: { code: 'ECONNREFUSED' },
    });
  });

  test('404 without a session id: no session is lost', async () => {
    const server = await serve({ initialize: answer(404, {}, 'no such page') });
    const { client, transport } = prepare(server.url);
    expect(await rejectionOf(client.connect(transport))).toMatchObject({
      ...{ code: 404, sessionLost: false, execution: 'not-executed', body: 'no such page' },
    });
  });

  test('an idle connection that the server closes costs no call', async () => {
    const sockets: (Socket | null)[] = [];
    const server = await serve({
      'tools/call': (each) => {
        sockets.push(each.response.socket);
        answerJson(each, { content: [] });
      },
    });
    const { client } = await connect(server.url, { notifications: false });
    for (let n = 0; n < 3; n += 1) {
      // On every connection there is.
      await Promise.all([1, 2, 3].map(() => client.callTool({ name: 'x' })));
      for (const socket of sockets) socket?.destroy();
      await until(() => server.openSockets === 0);
      await pause(20);
    }
    await client.callTool({ name: 'x' });
    expect(server.count('POST', 'tools/call')).toBe(10);
  });
});

test('a failed send is told by its rejection, and not to `onerror` too', async () => {
  const server = await serve({
    'tools/call': answer(500),
    'notifications/x': answer(500),
    DELETE: answer(500),
  });
  const { transport, errors } = await start(server.url);
  await rejectionOf(transport.send(request(1)));
  await rejectionOf(transport.send(notification()));
  await rejectionOf(transport.terminateSession());
  expect(errors).toEqual([]);
});

describe('the body of a refusal', () => {
  test('is kept up to 4,096 bytes, and the socket is freed there', async () => {
    const server = await serve({
      'tools/call': ({ response }) => {
        response.writeHead(503);
        const more = (): void => {
          if (!response.destroyed) response.write('é'.repeat(700), () => setImmediate(more));
        };
        more();
      },
    });
    // On a clock that stands still: it is the size that ends it, not the time.
    const { transport } = await start(server.url, { clock: new ManualClock() });
    const { code, body } = await rejectionOf(transport.send(request(1)));
    expect(code).toBe(503);
    expect(body).toBe('é'.repeat(2_048));
    await until(() => server.pending === 0);
  });

  // Row 7d, for calls.
  test('that trickles without end is waited for a second at most', async () => {
    const clock = new ManualClock();
    const server = await serve({
      'tools/call': ({ response }) => void response.writeHead(503).write('busy'),
    });
    const { transport } = await start(server.url, { clock });
    const failedCall = rejectionOf(transport.send(request(1)));
    await until(() => clock.pendingCount === 1);
    await pause(20);
    expect(clock.nextDueMs).toBe(1_000);
    await clock.advance(1_000);
    expect(await failedCall).toMatchObject({ code: 503, body: 'busy' });
    await until(() => server.pending === 0);
  });

  test('that is cut does not hide its status', async () => {
    const behave: Behaviour = ({ response }) =>
      void response.writeHead(500).write('half', () => setTimeout(() => response.destroy(), 20));
    const server = await serve({ 'tools/call': behave });
    const { client } = await connect(server.url);
    expect(await rejectionOf(client.callTool({ name: 'x' }))).toMatchObject({
      ...{ code: 500, execution: 'unknown', sessionLost: false, body: 'half' },
    });
  });

  test('with a JSON-RPC error in it is a refusal all the same, and keeps its words', async () => {
    const error = { code: -32_000, message: 'Bad Request: Session not initialized' };
    const server = await serve({
      'tools/call': ({ message, response }) => {
        response.writeHead(400, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, error }));
      },
    });
    const { client } = await connect(server.url);
    const refusal = await rejectionOf(client.callTool({ name: 'x' }));
    expect(refusal).toMatchObject({ code: 400, execution: 'not-executed' });
    expect(JSON.parse(String(refusal['body']))).toMatchObject({ error });
  });

  test('of a message without response is kept too', async () => {
    const server = await serve({ 'notifications/x': answer(400, {}, 'no') });
    const { transport } = await start(server.url);
    const error = await rejectionOf(transport.send(notification()));
    expect(error).toMatchObject({ status: 400, body: 'no' });
  });
});

describe('an answer that is slow is no failure', () => {
  const result = JSON.stringify(resultOf(1));

  test.each([
    ['in its headers', [...answerOf(result, { 'content-type': 'application/json' })]],
    [
      'after early hints',
      [
        'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n',
        'HTTP/1.1 102 Processing\r\n\r\n',
        answerOf(result, { 'content-type': 'application/json' }),
      ],
    ],
  ])('%s', async (_, parts) => {
    const bytes = parts.map((part) => (typeof part === 'number' ? Buffer.from([part]) : part));
    const server = await startByteServer(({ socket }) => void writeInParts(socket, bytes));
    closers.push(() => server.close());
    const { transport, messages } = await start(server.url);
    await transport.send(request(1));
    expect(messages[0]?.message).toEqual(resultOf(1));
  });

  test('on a stream that comes byte by byte', async () => {
    const server = await serve({
      'tools/call': (each) => {
        const response = beginEvents(each);
        const bytes = Buffer.from(eventOf(resultOf(each.message.id, 'ü€𝄞')));
        let at = 0;
        const more = (): void => {
          if (at >= bytes.length) response.end();
          else response.write(bytes.subarray(at, at + 1), () => setImmediate(more));
          at += 1;
        };
        more();
      },
    });
    const { client } = await connect(server.url);
    const { content } = await client.callTool({ name: 'x' });
    expect(content).toEqual([{ type: 'text', text: 'ü€𝄞' }]);
  });
});

describe('a call of a lease', () => {
  test.each(TABLE)('tells its pool the same: %s', async (_, behave, expected) => {
    const server = await serveRaw({ 'tools/call': behave });
    const session = await newSessions().open(server.url);
    const { client } = lend(session);
    const error = await rejectionOf(client.callTool({ name: 'x' }));
    const own = (error['code'] === 'SESSION_LOST' ? error['cause'] : error) as Record<
      string,
      unknown
    >;
    expect(own).toMatchObject({ name: 'HttpRequestError', ...expected });
    expect(session.lost?.aborted).toBe(own['sessionLost']);
    if (own['sessionLost'])
      expect(error).toMatchObject({ code: 'SESSION_LOST', execution: own['execution'] });
  });

  test('after the session was lost rejects at once, not executed', async () => {
    const server = await serveRaw({ 'tools/call': answer(404) });
    const session = await newSessions().open(server.url);
    const { client } = lend(session);
    await rejectionOf(client.callTool({ name: 'x' }));
    const late = client.callTool({ name: 'x' });
    expect(await stateWithin(1_000, late)).toBe('rejected');
    expect(server.count('POST', 'tools/call')).toBe(1);
  });
});
