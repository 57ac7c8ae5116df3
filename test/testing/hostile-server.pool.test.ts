// What a pool makes of each hostile server: how the caller learns of it, that the close is bounded,
// and that nothing is left, on either side.

import { SessionPool } from 'mcp-session-pool';
import {
  HOSTILE_SERVERS,
  type HostileServer,
  type HostileServerName,
  hostileServer,
  leftovers,
  recordEvents,
} from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { pause, until } from '../support/raw-server.ts';

/** For what is to fail by time; everything else has all the time it needs. */
const SHORT_MS = 300;
const LONG_MS = 8_000;
const CLOSE_TIMEOUT_MS = 3_000;
/** The event loop's lag, of a pool, a server and a flood in one process. */
const LAG_MS = 750;
/** Long enough for a client that retries to be seen doing it. */
const WATCH_MS = 200;
const MAX_MESSAGE_BYTES = 256 * 1024;

/** What `use` of one call comes to. */
type Outcome = Readonly<Record<string, unknown>>;

const ANSWERED: Outcome = { content: [{ type: 'text', text: 'hi' }] };
const openFailed = (kind: string, status?: number): Outcome => ({
  code: 'OPEN_FAILED',
  kind,
  ...(status !== undefined && { status }),
});
const lost = (cause: string): Outcome => ({
  code: 'SESSION_LOST',
  execution: 'unknown',
  cause: expect.objectContaining({ code: cause }),
});
/** The call's own timeout, as the SDK tells it. */
const TIMED_OUT: Outcome = { code: -32_001 };
/** The pool's timeout of an open. */
const OPEN_TIMED_OUT = openFailed('timeout');
/** Sessions whose DELETE is refused or not answered. */
const UNTERMINATED: readonly string[] = ['delete-unanswered', 'session-forgotten-400'];

const OUTCOMES: Readonly<Record<HostileServerName, Outcome>> = {
  'refuses-connections': openFailed('refused'),
  'resets-connections': openFailed('network'),
  'black-hole': OPEN_TIMED_OUT,
  'initialized-unanswered': OPEN_TIMED_OUT,
  'accepted-never-ends': ANSWERED,
  'bad-session-id': ANSWERED,
  unauthorized: openFailed('unauthorized', 401),
  forbidden: openFailed('unauthorized', 403),
  'rate-limited': openFailed('http', 429),
  unavailable: openFailed('http', 503),
  'redirects-elsewhere': openFailed('http', 307),
  'answers-html': openFailed('protocol'),
  'error-never-ends': openFailed('http', 503),
  'get-ends-at-once': ANSWERED,
  'get-retry-overflow': ANSWERED,
  'get-never-answers': ANSWERED,
  'get-flaps-then-hangs': ANSWERED,
  'get-floods': ANSWERED,
  'get-endless-line': ANSWERED,
  'never-ends': TIMED_OUT,
  'call-unanswered': TIMED_OUT,
  'call-cut': lost('RESPONSE_CUT'),
  'call-reset': lost('CONNECTION_LOST'),
  'call-accepted': { code: 'NO_RESPONSE', execution: 'unknown' },
  'call-garbage': { code: 'UNEXPECTED_CONTENT', execution: 'unknown' },
  'call-floods': TIMED_OUT,
  'call-endless-line': lost('MESSAGE_TOO_LARGE'),
  'resume-refused': lost('RESUME_FAILED'),
  'resume-never-ends': TIMED_OUT,
  'keeps-stream-open': ANSWERED,
  'duplicate-answers': ANSWERED,
  'wrong-ids': lost('RESPONSE_CUT'),
  'session-forgotten': ANSWERED,
  'session-forgotten-400': ANSWERED,
  'delete-unanswered': ANSWERED,
  'asks-nobody': ANSWERED,
  'sse-no-endpoint': OPEN_TIMED_OUT,
  'sse-drops': lost('RESPONSE_CUT'),
  'sse-retry-zero': openFailed('network'),
};

const closing = closeAfterEach();

const options = { closeTimeoutMs: CLOSE_TIMEOUT_MS, maxMessageBytes: MAX_MESSAGE_BYTES };

/** One call through `pool`, and what it came to. */
async function callOnce(
  pool: SessionPool,
  server: HostileServer,
  { timeout = LONG_MS, notifications = true } = {},
): Promise<unknown> {
  const transport = server.name.startsWith('sse-') ? 'sse' : 'streamable-http';
  const target = { url: server.url, identity: 'ada', notifications, transport } as const;
  const call = { name: 'echo', arguments: { text: 'hi' } };
  try {
    return await pool.use(target, (client) => client.callTool(call, undefined, { timeout }));
  } catch (error) {
    return error;
  }
}

/** One call, what it came to, a close in time, and nothing heard of the pool after it. */
async function callAndClose(name: HostileServerName, outcome: Outcome): Promise<void> {
  const server = closing(await hostileServer(name));
  const connectTimeoutMs = outcome === OPEN_TIMED_OUT ? SHORT_MS : LONG_MS;
  const pool = closing(new SessionPool({ ...options, connectTimeoutMs }));
  const timeout = outcome === TIMED_OUT ? SHORT_MS : LONG_MS;
  expect(await callOnce(pool, server, { timeout })).toMatchObject(outcome);
  if (name.startsWith('get-')) await until(() => server.count('GET') > 0);

  const { opened } = pool.stats().totals;
  const startedAt = performance.now();
  const report = await pool.close();
  expect(performance.now() - startedAt).toBeLessThan(CLOSE_TIMEOUT_MS + 250 + LAG_MS);
  expect(report).toMatchObject({ abandoned: 0, closed: report.sessions });
  expect(opened).toBe(outcome['code'] === 'OPEN_FAILED' ? 0 : 1);
  expect(report.unterminated).toBe(UNTERMINATED.includes(name) ? 1 : 0);

  await until(() => server.openSockets === 0);
  const { length } = server.requests;
  await pause(WATCH_MS);
  expect([server.requests.length, server.openSockets]).toEqual([length, 0]);
  expect(server.strayed).toHaveLength(0);
  await server.close();
}

describe('a pool against a server named', () => {
  test.each(Object.entries(OUTCOMES))('%s', async (name, outcome) => {
    const left = await leftovers(() => callAndClose(name as HostileServerName, outcome));
    expect(left).toEqual([]);
  });

  test('each of those there are', () => {
    expect(Object.keys(OUTCOMES).toSorted()).toEqual(Object.keys(HOSTILE_SERVERS).toSorted());
  });
});

test('a pool that nobody closes is told of: the sockets of its session', async () => {
  const server = closing(await hostileServer('never-ends'));
  const pool = closing(new SessionPool(options));
  const left = await leftovers(() => pool.acquire({ url: server.url }), { graceMs: 0 });
  expect(left.map(({ kind }) => kind)).toContain('socket');
});

describe('an idle session', () => {
  test.each(['get-ends-at-once', 'get-retry-overflow', 'get-flaps-then-hangs'] as const)(
    'causes no reconnect storm: %s',
    async (name) => {
      const server = closing(await hostileServer(name));
      const { onEvent, first } = recordEvents();
      const pool = closing(new SessionPool({ ...options, onEvent }));
      expect(await callOnce(pool, server)).toMatchObject(ANSWERED);
      expect((await first('stream-slowed')).waitMs).toBeGreaterThanOrEqual(500);
      const before = server.count('GET');
      await pause(5 * WATCH_MS);
      expect(server.count('GET') - before).toBeLessThan(5);
    },
  );

  test.each(['get-floods', 'get-endless-line'] as const)(
    'lets nobody flood it: %s',
    async (name) => {
      const server = closing(await hostileServer(name));
      const pool = closing(new SessionPool(options));
      expect(await callOnce(pool, server)).toMatchObject(ANSWERED);
      // Its stream is closed: what a socket had taken may still come.
      await until(() => server.count('GET') > 0 && server.pending === 0);
      const sent = server.bytesSent;
      await pause(WATCH_MS);
      expect(server.bytesSent).toBe(sent);
    },
  );

  test.each(['never-ends', 'call-floods', 'keeps-stream-open', 'resume-never-ends'] as const)(
    'holds no request of a call that is over: %s',
    async (name) => {
      const server = closing(await hostileServer(name));
      const pool = closing(new SessionPool(options));
      const timeout = name === 'keeps-stream-open' ? LONG_MS : SHORT_MS;
      await callOnce(pool, server, { timeout, notifications: false });
      expect(server.count('POST', 'tools/call')).toBe(1);
      await until(() => server.pending === 0);
      expect(pool.stats().sessions).toMatchObject({ idle: 1, leased: 0 });
    },
  );
});

describe('a session that worked', () => {
  test.each(['session-forgotten', 'session-forgotten-400'] as const)(
    'and is forgotten is replaced, and its caller notices nothing: %s',
    async (name) => {
      const server = closing(await hostileServer(name));
      const pool = closing(new SessionPool(options));
      expect(await callOnce(pool, server)).toMatchObject(ANSWERED);
      expect(await callOnce(pool, server)).toMatchObject(ANSWERED);
      expect(server.count('POST', 'initialize')).toBe(2);
      expect(server.count('POST', 'tools/call')).toBe(3);
      expect(pool.stats().totals).toMatchObject({ opened: 2, lost: 1 });
    },
  );

  test('is lost with its server, and opened again when that is back', async () => {
    const server = closing(await hostileServer('refuses-connections', { hostile: false }));
    const pool = closing(new SessionPool(options));
    expect(await callOnce(pool, server)).toMatchObject(ANSWERED);
    await server.misbehave();
    expect(await callOnce(pool, server)).toMatchObject(openFailed('refused'));
    await server.behave();
    expect(await callOnce(pool, server)).toMatchObject(ANSWERED);
  });

  test('is not lost with a token: the call fails, and the session stays', async () => {
    const server = closing(await hostileServer('unauthorized', { hostile: false }));
    const pool = closing(new SessionPool(options));
    expect(await callOnce(pool, server)).toMatchObject(ANSWERED);
    await server.misbehave();
    expect(await callOnce(pool, server)).toMatchObject({ status: 401 });
    await server.behave();
    expect(await callOnce(pool, server)).toMatchObject(ANSWERED);
    expect(server.count('POST', 'initialize')).toBe(1);
  });

  test('answers what a server may ask for, and refuses the rest: asks-nobody', async () => {
    const server = closing(await hostileServer('asks-nobody'));
    const pool = closing(new SessionPool(options));
    expect(await callOnce(pool, server)).toMatchObject(ANSWERED);
    const answersTo = (id: string): unknown[] =>
      server.requests.filter(({ message }) => message.id === id).map(({ message }) => message);
    await until(() => answersTo('get:roots/list').length === 1);
    expect(answersTo('get:ping')).toMatchObject([{ result: {} }]);
    for (const method of ['elicitation/create', 'sampling/createMessage', 'roots/list']) {
      expect(answersTo(`get:${method}`)).toMatchObject([{ error: { code: -32_601 } }]);
    }
  });
});
