// Each hostile server does what its name says, byte by byte, and is a good server besides.

import {
  HOSTILE_SERVERS,
  type HostileServer,
  type HostileServerName,
  type HostileServerOptions,
  hostileServer,
} from 'mcp-session-pool/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { initializeMessage, post, type RawAnswer, send } from '../support/raw-client.ts';
import { pause, until } from '../support/raw-server.ts';

/** What a request comes to: an error's code, nothing at all, or a status and whether it ended. */
type Fate = `${number} ended` | `${number} open` | 'silence' | 'ECONNREFUSED' | 'ECONNRESET';

interface Fates {
  initialize: Fate;
  initialized: Fate;
  GET: Fate;
  call: Fate;
  ping: Fate;
  DELETE: Fate;
}

const GOOD: Fates = {
  initialize: '200 ended',
  initialized: '202 ended',
  GET: '200 open',
  call: '200 ended',
  ping: '200 ended',
  DELETE: '204 ended',
};
const all = (fate: Fate): Fates =>
  Object.fromEntries(Object.keys(GOOD).map((name) => [name, fate])) as unknown as Fates;
const CALL = { id: 1, method: 'tools/call', params: { name: 'echo', arguments: { text: 'hi' } } };
const EVENTS = { accept: 'text/event-stream' };
/** Long enough for an answer on loopback to have come, if one was on its way. */
const QUIET_MS = 100;

const closing = closeAfterEach();
let answers: RawAnswer[] = [];
afterEach(() => {
  for (const answer of answers) answer.hangUp();
  answers = [];
});

const kept = (answer: RawAnswer): RawAnswer => {
  answers.push(answer);
  return answer;
};
const start = async (
  name: HostileServerName,
  options?: HostileServerOptions,
): Promise<HostileServer> => closing(await hostileServer(name, options));

/** Opens a session on a server that lets it; its id. */
async function open(server: HostileServer): Promise<string> {
  const answer = kept(post(server.url, initializeMessage));
  await until(() => answer.isEnded);
  return String(answer.headers['mcp-session-id']);
}

const call = (server: HostileServer, sessionId: string, message: object = CALL): RawAnswer =>
  kept(post(server.url, message, sessionId));

const get = (
  server: HostileServer,
  sessionId: string,
  headers: Readonly<Record<string, string>> = {},
): RawAnswer =>
  kept(send(server.url, 'GET', { ...EVENTS, 'mcp-session-id': sessionId, ...headers }));

/** What `answer` has come to, once it can be told. */
async function fateOf(answer: RawAnswer, expected: Fate): Promise<string> {
  if (expected === 'silence' || expected.endsWith('open')) {
    if (expected !== 'silence') await until(() => answer.status !== undefined);
    await pause(QUIET_MS);
  } else await until(() => answer.isEnded || answer.error !== undefined);
  if (answer.error !== undefined) return answer.error;
  if (answer.status === undefined) return 'silence';
  return `${answer.status} ${answer.isEnded ? 'ended' : 'open'}`;
}

const HAZARDS: Readonly<Record<Exclude<HostileServerName, `sse-${string}`>, Partial<Fates>>> = {
  'refuses-connections': all('ECONNREFUSED'),
  'resets-connections': all('ECONNRESET'),
  'black-hole': all('silence'),
  'initialized-unanswered': { initialized: 'silence' },
  'accepted-never-ends': { initialized: '202 open' },
  'bad-session-id': {},
  unauthorized: all('401 ended'),
  forbidden: all('403 ended'),
  'rate-limited': all('429 ended'),
  unavailable: all('503 ended'),
  'redirects-elsewhere': all('307 ended'),
  'answers-html': all('200 ended'),
  'error-never-ends': all('503 open'),
  'get-ends-at-once': { GET: '200 ended' },
  'get-retry-overflow': { GET: '200 ended' },
  'get-never-answers': { GET: 'silence' },
  'get-flaps-then-hangs': { GET: '200 ended' },
  'get-floods': {},
  'get-endless-line': {},
  'never-ends': { call: '200 open' },
  'call-unanswered': { call: 'silence' },
  'call-cut': {},
  'call-reset': { call: 'ECONNRESET' },
  'call-accepted': { call: '202 ended' },
  'call-garbage': {},
  'call-floods': { call: '200 open' },
  'call-endless-line': { call: '200 open' },
  'resume-refused': {},
  'resume-never-ends': {},
  'keeps-stream-open': { call: '200 open' },
  'duplicate-answers': {},
  'wrong-ids': {},
  'session-forgotten': { ping: '404 ended', DELETE: '404 ended' },
  'session-forgotten-400': { ping: '400 ended', DELETE: '400 ended' },
  'delete-unanswered': { DELETE: 'silence' },
  'asks-nobody': {},
};

describe.concurrent('a server named', () => {
  test.each(Object.entries(HAZARDS))('%s misbehaves there and nowhere else', async (name, own) => {
    const expected = { ...GOOD, ...own };
    const server = await hostileServer(name as HostileServerName);
    try {
      const found: Record<string, string> = {};
      const opening = post(server.url, initializeMessage);
      found['initialize'] = await fateOf(opening, expected.initialize);
      const id = String(opening.headers['mcp-session-id'] ?? 'none');
      const requests = {
        initialized: () => post(server.url, { method: 'notifications/initialized' }, id),
        GET: () => send(server.url, 'GET', { ...EVENTS, 'mcp-session-id': id }),
        call: () => post(server.url, CALL, id),
        ping: () => post(server.url, { id: 2, method: 'ping' }, id),
        DELETE: () => send(server.url, 'DELETE', { 'mcp-session-id': id }),
      };
      for (const [step, begin] of Object.entries(requests)) {
        const answer = begin();
        found[step] = await fateOf(answer, expected[step as keyof Fates]);
        answer.hangUp();
      }
      expect(found).toEqual(expected);
      opening.hangUp();
    } finally {
      await server.close();
    }
    expect(server.openSockets).toBe(0);
  });
});

describe('what is said', () => {
  test.each([
    ['get-ends-at-once', 'retry: 0\n\n'],
    ['get-retry-overflow', 'retry: 3000000000\n\n'],
    ['get-flaps-then-hangs', 'retry: 0\n\n'],
  ] as const)('%s: a stream of %j', async (name, text) => {
    const server = await start(name);
    const answer = get(server, await open(server));
    await until(() => answer.isEnded);
    expect(answer.text).toBe(text);
    expect(answer.headers['content-type']).toBe('text/event-stream');
  });

  test('get-flaps-then-hangs: a stream that is taken up again is never answered', async () => {
    const server = await start('get-flaps-then-hangs');
    const [id, another] = [await open(server), await open(server)];
    const first = get(server, id);
    await until(() => first.isEnded);
    expect(await fateOf(get(server, id), 'silence')).toBe('silence');
    expect([server.count('GET'), server.pending]).toEqual([2, 1]);
    const ofAnother = get(server, another);
    await until(() => ofAnother.isEnded);
  });

  test.each(['resume-refused', 'resume-never-ends'] as const)('%s', async (name) => {
    const server = await start(name);
    const id = await open(server);
    const cut = call(server, id);
    await until(() => cut.isEnded);
    expect(cut.text).toBe('retry: 0\nid: cut-1\ndata:\n\n');
    const resumed = get(server, id, { 'last-event-id': 'cut-1' });
    await until(() => resumed.isEnded);
    const isRefused = name === 'resume-refused';
    expect(resumed.status).toBe(isRefused ? 405 : 200);
    if (!isRefused) expect(resumed.text).toBe('retry: 0\nid: cut-2\ndata:\n\n');
  });

  test.each([
    ['get-floods', '"notifications/message"'],
    ['get-endless-line', 'data: aaaa'],
    ['call-floods', '"notifications/message"'],
    ['call-endless-line', 'data: aaaa'],
  ] as const)('%s: without end, until the client hangs up', async (name, begin) => {
    const server = await start(name);
    const id = await open(server);
    const answer = name.startsWith('get') ? get(server, id) : call(server, id);
    await until(() => answer.text.length > 2_000_000);
    expect(answer.text.slice(0, 200)).toContain(begin);
    const line = answer.text.indexOf('\n') < 0;
    expect(line).toBe(name.endsWith('line'));
    expect(answer.isEnded).toBe(false);
    expect(server.bytesSent).toBeGreaterThan(2_000_000);
    answer.hangUp();
    await until(() => server.pending === 0 && server.openSockets === 0);
  });

  const textOf = async (name: HostileServerName): Promise<string> => {
    const server = await start(name);
    const answer = call(server, await open(server));
    await until(() => answer.isEnded || answer.text.includes('\n\n'));
    return answer.text;
  };
  const messagesIn = (text: string): unknown[] =>
    text.split('\n\n').flatMap((event) => (event ? [JSON.parse(event.slice(6))] : []));
  const good = { id: 1, result: { content: [{ type: 'text', text: 'hi' }] } };

  test('call-cut, call-garbage: no whole answer', async () => {
    expect(await textOf('call-cut')).toBe(': nothing follows\n\n');
    const half = await textOf('call-garbage');
    expect(half).toMatch(/^\{"jsonrpc"/);
    expect(() => JSON.parse(half) as unknown).toThrow(SyntaxError);
  });

  test('keeps-stream-open, duplicate-answers, wrong-ids: answers of their own kind', async () => {
    expect(messagesIn(await textOf('keeps-stream-open'))).toMatchObject([good]);
    expect(messagesIn(await textOf('duplicate-answers'))).toMatchObject([
      good,
      { id: 1, result: { isSecond: true } },
    ]);
    expect(messagesIn(await textOf('wrong-ids'))).toMatchObject([{ ...good, id: 'nobody-asked' }]);
  });

  test('asks-nobody: four questions, on the notification stream and after an answer', async () => {
    const server = await start('asks-nobody');
    const id = await open(server);
    const stream = get(server, id);
    await until(() => stream.text.split('\n\n').length > 4);
    const asked = messagesIn(stream.text).map((each) => (each as { method: string }).method);
    const questions = ['ping', 'elicitation/create', 'sampling/createMessage', 'roots/list'];
    expect(asked).toEqual(questions);
    const answer = call(server, id);
    await until(() => answer.isEnded);
    const [first, ...rest] = messagesIn(answer.text) as { id: unknown; method?: string }[];
    expect(first).toMatchObject(good);
    expect(rest.map(({ method }) => method)).toEqual(questions);
  });

  test('the headers of refusals, redirects and sessions', async () => {
    const headersOf = async (name: HostileServerName): Promise<RawAnswer['headers']> => {
      const answer = kept(post((await start(name)).url, initializeMessage));
      await until(() => answer.isEnded);
      return answer.headers;
    };
    expect((await headersOf('unauthorized'))['www-authenticate']).toContain('Bearer');
    expect((await headersOf('rate-limited'))['retry-after']).toBe('2');
    expect((await headersOf('unavailable'))['retry-after']).toBe('2');
    expect((await headersOf('answers-html'))['content-type']).toBe('text/html');
    expect((await headersOf('bad-session-id'))['mcp-session-id']).toMatch(/[^\x21-\x7e]/);
  });

  test('redirects-elsewhere: to an origin where a good server listens, and counts', async () => {
    const server = await start('redirects-elsewhere');
    const answer = kept(post(server.url, initializeMessage));
    await until(() => answer.isEnded);
    const elsewhere = new URL(String(answer.headers.location));
    expect(elsewhere.origin).not.toBe(server.url.origin);
    expect(server.strayed).toHaveLength(0);
    const strayed = kept(post(elsewhere, initializeMessage));
    await until(() => strayed.isEnded);
    expect(strayed.status).toBe(200);
    expect([server.requests.length, server.strayed.length]).toEqual([1, 1]);
  });
});

describe('servers of the SSE transport', () => {
  const stream = (server: HostileServer): RawAnswer => kept(send(server.url, 'GET', EVENTS));
  const endpointOf = async (server: HostileServer, answer: RawAnswer): Promise<URL> => {
    await until(() => answer.text.endsWith('\n\n'));
    return new URL(/^event: endpoint\ndata: (.*)$/m.exec(answer.text)?.[1] ?? '', server.url);
  };

  test('sse-no-endpoint: a stream on which nothing comes', async () => {
    const server = await start('sse-no-endpoint');
    const answer = stream(server);
    expect(await fateOf(answer, '200 open')).toBe('200 open');
    expect(answer.text).toBe('');
  });

  test('sse-retry-zero: a stream that ends at once', async () => {
    const answer = stream(await start('sse-retry-zero'));
    await until(() => answer.isEnded);
    expect(answer.text).toMatch(/^retry: 0\nevent: endpoint\ndata: \/message\?\S+\n\n$/);
  });

  test('sse-drops: a session that opens, a first call at which its stream ends', async () => {
    const server = await start('sse-drops');
    const answer = stream(server);
    const endpoint = await endpointOf(server, answer);
    expect(endpoint.origin).toBe(server.url.origin);
    kept(post(endpoint, initializeMessage));
    await until(() => answer.text.includes('"protocolVersion":"2025-06-18"'));
    const called = kept(post(endpoint, CALL));
    await until(() => answer.isEnded && called.isEnded);
    expect(called.status).toBe(202);
    expect(answer.text).not.toContain('"hi"');
    // The stream may be opened again; the session of the old one is gone.
    expect((await endpointOf(server, stream(server))).search).not.toBe(endpoint.search);
    await server.behave();
    const late = kept(post(endpoint, CALL));
    await until(() => late.isEnded);
    expect(late.status).toBe(404);
  });

  test('a good one answers calls on its stream', async () => {
    const server = await start('sse-drops', { hostile: false });
    const answer = stream(server);
    const endpoint = await endpointOf(server, answer);
    kept(post(endpoint, CALL));
    await until(() => answer.text.includes('"text":"hi"'));
    expect(answer.isEnded).toBe(false);
  });
});

test('every hazard is tried here and told of in the catalogue', () => {
  const names = [...Object.keys(HAZARDS), 'sse-no-endpoint', 'sse-drops', 'sse-retry-zero'];
  expect(names.toSorted()).toEqual(Object.keys(HOSTILE_SERVERS).toSorted());
});
