// Streams of calls that end before their response, but named an event to resume from: when they are
// asked for again, with what, and when that is given up.

import { ManualClock } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { lend, textOf } from '../support/http-sessions.ts';
import {
  beginEvents,
  eventOf,
  pause,
  type RawExchange,
  type RawHandlers,
  type RawServer,
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

const { serve, start, connect } = useTransports();
const { newSessions, serveRaw } = useSessions();

/** Begins the stream of a call with one event id and `retry`, and ends it. */
const endAfterId =
  (id: string, retry: number | undefined) =>
  (each: RawExchange): void => {
    const field = retry === undefined ? '' : `retry: ${retry}\n`;
    beginEvents(each, `${field}id: ${id}\ndata:\n\n`).end();
  };

/** A server whose calls end after an id, and what a GET with a `Last-Event-ID` gets. */
const resumable = (retry: number | undefined, onResume: RawHandlers[string]): RawHandlers => ({
  'tools/call': endAfterId('e0', retry),
  GET: (each) => {
    if (each.headers['last-event-id'] === undefined) each.response.writeHead(405).end();
    else onResume?.(each);
  },
});

const resumes = (server: RawServer): readonly RawExchange[] =>
  server.exchanges.filter(({ headers }) => headers['last-event-id'] !== undefined);

const callIn = (server: RawServer): unknown =>
  server.exchanges.findLast(({ message }) => message.method === 'tools/call')?.message.id;

describe('a stream that ended early, with an event id', () => {
  test.each([
    ['ended', (each: RawExchange) => void each.response.end()],
    ['cut', (each: RawExchange) => void each.response.destroy()],
    ['reset', (each: RawExchange) => void each.response.socket?.resetAndDestroy()],
  ])('that was %s is resumed after `retry`, and the answer arrives', async (_, end) => {
    const server = await serve({
      ...resumable(150, (each) => void beginEvents(each, eventOf(resultOf(callIn(server)))).end()),
      'tools/call': (each) => {
        const response = beginEvents(each, 'retry: 150\nid: e7\ndata:\n\n');
        response.write(': flushed\n', () => setImmediate(() => end(each)));
      },
    });
    const { client } = await connect(server.url, { headers: { 'x-mine': 'yes' } });
    expect(textOf(await client.callTool({ name: 'x' }))).toBe('done');
    const [resume] = resumes(server);
    expect(resume?.headers).toMatchObject({
      'last-event-id': 'e7',
      'mcp-session-id': 'session-1',
      'mcp-protocol-version': expect.stringMatching(/^20/),
      accept: 'text/event-stream',
      'x-mine': 'yes',
    });
    const call = server.exchanges.find(({ message }) => message.method === 'tools/call');
    expect((resume?.cameAt ?? 0) - (call?.cameAt ?? 0)).toBeGreaterThan(140);
    expect(server.count('POST', 'tools/call')).toBe(1);
  });

  test('is asked for again at each deliberate close, after the latest id', async () => {
    // SEP-1699: the server closes the stream and has the client poll.
    const server = await serve(
      resumable(100, (each) => {
        const polls = resumes(server).length;
        if (polls < 3) endAfterId(`e${polls}`, polls === 2 ? 110 : undefined)(each);
        else beginEvents(each, eventOf(resultOf(callIn(server)))).end();
      }),
    );
    const { client, errors } = await connect(server.url);
    expect(textOf(await client.callTool({ name: 'x' }))).toBe('done');
    const ids = resumes(server).map(({ headers }) => headers['last-event-id']);
    expect(ids).toEqual(['e0', 'e1', 'e2']);
    expect(errors).toEqual([]);
  });

  test('hands on what comes on each of its streams, in order, as of its call', async () => {
    const server = await serve(
      resumable(0, (each) => {
        const n = resumes(server).length;
        const event = eventOf(notification(`notifications/${n}`), { id: `e${n}` });
        const last = n === 3 ? eventOf(resultOf(1)) : '';
        beginEvents(each, `${event}${last}`).end();
      }),
    );
    const { transport, messages } = await start(server.url);
    await transport.send(request(1));
    await until(() => messages.length === 4);
    expect(messages.map(({ extra }) => extra?.relatedRequestId)).toEqual([1, 1, 1, 1]);
    expect(
      messages.slice(0, 3).map(({ message }) => (message as { method: string }).method),
    ).toEqual(['notifications/1', 'notifications/2', 'notifications/3']);
  });

  test('is not resumed from an id that no header can hold, nor from the one before', async () => {
    const server = await serve({
      'tools/call': (each) =>
        void beginEvents(each, 'id: e1\ndata:\n\nid: e\u0001\ndata:\n\n').end(),
    });
    const { transport } = await start(server.url);
    expect(await rejectionOf(transport.send(request(1)))).toMatchObject({ code: 'RESPONSE_CUT' });
    expect(server.count('GET')).toBe(0);
  });

  test('is not resumed from an id that the server took back', async () => {
    const server = await serve({
      'tools/call': (each) => void beginEvents(each, 'id: e1\ndata:\n\nid:\ndata:\n\n').end(),
    });
    const { transport } = await start(server.url);
    const error = await rejectionOf(transport.send(request(1)));
    expect(error).toMatchObject({ code: 'RESPONSE_CUT', sessionLost: true });
    expect(server.count('GET')).toBe(0);
  });

  test('is not resumed once its call is answered', async () => {
    const server = await serve({
      'tools/call': (each) => {
        const { id } = each.message;
        beginEvents(each, `retry: 0\n${eventOf(resultOf(id), { id: 'e1' })}`).end();
      },
    });
    const { client } = await connect(server.url);
    await client.callTool({ name: 'x' });
    await pause(250);
    expect(resumes(server)).toEqual([]);
  });

  test('is resumed under the call of a lease, with the headers of that lease', async () => {
    const server = await serveRaw(
      resumable(0, (each) => void beginEvents(each, eventOf(resultOf(callIn(server)))).end()),
    );
    const session = await newSessions().open(server.url);
    const { client, release } = lend(session, { headers: { 'x-lease': 'a' } });
    expect(textOf(await client.callTool({ name: 'x' }))).toBe('done');
    expect(resumes(server)[0]?.headers['x-lease']).toBe('a');
    expect(release()).toBe('clean');
  });
});

describe('the waits of a resumption', () => {
  /** Jumps from timer to timer for `ms`, giving the server time to answer between them. */
  const runFor = async (clock: ManualClock, ms: number): Promise<void> => {
    const end = clock.now() + ms;
    for (;;) {
      await until(() => clock.pendingCount > 0);
      if (clock.now() + clock.nextDueMs > end) return;
      await clock.advance(clock.nextDueMs);
    }
  };

  const watchGets = async (retry: number | undefined, onResume: RawHandlers[string]) => {
    const clock = new ManualClock();
    const at: number[] = [];
    const server = await serve(
      resumable(retry, (each) => {
        at.push(clock.now());
        onResume?.(each);
      }),
    );
    const bare = await start(server.url, { clock });
    const sent = bare.transport.send(request(1));
    sent.catch(() => {});
    const gaps = (): number[] => at.slice(1).map((each, n) => each - (at[n] as number));
    return { clock, server, at, gaps, sent, ...bare };
  };

  // Row 11b, and row 3 for calls.
  test('with `retry: 0` are never hot, and grow while nothing comes', async () => {
    const { clock, at, gaps } = await watchGets(0, endAfterId('e', 0));
    await runFor(clock, 60_000);
    expect(at.filter((each) => each - (at[0] as number) < 1_000).length).toBeLessThanOrEqual(10);
    expect(gaps().slice(0, 5)).toEqual([100, 1_000, 2_000, 4_000, 5_000]);
    expect(new Set(gaps().slice(5))).toEqual(new Set([5_000]));
  });

  test('with `retry: 0` stay at 10 a second while each stream brings a message', async () => {
    const { clock, gaps } = await watchGets(
      0,
      (each) => void beginEvents(each, eventOf(notification(), { id: 'e1' })).end(),
    );
    await runFor(clock, 5_000);
    expect(new Set(gaps())).toEqual(new Set([100]));
  });

  test('without `retry` are a second', async () => {
    const { clock, gaps } = await watchGets(undefined, endAfterId('e', undefined));
    await runFor(clock, 3_500);
    expect(gaps()).toEqual([1_000, 1_000]);
  });

  // Row 3b.
  test('are at most 5 min, whatever `retry` asks for', async () => {
    const { clock, at } = await watchGets(3_000_000_000, endAfterId('e', undefined));
    await until(() => clock.pendingCount === 1);
    expect(clock.nextDueMs).toBe(300_000);
    await clock.advance(300_000);
    await until(() => at.length === 1);
  });

  test('end with the abort of the call: nothing is asked for any more', async () => {
    const { clock, server, transport, sent } = await watchGets(100, endAfterId('e', 100));
    await until(() => clock.pendingCount === 1);
    const params = { requestId: 1 };
    const method = 'notifications/cancelled';
    await transport.send({ jsonrpc: '2.0', method, params });
    await sent;
    // The server, which may still be at work, is told.
    expect(server.count('POST', method)).toBe(1);
    await clock.advance(600_000);
    await pause(20);
    expect(resumes(server)).toEqual([]);
  });

  test('end with a fence and with close: the call rejects, and no timer is left', async () => {
    for (const end of ['fence', 'close'] as const) {
      const { clock, server, transport, sent } = await watchGets(100, endAfterId('e', 100));
      await until(() => clock.pendingCount === 1);
      void transport[end]();
      // The server may well have executed it.
      expect(await rejectionOf(sent)).toMatchObject({ execution: 'unknown' });
      expect(clock.pendingCount).toBe(0);
      await clock.advance(600_000);
      expect(resumes(server)).toEqual([]);
    }
  });

  test('are none for a stream that ends behind a fence: its call rejects at once', async () => {
    const server = await serve({
      'tools/call': (each) => void beginEvents(each, 'retry: 0\nid: e1\ndata:\n\n'),
    });
    const clock = new ManualClock();
    const tokens: string[] = [];
    const { transport } = await start(server.url, { clock });
    const onresumptiontoken = (token: string): void => void tokens.push(token);
    const sent = transport.send(request(1), { onresumptiontoken });
    sent.catch(() => {});
    await until(() => tokens.length === 1);
    transport.fence(new Error('the pool is closing'));
    server.exchanges[0]?.response.end();
    expect(await stateWithin(1_000, sent)).toBe('rejected');
    expect(clock.pendingCount).toBe(0);
    expect(server.count('GET')).toBe(0);
  });

  test('grow while the server is down or busy, and the call fails after five attempts', async () => {
    for (const status of [500, 503, 429, undefined]) {
      const { clock, gaps, sent } = await watchGets(0, ({ response }) => {
        if (status === undefined) response.socket?.resetAndDestroy();
        // Without a body, so that head and end are read in one turn, and no timer runs between.
        else response.writeHead(status, { 'content-length': 0 }).end();
      });
      const error = rejectionOf(sent);
      let isOver = false;
      void error.then(() => {
        isOver = true;
      });
      for (;;) {
        await until(() => isOver || clock.pendingCount > 0);
        if (isOver) break;
        await clock.advance(clock.nextDueMs);
      }
      expect(await error).toMatchObject({
        code: 'RESUME_FAILED',
        execution: 'unknown',
        sessionLost: true,
        cause: { code: status ?? 'CONNECTION_LOST' },
      });
      expect(gaps()).toEqual([1_000, 2_000, 4_000, 5_000]);
    }
  });
});

describe('a resumption that the server refuses', () => {
  test.each([400, 401, 403, 404, 405, 410])('with %i fails the call at once', async (status) => {
    const server = await serve(
      resumable(0, ({ response }) => response.writeHead(status).end('no')),
    );
    const { transport } = await start(server.url);
    expect(await rejectionOf(transport.send(request(1)))).toMatchObject({
      code: 'RESUME_FAILED',
      execution: 'unknown',
      sessionLost: true,
      cause: { status, body: 'no' },
    });
    expect(resumes(server)).toHaveLength(1);
  });

  test.each([
    ['JSON', 200, 'application/json', '{}'],
    ['HTML', 200, 'text/html', ''],
    ['204', 204, 'text/event-stream;', ''],
  ])('with %s fails the call', async (_, status, type, body) => {
    const server = await serve(
      resumable(0, ({ response }) => {
        response.writeHead(status, { 'content-type': type }).end(body);
      }),
    );
    const { transport } = await start(server.url);
    const sent = transport.send(request(1));
    sent.catch(() => {});
    if (status === 204) {
      // An empty stream: asked for again, ever more slowly, until it is called off.
      await until(() => resumes(server).length === 2);
      await transport.close();
    }
    expect(await rejectionOf(sent)).toMatchObject({ execution: 'unknown' });
  });
});

describe('an aborted call with a resumable stream', () => {
  // Row 11b.
  test('is not resumed any more, in whatever state its stream was', async () => {
    const server = await serve(resumable(0, endAfterId('e', 0)));
    const { client } = await connect(server.url);
    const controllers = Array.from({ length: 5 }, () => new AbortController());
    const calls = controllers.map(({ signal }) =>
      rejectionOf(client.callTool({ name: 'x' }, undefined, { signal })),
    );
    await until(() => resumes(server).length >= 7);
    for (const controller of controllers) controller.abort();
    await Promise.all(calls);
    // What was written by then may still come.
    await pause(60);
    const asked = resumes(server).length;
    await pause(1_300);
    expect(resumes(server).length).toBe(asked);
    expect(server.pending).toBe(0);
  });

  test('frees the socket of the stream that is open', async () => {
    const server = await serve(resumable(0, (each) => void beginEvents(each)));
    const { client } = await connect(server.url);
    const controller = new AbortController();
    const { signal } = controller;
    const call = rejectionOf(client.callTool({ name: 'x' }, undefined, { signal }));
    await until(() => resumes(server).length === 1);
    controller.abort();
    await call;
    await until(() => server.pending === 0);
  });
});
