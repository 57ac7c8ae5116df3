// What a server of the fuzzer answers, as the bytes of one HTTP response: well-formed ones of any
// kind. What garbles them is `fuzz-garbage.ts`; who writes them is `fuzz-server.ts`.

import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import type { Dice } from './dice.ts';

/** A request, as far as an answer depends on it. */
export interface FuzzRequest {
  readonly method: string;
  readonly path: string;
  /** The JSON-RPC id and method of what was posted. */
  readonly id: string | number | undefined;
  readonly rpcMethod: string | undefined;
}

/** One answer: written piece by piece, then ended as `tail` says. */
export interface FuzzAnswer {
  readonly kind: string;
  readonly pieces: readonly Buffer[];
  /** `keep`: the connection serves on. `hang`: the answer is never complete. */
  readonly tail: 'keep' | 'end' | 'reset' | 'hang';
}

type Headers = Record<string, string>;

const TEXTS = [
  '',
  'a',
  'täg',
  '漢字かな',
  '🙂🙂',
  'line\nline',
  'x'.repeat(3_000),
  '\u2028',
  '\\"',
];
const RETRIES = ['0', '1', '20', '100', '1500', '3000000000', '99999999999999999999', '-1', 'soon'];

/** A well-formed answer, of a kind that `dice` chooses. */
export function anyAnswer(dice: Dice, request: FuzzRequest): FuzzAnswer {
  const kind =
    request.method === 'POST' && request.id !== undefined ? forCall(dice) : forOther(dice, request);
  switch (kind) {
    case 'json':
      return whole(
        dice,
        kind,
        200,
        { 'content-type': 'application/json' },
        jsonBody(dice, request),
      );
    case 'events':
      return stream(dice, kind, eventsOf(dice, request, dice.between(0, 6)));
    case 'flood':
      return stream(dice, kind, flood(dice, request));
    case 'accepted':
      return whole(dice, kind, dice.of([200, 202, 202, 202, 204]), {}, '');
    case 'refused':
      return refusal(dice);
    case 'redirect':
      return redirect(dice, request);
    case 'text':
      return whole(dice, kind, 200, { 'content-type': dice.of(['text/html', 'x', '']) }, '<p>');
    case 'nothing':
      return { kind, pieces: [], tail: dice.of(['hang', 'end', 'reset']) };
    default:
      return kind satisfies never;
  }
}

/** A stream that ends at once, and asks to be asked again at once: as servers do that poll. */
export function pollingAnswer(dice: Dice, { id }: FuzzRequest): FuzzAnswer {
  const note = { jsonrpc: '2.0', method: 'notifications/progress', params: { id: id ?? 0 } };
  const data = dice.chance(0.7) ? JSON.stringify(note) : '';
  const headers = CHUNKED({ 'content-type': 'text/event-stream' });
  const text = Buffer.from(`id: poll\nretry: 0\ndata: ${data}\n\n`);
  const pieces = [head(dice, 200, headers), chunk(text), Buffer.from('0\r\n\r\n')];
  return { kind: 'poll', pieces, tail: 'keep' };
}

/** One HTTP response of `body` bytes, coded or not, chunked or not. */
function whole(
  dice: Dice,
  kind: string,
  status: number,
  headers: Headers,
  body: string | Buffer,
): FuzzAnswer {
  const bytes = coded(dice, headers, Buffer.from(body));
  const tail = dice.weighted({ keep: 12, end: 2, reset: 1, hang: 1 });
  if (dice.chance(0.5)) {
    const length = { ...headers, 'content-length': String(bytes.length) };
    return { kind, pieces: [head(dice, status, length), bytes], tail };
  }
  const chunks = cutUp(dice, bytes).map(chunk);
  const close = tail === 'hang' ? [] : [Buffer.from('0\r\n\r\n')];
  return { kind, pieces: [head(dice, status, CHUNKED(headers)), ...chunks, ...close], tail };
}

/** An event stream that `tail` says the end of. */
function stream(dice: Dice, kind: string, text: string): FuzzAnswer {
  const headers: Headers = { 'content-type': 'text/event-stream' };
  const bytes = dice.chance(0.1) ? coded(dice, headers, Buffer.from(text)) : Buffer.from(text);
  const pieces = cutUp(dice, bytes).map(chunk);
  const tail = dice.weighted({ keep: 6, reset: 2, hang: 4, end: 1 });
  const close = tail === 'keep' ? [Buffer.from('0\r\n\r\n')] : [];
  return { kind, pieces: [head(dice, 200, CHUNKED(headers)), ...pieces, ...close], tail };
}

function forCall(dice: Dice): 'json' | 'events' | 'flood' | 'accepted' | 'refused' | Other {
  return dice.weighted({
    ...{ json: 30, events: 40, flood: 2, accepted: 3, refused: 8 },
    ...{ redirect: 5, text: 2, nothing: 10 },
  });
}

type Other = 'redirect' | 'text' | 'nothing';

function forOther(dice: Dice, { method }: FuzzRequest): ReturnType<typeof forCall> {
  if (method !== 'GET') {
    return dice.weighted({ accepted: 30, json: 3, events: 3, refused: 6, redirect: 3, nothing: 6 });
  }
  return dice.weighted({
    ...{ events: 60, flood: 3, refused: 10, redirect: 6, json: 2, text: 2, nothing: 8 },
  });
}

function jsonBody(dice: Dice, request: FuzzRequest): string {
  const count = dice.chance(0.85) ? 1 : dice.between(0, 4);
  const messages = Array.from({ length: count }, () => anyMessage(dice, request));
  return JSON.stringify(count === 1 ? messages[0] : messages);
}

/** A message: the response that was asked for, or something else. */
function anyMessage(dice: Dice, { id = 1 }: FuzzRequest): unknown {
  const text = dice.of(TEXTS);
  const error = { code: -32_000, message: text };
  switch (dice.weighted({ result: 50, error: 8, note: 25, ask: 8, other: 6, odd: 6 })) {
    case 'result':
      return { jsonrpc: '2.0', id: dice.chance(0.1) ? String(id) : id, result: { text } };
    case 'error':
      return { jsonrpc: '2.0', id: dice.chance(0.2) ? null : id, error };
    case 'note':
      return { jsonrpc: '2.0', method: 'notifications/progress', params: { text } };
    case 'ask':
      return { jsonrpc: '2.0', id: dice.between(0, 99), method: 'ping' };
    case 'other':
      return { jsonrpc: '2.0', id: dice.between(-9, 99), result: {} };
    default:
      return dice.of([
        ...[null, 1, [], {}, 'text', { jsonrpc: '2.0' }, { jsonrpc: '1.0', id, result: {} }],
        ...[
          { jsonrpc: '2.0', id: {}, result: {} },
          { jsonrpc: '2.0', id, result: 1 },
        ],
        ...[
          { jsonrpc: '2.0', id, result: { _meta: 1 } },
          { jsonrpc: '2.0', id: 1.5, method: 'a' },
        ],
        { jsonrpc: '2.0', id: 1e300, result: {}, method: 'both' },
      ]);
  }
}

function eventsOf(dice: Dice, request: FuzzRequest, count: number): string {
  const events = Array.from({ length: count }, () => eventOf(dice, request));
  return events.join('');
}

function eventOf(dice: Dice, request: FuzzRequest): string {
  const lineEnd = dice.weighted({ '\n': 6, '\r\n': 3, '\r': 1 });
  const lines: string[] = [];
  if (dice.chance(0.4)) lines.push(`id: ${dice.of(['', 'a', 'e-1', 'ü', '1'])}`);
  if (dice.chance(0.2)) lines.push(`retry: ${dice.of(RETRIES)}`);
  if (dice.chance(0.1)) lines.push(': a comment');
  if (dice.chance(0.1)) lines.push(`event: ${dice.of(['message', 'other', ''])}`);
  const text = dice.chance(0.9) ? JSON.stringify(anyMessage(dice, request)) : 'no json';
  if (dice.chance(0.8)) lines.push(`data: ${text ?? ''}`);
  return `${lines.join(lineEnd)}${lineEnd}${lineEnd}`;
}

/** A lot at once: messages, a line without end, or empty lines. */
function flood(dice: Dice, request: FuzzRequest): string {
  const event = eventOf(dice, request);
  return dice.of([
    event.repeat(dice.between(1_000, 5_000)),
    `data: ${'x'.repeat(dice.between(1, 300_000))}`,
    '\n'.repeat(200_000),
    'id: 1\n\n'.repeat(20_000),
    'data\n'.repeat(50_000),
    'retry: 1\n'.repeat(20_000),
  ]);
}

function refusal(dice: Dice): FuzzAnswer {
  const status = dice.of([400, 401, 403, 404, 405, 408, 409, 429, 500, 502, 503, 504, 599]);
  const headers: Headers = { 'content-type': dice.of(['text/plain', 'application/json']) };
  if (dice.chance(0.4)) headers['retry-after'] = dice.of(['0', '1', '99999999999', 'x', '-1']);
  const body = dice.of(['', 'no', '{"error":', 'x'.repeat(20_000)]);
  return whole(dice, `refused ${status}`, status, headers, body);
}

function redirect(dice: Dice, { path }: FuzzRequest): FuzzAnswer {
  const [bare = '/'] = path.split('?');
  const location = dice.of([
    ...[`${bare}?hop=${dice.between(1, 9)}`, `${bare}?hop=1`, '', '//', 'http://[', '\u00e4'],
    ...['http://127.0.0.1:9/', 'https://127.0.0.1:9/', 'ftp://a/', 'data:,x'],
  ]);
  const status = dice.of([300, 301, 302, 303, 307, 307, 307, 308, 304]);
  return whole(dice, 'redirect', status, { location }, dice.of(['', 'moved']));
}

const CHUNKED = (headers: Headers): Headers => ({ ...headers, 'transfer-encoding': 'chunked' });

/** The head of a response, now and then after one that is not final. */
function head(dice: Dice, status: number, headers: Headers): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  if (dice.chance(0.3)) lines.push(`mcp-session-id: session-${dice.between(1, 3)}\r\n`);
  const first = dice.chance(0.05) ? 'HTTP/1.1 103 Early\r\nlink: a\r\n\r\n' : '';
  return Buffer.from(`${first}HTTP/1.1 ${status} Status\r\n${lines.join('')}\r\n`, 'latin1');
}

/** `bytes` as the coding that is added to `headers` makes them, or as they are. */
function coded(dice: Dice, headers: Headers, bytes: Buffer): Buffer {
  if (dice.chance(0.85)) return bytes;
  const coding = dice.of(['gzip', 'deflate', 'br', 'identity', 'zstd', 'gzip, br']);
  headers['content-encoding'] = coding;
  if (coding === 'gzip') return gzipSync(bytes);
  if (coding === 'deflate') return deflateSync(bytes);
  if (coding === 'br') return brotliCompressSync(bytes);
  return coding === 'gzip, br' ? brotliCompressSync(gzipSync(bytes)) : bytes;
}

/** `bytes` in up to five parts, cut anywhere. */
export function cutUp(dice: Dice, bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  let rest = bytes;
  for (let left = dice.between(0, 4); left > 0 && rest.length > 1; left -= 1) {
    const at = dice.between(1, rest.length - 1);
    parts.push(rest.subarray(0, at));
    rest = rest.subarray(at);
  }
  if (rest.length > 0) parts.push(rest);
  return parts;
}

function chunk(bytes: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from(`${bytes.length.toString(16)}\r\n`),
    bytes,
    Buffer.from('\r\n'),
  ]);
}
