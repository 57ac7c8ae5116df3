// The answers of a scripted server: HTTP responses with JSON or events in them, the bytes cut up and
// the events dressed up as chance has it, in ways that must not matter.

import type { ScriptedAnswer } from './conversation.ts';
import type { Dice } from './random.ts';

export type Id = string | number;

/** A delay after which a stream that ended may be asked for again. Short, for the SDK honours it. */
const RETRY_MS = 20;
const TEXTS = [
  '',
  'plain',
  'täg',
  '漢字かな交じり',
  '🙂🚀🙂',
  'a\nb',
  'x'.repeat(4_000),
  '\u2028"\\',
];

export function result(dice: Dice, id: Id): object {
  const content = [{ type: 'text', text: dice.of(TEXTS) }];
  return { jsonrpc: '2.0', id, result: dice.chance(0.9) ? { content } : {} };
}

export function failure(dice: Dice, id: Id): object {
  return { jsonrpc: '2.0', id, error: { code: dice.between(-32_700, 9), message: dice.of(TEXTS) } };
}

/** Something that is no response: progress, a log line, a request of the server. */
export function notice(dice: Dice): object {
  const text = dice.of(TEXTS);
  return dice.of<object>([
    { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1, progress: 1 } },
    { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: text } },
    { jsonrpc: '2.0', method: 'notifications/tools/list_changed' },
    { jsonrpc: '2.0', id: dice.between(0, 50), method: 'ping' },
    { jsonrpc: '2.0', id: `srv-${text.length}`, method: 'roots/list', params: {} },
  ]);
}

export function notices(dice: Dice, most: number): object[] {
  return Array.from({ length: dice.between(0, most) }, () => notice(dice));
}

/** How one event is written. */
export interface EventDress {
  readonly id?: string;
  readonly retry?: boolean;
  readonly name?: string;
  readonly lineEnd?: string;
}

/** One event. Its data may take several lines, where JSON lets it. */
export function event(dice: Dice, message: object | string, dress: EventDress = {}): string {
  const { id, retry, name, lineEnd = '\n' } = dress;
  const lines: string[] = [];
  if (dice.chance(0.1)) lines.push(': a comment');
  if (id !== undefined) lines.push(dice.of([`id: ${id}`, `id:${id}`]));
  if (retry === true) lines.push(`retry: ${RETRY_MS}`);
  if (name !== undefined) lines.push(`event: ${name}`);
  else if (dice.chance(0.2)) lines.push('event: message');
  const isLong = typeof message === 'object' && dice.chance(0.2);
  const text =
    typeof message === 'string' ? message : JSON.stringify(message, null, isLong ? 1 : 0);
  lines.push(...text.split('\n').map((line) => `data: ${line}`));
  if (dice.chance(0.1)) lines.push('unknown: field');
  return `${lines.join(lineEnd)}${lineEnd}${lineEnd}`;
}

/** Things between events that mean nothing. */
function filler(dice: Dice): string {
  return dice.of([
    ...['', '', '', ': keep-alive\n\n', '\n\n', 'data\n\n', 'event: message\n\n', ':\n'],
    'event: other\ndata: {"jsonrpc":"2.0","method":"not/for/us"}\n\n',
  ]);
}

/** A whole stream's text: what is not the last of `messages`, then the last. */
export function eventText(dice: Dice, messages: readonly (object | string)[]): string {
  const lineEnd = dice.weighted({ '\n': 6, '\r\n': 4 });
  const events = messages.map((each) => event(dice, each, { lineEnd }) + filler(dice));
  return `${dice.chance(0.1) ? '\uFEFF' : ''}${filler(dice)}${events.join('')}`;
}

/** An event stream of `text`. */
export function streamOf(
  dice: Dice,
  text: string,
  end: ScriptedAnswer['end'] = 'whole',
): ScriptedAnswer {
  const type = dice.of(['text/event-stream', 'Text/Event-Stream; charset=utf-8']);
  return { status: 200, headers: { 'content-type': type }, parts: cut(dice, text), end };
}

/** A JSON answer of `value`, or of a text that stands for itself. */
export function jsonOf(dice: Dice, value: object | string, status = 200): ScriptedAnswer {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const types = ['application/json', 'application/json; charset=utf-8', 'Application/JSON'];
  return bodyOf(dice, text, status, { 'content-type': dice.of(types) });
}

/** Any other answer. */
export function bodyOf(
  dice: Dice,
  text: string,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): ScriptedAnswer {
  return { status, headers, parts: cut(dice, text), end: 'whole' };
}

/** The connection ends before the head of an answer. */
export const HANG_UP: ScriptedAnswer = { status: 0, headers: {}, parts: [], end: 'cut' };

/** A redirect within the endpoint, or wherever `location` says. */
export function redirect(dice: Dice, status: number, location?: string): ScriptedAnswer {
  const headers = { location: location ?? `?moved=${dice.between(1, 9)}` };
  return bodyOf(dice, dice.of(['', 'moved']), status, headers);
}

/** `text` as bytes, in up to four parts, cut anywhere: within characters too. */
export function cut(dice: Dice, text: string): Buffer[] {
  const parts: Buffer[] = [];
  let rest: Buffer = Buffer.from(text);
  for (let left = dice.between(0, 3); left > 0 && rest.length > 1; left -= 1) {
    const at = dice.between(1, rest.length - 1);
    parts.push(rest.subarray(0, at));
    rest = rest.subarray(at);
  }
  return rest.length > 0 ? [...parts, rest] : parts;
}
