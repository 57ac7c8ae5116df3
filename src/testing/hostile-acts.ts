// What each hazard does with the requests that are its own. What no act takes is answered well, by
// `mcp-answers.ts`. Acts keep no state beyond the server that they are on.

import type { HostileServerName } from './hostile-names.ts';
import type { LoopbackExchange } from './loopback-server.ts';
import {
  answerTo,
  beginEvents,
  eventOf,
  isRequest,
  type McpAnswers,
  pour,
  refuse,
  SSE_PATH,
} from './mcp-answers.ts';

/** The server that an act is on. */
export interface Stage {
  readonly good: McpAnswers;
  /** Another origin, where a good server listens. */
  readonly elsewhere: string;
  /** Sessions whose first notification stream has ended. */
  readonly flapped: Set<unknown>;
}

type Act = (exchange: LoopbackExchange, stage: Stage) => void;

/**
 * Which requests a hazard takes. The first that fits does: `every` takes all, `session` all that
 * name a session, `call` JSON-RPC requests but `initialize` and `ping`, and `notification` what
 * expects a 202.
 */
export interface Acts {
  readonly every?: Act;
  readonly initialize?: Act;
  readonly initialized?: Act;
  readonly session?: Act;
  readonly call?: Act;
  readonly notification?: Act;
  readonly GET?: Act;
  readonly DELETE?: Act;
}

/** Over what a timer of Node takes, in ms. */
const OVERFLOWING_RETRY = 3_000_000_000;
const RETRY_AFTER = { 'retry-after': '2' };
const PIECE_BYTES = 16 * 1024;
const line = 'a'.repeat(PIECE_BYTES);
const log = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 1 } };
const flood = eventOf(log).repeat(64);

const silence: Act = () => undefined;
const reset: Act = ({ response }) => response.socket?.resetAndDestroy();
const hang: Act = (exchange) => void beginEvents(exchange);
const pourLogs: Act = (exchange) => pour(beginEvents(exchange), flood);
const pourLine: Act = (exchange) => pour(beginEvents(exchange, 'data: '), line);
/** A request that work waits for; `initialize` and pings are the session's own. */
const isCall = (exchange: LoopbackExchange): boolean =>
  isRequest(exchange) && !['initialize', 'ping'].includes(exchange.message.method ?? '');
const isResuming = ({ headers }: LoopbackExchange): boolean => 'last-event-id' in headers;

/** Ends an event stream that held no message. */
const endWith =
  (text: string): Act =>
  (exchange) =>
    void beginEvents(exchange, text).end();

/** Refuses with a status, whatever it is. */
const refuseWith =
  (status: number, words: string, headers: Readonly<Record<string, string>> = {}): Act =>
  (exchange) =>
    refuse(exchange, status, words, headers);

/** Forgets each session after its first call. */
const forgetWith =
  (status: number, words: string): Act =>
  (exchange, { good }) => {
    if (!good.knows(exchange)) return refuse(exchange, status, words);
    good.answer(exchange);
    if (isCall(exchange)) good.forget(exchange);
  };

/** Ends the stream of a call after an event id; a resumption is for `resume`. */
const cutAfterId = (resume: Act): Acts => ({
  call: endWith('retry: 0\nid: cut-1\ndata:\n\n'),
  GET: (exchange, stage) => {
    if (isResuming(exchange)) resume(exchange, stage);
    else stage.good.answer(exchange);
  },
});

/** Every kind of question a server has. */
const questions = (from: string): string =>
  ['ping', 'elicitation/create', 'sampling/createMessage', 'roots/list']
    .map((method) => eventOf({ jsonrpc: '2.0', id: `${from}:${method}`, ...paramsOf(method) }))
    .join('');

function paramsOf(method: string): object {
  if (method === 'elicitation/create') {
    const requestedSchema = { type: 'object', properties: { name: { type: 'string' } } };
    return { method, params: { message: 'Who are you?', requestedSchema } };
  }
  if (method === 'sampling/createMessage') {
    const messages = [{ role: 'user', content: { type: 'text', text: 'Hello' } }];
    return { method, params: { messages, maxTokens: 1 } };
  }
  return { method };
}

/** What is answered under `id` in place of the request's own. */
const answerUnder = (exchange: LoopbackExchange, id: unknown): string =>
  eventOf({ ...answerTo(exchange), id });

/** The acts of every hazard that is one; whether anybody listens is not told here. */
export const HOSTILE_ACTS: Readonly<Record<HostileServerName, Acts>> = {
  'refuses-connections': {},
  'resets-connections': { every: reset },
  'black-hole': { every: silence },
  'initialized-unanswered': { initialized: silence },
  'accepted-never-ends': {
    notification: ({ response }) => response.writeHead(202).flushHeaders(),
  },
  'bad-session-id': {
    initialize: (exchange, { good }) => good.initialize(exchange, `a b\t\xe9 ${exchange.count}`),
  },
  unauthorized: {
    every: refuseWith(401, 'Unauthorized', { 'www-authenticate': 'Bearer error="invalid_token"' }),
  },
  forbidden: { every: refuseWith(403, 'Forbidden') },
  'rate-limited': { every: refuseWith(429, 'Too many requests', RETRY_AFTER) },
  unavailable: { every: refuseWith(503, 'Service unavailable', RETRY_AFTER) },
  'redirects-elsewhere': {
    every: ({ response, path }, { elsewhere }) =>
      void response.writeHead(307, { location: `${elsewhere}${path}` }).end(),
  },
  'answers-html': {
    every: ({ response }) => {
      response.writeHead(200, { 'content-type': 'text/html' });
      response.end('<!doctype html><title>Sign in</title>');
    },
  },
  'error-never-ends': {
    every: ({ response }) => void response.writeHead(503).write('Service unavailable'),
  },
  'get-ends-at-once': { GET: endWith('retry: 0\n\n') },
  'get-retry-overflow': { GET: endWith(`retry: ${OVERFLOWING_RETRY}\n\n`) },
  'get-never-answers': { GET: silence },
  'get-flaps-then-hangs': {
    GET: (exchange, { flapped }) => {
      const sessionId = exchange.headers['mcp-session-id'];
      if (!flapped.has(sessionId)) beginEvents(exchange, 'retry: 0\n\n').end();
      flapped.add(sessionId);
    },
  },
  'get-floods': { GET: pourLogs },
  'get-endless-line': { GET: pourLine },
  'never-ends': { call: hang },
  'call-unanswered': { call: silence },
  'call-cut': { call: endWith(': nothing follows\n\n') },
  'call-reset': { call: reset },
  'call-accepted': { call: ({ response }) => void response.writeHead(202).end() },
  'call-garbage': {
    call: (exchange) => {
      const whole = JSON.stringify(answerTo(exchange));
      exchange.response.writeHead(200, { 'content-type': 'application/json' });
      exchange.response.end(whole.slice(0, whole.length / 2));
    },
  },
  'call-floods': { call: pourLogs },
  'call-endless-line': { call: pourLine },
  'resume-refused': cutAfterId(refuseWith(405, 'Method not allowed')),
  'resume-never-ends': cutAfterId(endWith('retry: 0\nid: cut-2\ndata:\n\n')),
  'keeps-stream-open': {
    call: (exchange) => void beginEvents(exchange, eventOf(answerTo(exchange))),
  },
  'duplicate-answers': {
    call: (exchange) => {
      const second = { jsonrpc: '2.0', id: exchange.message.id, result: { isSecond: true } };
      beginEvents(exchange, eventOf(answerTo(exchange)) + eventOf(second)).end();
    },
  },
  'wrong-ids': {
    call: (exchange) => void beginEvents(exchange, answerUnder(exchange, 'nobody-asked')).end(),
  },
  'session-forgotten': { session: forgetWith(404, 'Session not found') },
  'session-forgotten-400': { session: forgetWith(400, 'Bad Request: no valid session id') },
  'delete-unanswered': { DELETE: silence },
  'asks-nobody': {
    GET: (exchange) => void beginEvents(exchange, questions('get')),
    call: (exchange) => {
      // The answer first: what is asked after it belongs to no call any more.
      const { id } = exchange.message;
      beginEvents(exchange, eventOf(answerTo(exchange)) + questions(`call-${id}`)).end();
    },
  },
  'sse-no-endpoint': { GET: hang },
  'sse-drops': {
    call: ({ response }, { good }) => {
      response.writeHead(202).end();
      good.dropSse();
    },
  },
  'sse-retry-zero': {
    GET: (exchange, { good }) => {
      good.openSse(exchange, 'retry: 0\n');
      good.dropSse();
    },
  },
};

/** The act that takes `exchange`; `undefined`: it is to be answered well. */
export function actFor(acts: Acts, exchange: LoopbackExchange): Act | undefined {
  const { method, headers, message } = exchange;
  const { every, session } = acts;
  if (every !== undefined) return every;
  if (message.method === 'initialize') return acts.initialize;
  if (session !== undefined && 'mcp-session-id' in headers) return session;
  if (method === 'GET') return acts.GET;
  if (method === 'DELETE') return acts.DELETE;
  if (isRequest(exchange)) return isCall(exchange) ? acts.call : undefined;
  if (message.method === 'notifications/initialized' && acts.initialized) return acts.initialized;
  return acts.notification;
}

/** Where clients of a server with these hazards are to go. */
export const pathOf = (names: readonly HostileServerName[]): string =>
  names.some((name) => name.startsWith('sse-')) ? SSE_PATH : '/mcp';
