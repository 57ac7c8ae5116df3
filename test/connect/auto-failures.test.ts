// What `transport: 'auto'` tells when a server speaks neither protocol, how that is judged, and how
// many of many opens at once ask in the wrong one.

import { describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '../../src/clock.ts';
import type { ConnectContext } from '../../src/connect/connector.ts';
import { observe } from '../../src/connect/failure-of.ts';
import { type Failure, failureOf, judge } from '../../src/policy/failure.ts';
import type { HttpSessions, OpenSession } from '../support/http-sessions.ts';
import { MemoryOAuthProvider } from '../support/memory-oauth-provider.ts';
import {
  answerInitialize,
  beginEvents,
  pause,
  type RawExchange,
  until,
} from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import { initialized, type SseHandlers, take } from '../support/sse-server.ts';

const { newSessions, serveRaw, serveSse } = useSessions();

const refuse =
  (status: number, headers: Record<string, string> = {}) =>
  ({ response }: RawExchange): void =>
    void response.writeHead(status, headers).end();

const openAuto = (
  sessions: HttpSessions,
  url: URL,
  context: Partial<ConnectContext> = {},
): Promise<OpenSession> => sessions.open({ url, transport: 'auto' }, context);

/** Half of `connectTimeoutMs` is for the endpoint of a stream to come. */
async function failureWith(
  handlers: SseHandlers,
  connectTimeoutMs = 3_000,
): Promise<{ error: Error; failure: Failure }> {
  const server = await serveSse(handlers);
  const sessions = newSessions({ connectTimeoutMs });
  const error = await openAuto(sessions, server.url).catch((reason: unknown) => reason);
  await until(() => server.openSockets === 0);
  expect(server.exchanges).toHaveLength(2);
  return { error: error as Error, failure: failureOf(error, false) };
}

describe('an open that fails in both protocols', () => {
  it.each<[string, SseHandlers[string]]>([
    ['is refused', refuse(405)],
    ['gets a stream without endpoint', (exchange) => void beginEvents(exchange)],
    ['gets a page', refuse(200, { 'content-type': 'text/html' })],
  ])('because SSE %s, too, tells of Streamable HTTP first', async (_, get) => {
    const { error, failure } = await failureWith({ initialize: refuse(404), GET: get });
    expect(error).toBeInstanceOf(AggregateError);
    expect(error.cause).toMatchObject({ status: 404, message: 'HTTP 404 in answer to a POST' });
    expect((error as AggregateError).errors).toHaveLength(2);
    expect((error as AggregateError).errors[0]).toBe(error.cause);
    expect(failure).toMatchObject({ kind: 'http', status: 404, errorName: 'AggregateError' });
  });

  it.each<[number, Record<string, string>, Partial<Failure>, object]>([
    [401, {}, { kind: 'unauthorized', status: 401 }, { scope: 'endpoint+identity' }],
    [403, {}, { kind: 'unauthorized', status: 403 }, { scope: 'endpoint+identity' }],
    [500, {}, { kind: 'http', status: 500 }, { scope: 'endpoint' }],
    [
      503,
      { 'retry-after': '9' },
      { kind: 'http', status: 503 },
      { vote: 'throttle', retryAfterMs: 9_000 },
    ],
  ])('because SSE, which it speaks, answers %i, is judged by that', async (...row) => {
    const [status, headers, expected, breaker] = row;
    const { error, failure } = await failureWith(
      {
        initialize: refuse(405),
        GET: refuse(status, headers),
      },
      18_000,
    );
    expect(error.cause).toMatchObject({ status });
    expect((error as AggregateError).errors).toMatchObject([{ status: 405 }, { status }]);
    expect(failure).toMatchObject(expected);
    const seen = observe(error, { during: 'open', withSessionId: false });
    expect(judge(seen).breaker).toMatchObject(breaker);
  });

  it('because the caller has to sign in, is unauthorized, and told as such', async () => {
    const server = await serveSse({
      initialize: refuse(405),
      GET: refuse(401, { 'www-authenticate': 'Bearer' }),
    });
    const target = {
      url: server.url,
      transport: 'auto',
      identity: 'ada',
      authProvider: new MemoryOAuthProvider({ access_token: 'old' }),
    } as const;
    const error = await newSessions()
      .open(target)
      .catch((reason: unknown) => reason);
    expect(failureOf(error, false).kind).toBe('unauthorized');
    // Beside what the flow asks for.
    expect(server.exchanges.filter(({ path }) => path === '/sse')).toHaveLength(2);
  });

  it('is no verdict: the next one asks in the same order', async () => {
    const server = await serveSse({ initialize: refuse(404), GET: refuse(404) });
    const sessions = newSessions();
    for (let n = 0; n < 2; n += 1) await openAuto(sessions, server.url).catch(() => {});
    const methods = server.exchanges.map(({ method }) => method);
    expect(methods).toEqual(['POST', 'GET', 'POST', 'GET']);
  });

  it('was first asked in SSE, because that was spoken before, and tells of both the same way', async () => {
    let isGone = false;
    const server = await serveSse({
      GET: (exchange) => {
        if (isGone) refuse(410)(exchange);
        else beginEvents(exchange, 'event: endpoint\ndata: /in\n\n');
      },
      initialize: (exchange) => {
        if (exchange.path === '/sse') return refuse(404)(exchange);
        exchange.response.writeHead(202).end();
        const stream = server.exchanges.findLast(({ method }) => method === 'GET')?.response;
        stream?.write(`data: ${JSON.stringify(initialized(exchange))}\n\n`);
      },
      'notifications/initialized': take,
    });
    const sessions = newSessions();
    await openAuto(sessions, server.url);
    isGone = true;
    const error = await openAuto(sessions, server.url).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      cause: { status: 404 },
      errors: [{ status: 404 }, { status: 410 }],
    });
  });
});

/** The wait for the first has an end, which a busy machine must not come to. */
const PATIENT: Clock = {
  ...systemClock,
  setTimeout: (run, delayMs) => systemClock.setTimeout(run, delayMs * 30),
};

it('opens of a server that is known wait for no other', async () => {
  const server = await serveRaw();
  const sessions = newSessions({ clock: PATIENT });
  await openAuto(sessions, server.url);
  const controller = new AbortController();
  const never = (): Promise<never> => new Promise(() => {});
  const stuck = openAuto(sessions, server.url, { headers: never, signal: controller.signal });
  const outcome = Promise.allSettled([stuck]);
  await openAuto(sessions, server.url);
  controller.abort(new Error('enough'));
  await outcome;
  expect(server.count('GET')).toBe(0);
});

it('an open that is refused in the known protocol leads no other open astray', async () => {
  // Eve's account is gone; a GET without a session never gets an answer.
  const server = await serveRaw({
    initialize: (exchange) => {
      if (exchange.headers['authorization'] === 'eve') refuse(404)(exchange);
      else answerInitialize(exchange);
    },
    GET: () => {},
  });
  const sessions = newSessions({ clock: PATIENT });
  await openAuto(sessions, server.url);
  const controller = new AbortController();
  const headers = () => ({ authorization: 'eve' });
  const outcome = Promise.allSettled([
    openAuto(sessions, server.url, { headers, signal: controller.signal }),
  ]);
  await until(() => server.count('GET') === 1);
  await openAuto(sessions, server.url);
  await openAuto(sessions, new URL('/other', server.url));
  controller.abort(new Error('enough'));
  await outcome;
  await openAuto(sessions, server.url);
  expect(server.count('GET')).toBe(1);
});

describe('many opens of a server that nobody knows', () => {
  const slowly =
    (status: number) =>
    (exchange: RawExchange): void =>
      void setTimeout(() => refuse(status)(exchange), 40);

  /** An old server, slow to refuse what it does not speak. */
  const old: SseHandlers = {
    initialize: (exchange) => {
      if (exchange.stream === undefined) return slowly(405)(exchange);
      take(exchange);
      exchange.stream.send(initialized(exchange));
    },
  };

  it('ask in the wrong protocol once', async () => {
    const server = await serveSse(old);
    const sessions = newSessions({ clock: PATIENT });
    await Promise.all(Array.from({ length: 50 }, () => openAuto(sessions, server.url)));
    const wrong = server.exchanges.filter(
      ({ method, path }) => method === 'POST' && path === '/sse',
    );
    expect(wrong).toHaveLength(1);
    expect(server.count('GET')).toBe(50);
  });

  it('ask each for itself once the first has found out nothing', async () => {
    let isFirst = true;
    const server = await serveSse({
      ...old,
      initialize: (exchange) => {
        if (!isFirst || exchange.stream !== undefined) return old['initialize']?.(exchange);
        isFirst = false;
        slowly(401)(exchange);
      },
    });
    const sessions = newSessions();
    const opens = Array.from({ length: 5 }, () => openAuto(sessions, server.url));
    const outcomes = await Promise.allSettled(opens);
    expect(outcomes.map(({ status }) => status)).toEqual([
      'rejected',
      ...Array(4).fill('fulfilled'),
    ]);
  });

  it('wait a second for one that finds out nothing, and no longer', async () => {
    const server = await serveSse(old);
    const sessions = newSessions();
    const controller = new AbortController();
    const never = (): Promise<never> => new Promise(() => {});
    const stuck = openAuto(sessions, server.url, { headers: never, signal: controller.signal });
    const outcome = Promise.allSettled([stuck]);
    const startedAt = performance.now();
    await openAuto(sessions, server.url);
    expect(performance.now() - startedAt).toBeGreaterThan(990);
    // From then on it is known, and nobody waits.
    await openAuto(sessions, server.url);
    expect(server.count('GET')).toBe(2);
    controller.abort(new Error('enough'));
    expect(await outcome).toMatchObject([{ reason: { message: 'enough' } }]);
  });

  it('are given up at once when they are not wanted any more, and have sent nothing', async () => {
    const server = await serveSse(old);
    const sessions = newSessions();
    const first = openAuto(sessions, server.url);
    const controller = new AbortController();
    const outcome = Promise.allSettled([
      openAuto(sessions, server.url, { signal: controller.signal }),
    ]);
    await pause(5);
    controller.abort(new Error('enough'));
    expect(await outcome).toMatchObject([{ reason: { message: 'enough' } }]);
    await first;
    expect(server.count('GET')).toBe(1);
  });
});
