// The ways in which a scripted server answers one call, by name. Those that both transports take
// alike come first; of the others, the test has a table.

import { gzipSync } from 'node:zlib';
import type { ScriptedAnswer } from './conversation.ts';
import {
  bodyOf,
  cut,
  event,
  eventText,
  failure,
  HANG_UP,
  type Id,
  jsonOf,
  notice,
  notices,
  redirect,
  result,
  streamOf,
} from './conversation-answers.ts';
import type { Dice } from './random.ts';

/** How one call is answered. */
export interface CallScript {
  readonly posts: readonly ScriptedAnswer[];
  readonly gets?: readonly ScriptedAnswer[];
  /** Streams may be asked for again, so that quiet means little at first. */
  readonly isSlow?: boolean;
}

type Scripts = Readonly<Record<string, (dice: Dice, id: Id) => CallScript>>;

const one = (answer: ScriptedAnswer): CallScript => ({ posts: [answer] });
const stream = (dice: Dice, messages: readonly (object | string)[]): CallScript =>
  one(streamOf(dice, eventText(dice, messages)));
/** An event stream that ends early, with an id to resume from. */
const early = (dice: Dice, id: string, messages: readonly object[] = []): ScriptedAnswer => {
  const first = event(dice, '', { id, retry: true });
  const rest = messages.map((each, n) => event(dice, each, { id: `${id}-${n}` })).join('');
  return streamOf(dice, first + rest, dice.of(['whole', 'cut']));
};
/** An id of no call. */
const STRAY = 999_999;

/** What both take alike. */
export const alike: Scripts = {
  json: (dice, id) => one(jsonOf(dice, result(dice, id))),
  'json error': (dice, id) => one(jsonOf(dice, failure(dice, id))),
  'json batch': (dice, id) => one(jsonOf(dice, [...notices(dice, 2), result(dice, id)])),
  'json after a mark': (dice, id) => one(jsonOf(dice, `\uFEFF${JSON.stringify(result(dice, id))}`)),
  'json, string id': (dice, id) => one(jsonOf(dice, result(dice, String(id)))),
  'json that is none': (dice) => one(jsonOf(dice, dice.of(['', '{', 'nonsense', '{"a":1}}']))),
  'json that is no message': (dice, id) =>
    one(
      jsonOf(
        dice,
        dice.of<object>([
          ...[{}, { jsonrpc: '2.0' }, { jsonrpc: '1.0', id, result: {} }, { id, result: {} }],
          ...[
            { jsonrpc: '2.0', id: 1.5, result: {} },
            { jsonrpc: '2.0', id, result: 'text' },
          ],
          ...[{ jsonrpc: '2.0', id, error: 'text' }, [{ jsonrpc: '2.0', id, result: {} }, 1]],
        ]),
      ),
    ),
  'json cut off': (dice, id) => {
    const answer = jsonOf(dice, result(dice, id));
    const headers = { ...answer.headers, 'content-length': '100000' };
    return one({ ...answer, headers, end: 'cut' });
  },
  'json, gzip': (dice, id) => {
    const answer = jsonOf(dice, '');
    const headers = { ...answer.headers, 'content-encoding': 'gzip' };
    return one({ ...answer, headers, parts: [gzipSync(JSON.stringify(result(dice, id)))] });
  },
  events: (dice, id) => stream(dice, [...notices(dice, 4), result(dice, id)]),
  'events, error': (dice, id) => stream(dice, [...notices(dice, 2), failure(dice, id)]),
  'events, string id': (dice, id) => stream(dice, [result(dice, String(id))]),
  'events, stray response': (dice, id) =>
    stream(dice, [result(dice, STRAY), ...notices(dice, 1), result(dice, id)]),
  'events, some broken': (dice, id) =>
    stream(dice, [
      ...['{', 'nonsense', '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","id":{},"method":"a"}'],
      ...notices(dice, 2),
      result(dice, id),
    ]),
  'events after the response': (dice, id) =>
    stream(dice, [result(dice, id), ...notices(dice, 2), result(dice, id)]),
  'events with ids': (dice, id) => {
    const text = event(dice, '', { id: 'a', retry: true }) + event(dice, result(dice, id));
    return { ...one(streamOf(dice, text, dice.of(['whole', 'cut', 'open']))), isSlow: true };
  },
  'events, connection kept': (dice, id) => {
    const text = eventText(dice, [...notices(dice, 2), result(dice, id)]);
    return one(streamOf(dice, text, 'open'));
  },
  resumed: (dice, id) => ({
    posts: [early(dice, 'p', notices(dice, 2))],
    gets: [streamOf(dice, eventText(dice, [...notices(dice, 2), result(dice, id)]))],
    isSlow: true,
  }),
  'resumed twice': (dice, id) => ({
    posts: [early(dice, 'p', notices(dice, 2))],
    gets: [early(dice, 'q', notices(dice, 1)), streamOf(dice, event(dice, result(dice, id)))],
    isSlow: true,
  }),
  refused: (dice) => {
    const status = dice.of([400, 401, 403, 404, 405, 409, 413, 429, 500, 502, 503]);
    return one(bodyOf(dice, dice.of(['', 'no', '{"error":"no"}']), status));
  },
  redirected: (dice, id) => {
    const hops = Array.from({ length: dice.between(1, 5) }, () =>
      redirect(dice, dice.of([307, 308])),
    );
    return { posts: [...hops, jsonOf(dice, result(dice, id))] };
  },
  'redirected too often': (dice) => ({
    posts: Array.from({ length: 6 }, () => redirect(dice, 307)),
  }),
  'redirected elsewhere': (dice) => one(redirect(dice, 307, 'http://localhost:9/')),
  'redirected to a GET': (dice) => one(redirect(dice, dice.of([301, 302, 303]))),
  'another type': (dice) => one(bodyOf(dice, '<p>', 200, { 'content-type': 'text/html' })),
  'no type': (dice) => one(bodyOf(dice, '{}', 200)),
  'hung up': () => one(HANG_UP),
};

/** What they take differently. */
export const different: Scripts = {
  'cut short': (dice) =>
    one(streamOf(dice, eventText(dice, notices(dice, 2)), dice.of(['whole', 'cut']))),
  'no response in time': (dice) => one(streamOf(dice, eventText(dice, notices(dice, 2)), 'open')),
  'json without the response': (dice) =>
    one(jsonOf(dice, dice.of<object>([[], result(dice, STRAY), [result(dice, STRAY)]]))),
  'accepted only': (dice) => one(bodyOf(dice, '', 202)),
  'batch as an event': (dice, id) => stream(dice, [[...notices(dice, 2), result(dice, id)]]),
  'unknown members': (dice, id) =>
    one(dice.of([jsonOf, streamAsJson])(dice, { ...result(dice, id), extra: true })),
  'null as an id': (dice) =>
    stream(dice, [{ jsonrpc: '2.0', id: null, error: { code: -32_600, message: 'no' } }]),
  'error without an id': (dice) =>
    stream(dice, [{ jsonrpc: '2.0', error: { code: -32_600, message: 'no' } }]),
  'id without data': (dice, id) => ({
    posts: [streamOf(dice, `id: p\nretry: 20\n\n`)],
    gets: [streamOf(dice, event(dice, result(dice, id)))],
    isSlow: true,
  }),
  'id taken back': (dice) => ({
    posts: [
      streamOf(dice, event(dice, '', { id: 'p', retry: true }) + event(dice, '', { id: '' })),
    ],
    isSlow: true,
  }),
  'resumable error': (dice, id) => ({
    posts: [early(dice, 'p', [failure(dice, id)])],
    isSlow: true,
  }),
  'resumable, stray response': (dice, id) => ({
    posts: [early(dice, 'p', [result(dice, STRAY)])],
    gets: [streamOf(dice, event(dice, result(dice, id)))],
    isSlow: true,
  }),
  'resumed without an id': (dice, id) => ({
    posts: [early(dice, 'p')],
    gets: [
      streamOf(dice, event(dice, notice(dice), { retry: true })),
      streamOf(dice, event(dice, result(dice, id))),
    ],
    isSlow: true,
  }),
  'resumption refused': (dice) => ({
    posts: [early(dice, 'p')],
    gets: [bodyOf(dice, '', 404), bodyOf(dice, '', 404)],
    isSlow: true,
  }),
  'late notice': (dice, id) => {
    const parts = [...cut(dice, event(dice, result(dice, id))), 350];
    const answer = streamOf(dice, '', 'whole');
    return one({ ...answer, parts: [...parts, ...cut(dice, event(dice, NOTE))] });
  },
  'another session id': (dice, id) => {
    const answer = jsonOf(dice, result(dice, id));
    return one({ ...answer, headers: { ...answer.headers, 'mcp-session-id': 'another' } });
  },
  'bare CRs': (dice, id) => one(streamOf(dice, event(dice, result(dice, id), { lineEnd: '\r' }))),
  'too large': (dice, id) =>
    one(jsonOf(dice, { jsonrpc: '2.0', id, result: { text: 'x'.repeat(70_000) } })),
};

const NOTE = { jsonrpc: '2.0', method: 'notifications/late' };

const streamAsJson = (dice: Dice, message: object): ScriptedAnswer =>
  streamOf(dice, eventText(dice, [message]));
