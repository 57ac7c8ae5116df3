// How `transport: 'auto'` finds out which protocol a server speaks: in which order it asks, what it
// remembers, what it tells when neither is spoken, and how much it asks for that.

import { describe, expect, it } from 'vitest';
import type { ConnectContext } from '../../src/connect/connector.ts';
import { failureOf } from '../../src/policy/failure.ts';
import type { HttpSessions, OpenSession } from '../support/http-sessions.ts';
import {
  answerInitialize,
  beginEvents,
  eventOf,
  pause,
  type RawExchange,
  type RawServer,
  until,
} from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import { initialized, type SseHandlers, take } from '../support/sse-server.ts';

const { newSessions, serveRaw, serveSse } = useSessions();

const openAuto = (
  sessions: HttpSessions,
  url: URL,
  context: Partial<ConnectContext> = {},
): Promise<OpenSession> => sessions.open({ url, transport: 'auto' }, context);

/** What an open rejected with. */
const refusalOf = (opening: Promise<unknown>): Promise<unknown> =>
  opening.then(
    () => Promise.reject(new Error('It opened')),
    (error: unknown) => error,
  );

/** What was asked, in order: method and path, with the JSON-RPC method of a POST. */
const asked = ({ exchanges }: RawServer): string[] =>
  exchanges.map(({ method, path, message }) => `${method} ${path} ${message.method ?? ''}`.trim());

const refuse =
  (status: number, headers: Record<string, string> = {}) =>
  ({ response }: RawExchange): void =>
    void response.writeHead(status, headers).end();

/** An old server: what is not to one of its endpoints is refused with `status`. */
const refusingPosts = (status: number): SseHandlers => ({
  initialize: (exchange) => {
    if (exchange.stream === undefined) return refuse(status)(exchange);
    take(exchange);
    exchange.stream.send(initialized(exchange));
  },
});

describe("`transport: 'auto'`", () => {
  it('opens Streamable HTTP where that is spoken, with no request more', async () => {
    const server = await serveRaw();
    const session = await openAuto(newSessions(), server.url);
    expect(session.sessionId).toBe('session-1');
    expect(asked(server)).toEqual(['POST /mcp initialize', 'POST /mcp notifications/initialized']);
  });

  it.each([400, 404, 405, 415])('goes to SSE after a refusal with %i', async (status) => {
    const server = await serveSse(refusingPosts(status));
    const session = await openAuto(newSessions(), server.url);
    await session.probe(new AbortController().signal);
    expect(asked(server)).toEqual([
      'POST /sse initialize',
      'GET /sse',
      'POST /messages?session=1 initialize',
      'POST /messages?session=1 notifications/initialized',
      'POST /messages?session=1 ping',
    ]);
  });

  it.each([401, 403, 429, 500, 503])('goes nowhere after a refusal with %i', async (status) => {
    const server = await serveSse(refusingPosts(status));
    await expect(openAuto(newSessions(), server.url)).rejects.toMatchObject({ code: status });
    expect(asked(server)).toEqual(['POST /sse initialize']);
  });

  it('goes nowhere when nobody listens, or the answer is none', async () => {
    const server = await serveRaw({
      initialize: ({ response }) => response.writeHead(200, { 'content-type': 'text/html' }).end(),
    });
    const error = await refusalOf(openAuto(newSessions(), server.url));
    expect(error).toMatchObject({ code: 'UNEXPECTED_CONTENT' });
    expect(server.count('GET')).toBe(0);
    await server.close();
    const second = await refusalOf(openAuto(newSessions(), server.url));
    expect(failureOf(second, false).kind).toBe('refused');
  });

  it('goes nowhere when a server that speaks it refuses what comes after', async () => {
    const server = await serveRaw({ 'notifications/initialized': refuse(400) });
    await expect(openAuto(newSessions(), server.url)).rejects.toMatchObject({ code: 400 });
    expect(server.count('GET')).toBe(0);
  });

  it('carries the same headers over both', async () => {
    const server = await serveSse(refusingPosts(405));
    await openAuto(newSessions(), server.url, { headers: () => ({ authorization: 'ada' }) });
    for (const { headers } of server.exchanges) expect(headers.authorization).toBe('ada');
  });

  it('settles at once when it is aborted in either, and leaves nothing', async () => {
    const over = new Error('no longer wanted');
    for (const handlers of [{ initialize: () => {} }, { ...refusingPosts(405), GET: () => {} }]) {
      const server = await serveSse(handlers);
      const controller = new AbortController();
      const { signal } = controller;
      const outcome = Promise.allSettled([openAuto(newSessions(), server.url, { signal })]);
      await until(() => server.pending === 1);
      await pause(10);
      controller.abort(over);
      expect(await outcome).toMatchObject([{ reason: over }]);
      await until(() => server.openSockets === 0);
    }
  });
});

describe("what `transport: 'auto'` found out", () => {
  it('is remembered: the next open of an old server asks for no other', async () => {
    const server = await serveSse(refusingPosts(405));
    const sessions = newSessions();
    await openAuto(sessions, server.url);
    await openAuto(sessions, new URL('?other=query', server.url));
    expect(asked(server).filter((each) => each.startsWith('POST /sse'))).toHaveLength(1);
    expect(server.count('GET')).toBe(2);
  });

  it('is guessed of another endpoint of the origin', async () => {
    const server = await serveSse(refusingPosts(405));
    const sessions = newSessions();
    await openAuto(sessions, server.url);
    await openAuto(sessions, new URL('/other', server.url));
    expect(asked(server).filter((each) => each.startsWith('POST /other'))).toEqual([]);
  });

  it('is found out anew, by one request more, when a server changes either way', async () => {
    const { server, requestsOfOpen, state } = await serveChanging();
    expect(await requestsOfOpen()).toEqual([POST, ...OLD]);
    expect(await requestsOfOpen()).toEqual(OLD);
    state.speaks = 'streamable-http';
    expect(await requestsOfOpen()).toEqual(['GET /sse', POST]);
    expect(await requestsOfOpen()).toEqual([POST]);
    state.speaks = 'sse';
    expect(await requestsOfOpen()).toEqual([POST, ...OLD]);
    expect(await requestsOfOpen()).toEqual(OLD);
    await until(() => server.exchanges.every(({ response }) => response.headersSent));
  });

  it.each(['a stream without endpoint', 'a stream that ends', 'a page'] as const)(
    'is found out anew when a server that changed gives %s to a GET',
    async (gives) => {
      const { requestsOfOpen, state } = await serveChanging({ connectTimeoutMs: 4_000 });
      await requestsOfOpen();
      state.speaks = 'streamable-http';
      state.gives = gives;
      expect(await requestsOfOpen()).toEqual(['GET /sse', POST]);
      expect(await requestsOfOpen()).toEqual([POST]);
    },
  );

  it('stays while an old server is down, or refuses the caller', async () => {
    const { requestsOfOpen, state } = await serveChanging();
    await requestsOfOpen();
    for (const status of [503, 401, 429]) {
      state.refusesWith = status;
      expect(await requestsOfOpen()).toEqual(['GET /sse']);
    }
    state.refusesWith = undefined;
    expect(await requestsOfOpen()).toEqual(OLD);
  });
});

const POST = 'POST /sse initialize';
const OLD = ['GET /sse', 'POST /in initialize'];

/** A server that speaks one protocol and then the other, at one endpoint. */
async function serveChanging(options: ConstructorParameters<typeof HttpSessions>[0] = {}) {
  const state = {
    speaks: 'sse' as 'sse' | 'streamable-http',
    /** To a GET, where it is not of the protocol. */
    gives: 'nothing' as 'nothing' | 'a stream without endpoint' | 'a stream that ends' | 'a page',
    refusesWith: undefined as number | undefined,
  };
  const onGet = (exchange: RawExchange): void => {
    if (state.refusesWith !== undefined) return refuse(state.refusesWith)(exchange);
    if (state.speaks === 'sse') {
      return void beginEvents(exchange, 'event: endpoint\ndata: /in\n\n');
    }
    if (state.gives === 'nothing') return refuse(405)(exchange);
    if (state.gives === 'a page') return refuse(200, { 'content-type': 'text/html' })(exchange);
    const stream = beginEvents(exchange);
    if (state.gives === 'a stream that ends') stream.end();
  };
  const onInitialize = (exchange: RawExchange): void => {
    const isOld = state.speaks === 'sse';
    if (exchange.path === '/sse') return isOld ? refuse(404)(exchange) : answerInitialize(exchange);
    exchange.response.writeHead(202).end();
    const stream = server.exchanges.findLast(({ method }) => method === 'GET')?.response;
    stream?.write(eventOf(initialized(exchange)));
  };
  const server: RawServer = await serveSse({
    GET: onGet,
    initialize: onInitialize,
    'notifications/initialized': take,
  });
  const sessions = newSessions(options);
  /** What an open asks for before the session is initialized. */
  const requestsOfOpen = async (): Promise<string[]> => {
    const before = server.exchanges.length;
    await openAuto(sessions, server.url).catch(() => {});
    return asked(server)
      .slice(before)
      .filter((each) => !each.includes('notifications/'));
  };
  return { server, state, requestsOfOpen };
}
