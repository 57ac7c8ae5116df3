// Writes conversations: `initialize`, what a client says next, and then a few steps of any kind, with
// the server's answers to them. Chance comes from a seed, so a conversation can be had again.

import type { JSONRPCRequest } from '@modelcontextprotocol/sdk/types.js';
import type { ClientAct, Conversation, ScriptedAnswer, Step } from './conversation.ts';
import {
  bodyOf,
  cut,
  event,
  eventText,
  failure,
  HANG_UP,
  jsonOf,
  notice,
  notices,
  redirect,
  result,
  streamOf,
} from './conversation-answers.ts';
import { alike, different } from './conversation-calls.ts';
import { Dice } from './random.ts';

/** Longer than the loop needs to hand on what has come. */
const QUIET_MS = 30;
/** Longer than the SDK, and this transport, wait before they resume a call. */
const RESUMING_MS = 260;
/** Longer than this transport waits before it opens the notification stream again. */
const REOPENING_MS = 3_200;
const ASKING_MS = 2_000;
/** For requests that one of the two does not send. */
const UNSURE_MS = 500;

/** Conversation `number` of those of `seed`. */
export function writeConversation(seed: number, number: number): Conversation {
  return new Writer(new Dice(seed * 10_007 + number), number).write();
}

type StepParts = Partial<Step> & Pick<Step, 'quirk' | 'act'>;

class Writer {
  readonly #dice: Dice;
  readonly #number: number;
  readonly #steps: Step[] = [];
  #lastId = 0;
  #hasSession = false;
  /** Whether both transports have the notification stream open. */
  #isListening = false;

  constructor(dice: Dice, number: number) {
    this.#dice = dice;
    this.#number = number;
  }

  write(): Conversation {
    const dice = this.#dice;
    this.#initialize();
    this.#initialized();
    for (let left = dice.between(2, 5); left > 0; left -= 1) this.#anyStep();
    if (dice.chance(0.4)) this.#terminate();
    return { number: this.#number, steps: this.#steps };
  }

  #anyStep(): void {
    const dice = this.#dice;
    switch (
      dice.weighted({
        ...{ alike: 30, different: 22, together: 6, post: 12, cancel: 5, resume: 4 },
        listen: this.#isListening ? 22 : 0,
      })
    ) {
      case 'alike':
        return this.#call(alike);
      case 'different':
        return this.#call(different);
      case 'together':
        return this.#together();
      case 'post':
        return this.#post();
      case 'cancel':
        return this.#cancel();
      case 'resume':
        return this.#resume();
      case 'listen':
        return this.#listen();
      default:
    }
  }

  #initialize(): void {
    const dice = this.#dice;
    const call = this.#request('initialize');
    const answer = dice.chance(0.5)
      ? jsonOf(dice, result(dice, call.id))
      : streamOf(dice, eventText(dice, [result(dice, call.id)]));
    this.#hasSession = dice.chance(0.8);
    const post = this.#hasSession ? this.#naming(answer) : answer;
    this.#add({ quirk: 'initialize', act: { do: 'call', calls: [call] }, posts: [post] });
  }

  /** The client says so, and may get a notification stream. */
  #initialized(): void {
    const dice = this.#dice;
    const act: ClientAct = {
      do: 'post',
      message: { jsonrpc: '2.0', method: 'notifications/initialized' },
    };
    const posts = [bodyOf(dice, '', 202)];
    const add = (quirk: string, ...gets: ScriptedAnswer[]): void =>
      this.#add({ quirk, act, posts, gets, patienceMs: REOPENING_MS });
    switch (dice.weighted({ open: 45, none: 35, missing: 5, moved: 5, ok: 4, down: 3, json: 3 })) {
      case 'open': {
        this.#isListening = true;
        return add('stream', streamOf(dice, eventText(dice, notices(dice, 2)), 'open'));
      }
      case 'moved': {
        this.#isListening = true;
        const status = dice.of([301, 302, 303, 307, 308]);
        return add('stream moved', redirect(dice, status), streamOf(dice, '', 'open'));
      }
      case 'missing':
        return add('stream refused', bodyOf(dice, 'no', 404));
      case 'ok':
        return this.#add({
          quirk: 'initialized gets 200',
          act,
          posts: [bodyOf(dice, '', 200)],
          gets: [bodyOf(dice, '', 405)],
          patienceMs: UNSURE_MS,
        });
      case 'down':
        return add('stream down', bodyOf(dice, '', dice.of([400, 503])), bodyOf(dice, '', 405));
      case 'json':
        return add('stream of another type', jsonOf(dice, {}), bodyOf(dice, '', 405));
      default:
        return add('no stream', bodyOf(dice, '', 405));
    }
  }

  #call(scripts: typeof alike): void {
    const dice = this.#dice;
    const quirk = dice.of(
      Object.keys(scripts).filter((each) => this.#hasSession || each !== 'another session id'),
    );
    const call = this.#request();
    const { posts, gets = [], isSlow = false } = scripts[quirk]!(dice, call.id);
    // Of these, one of the two waits for more.
    const isUnsure = scripts === different;
    const patienceMs = isUnsure ? UNSURE_MS : ASKING_MS;
    const quietMs = isSlow ? RESUMING_MS : QUIET_MS;
    this.#add({ quirk, act: { do: 'call', calls: [call] }, posts, gets, quietMs, patienceMs });
  }

  /** Several calls at once, answered in any order. */
  #together(): void {
    const dice = this.#dice;
    const calls = Array.from({ length: dice.between(2, 6) }, () => this.#request());
    const posts = calls.map(({ id }) => {
      const quirk = dice.of(['json', 'events', 'json error', 'refused', 'events, string id']);
      return alike[quirk]!(dice, id).posts[0]!;
    });
    this.#add({ quirk: 'together', act: { do: 'call', calls }, posts });
  }

  /** A notification, or the response to something the server asked. */
  #post(): void {
    const dice = this.#dice;
    const message = dice.of<Extract<ClientAct, { do: 'post' }>['message']>([
      { jsonrpc: '2.0', method: 'notifications/roots/list_changed' },
      { jsonrpc: '2.0', method: 'notifications/progress', params: { täg: '🙂' } },
      { jsonrpc: '2.0', id: dice.of([7, 'srv-1']), result: { roots: [] } },
      { jsonrpc: '2.0', id: 7, error: { code: -32_601, message: 'Method not found' } },
    ]);
    const answers: Record<string, readonly ScriptedAnswer[]> = {
      taken: [bodyOf(dice, '', 202)],
      'taken, 200': [bodyOf(dice, dice.of(['', '{}']), 200, { 'content-type': 'text/plain' })],
      'taken, 204': [bodyOf(dice, '', 204)],
      'taken, with events': [streamOf(dice, eventText(dice, notices(dice, 2)))],
      'not taken': [bodyOf(dice, 'no', dice.of([400, 403, 404, 429, 500, 503]))],
      'taken elsewhere': [redirect(dice, dice.of([307, 308])), bodyOf(dice, '', 202)],
      'not taken, moved': [redirect(dice, dice.of([302, 303]))],
      'not taken, hung up': [HANG_UP],
    };
    const quirk = dice.of(Object.keys(answers));
    this.#add({ quirk, act: { do: 'post', message }, posts: answers[quirk]! });
  }

  #cancel(): void {
    const dice = this.#dice;
    const isInitialize = dice.chance(0.2);
    const call = this.#request(isInitialize ? 'initialize' : 'tools/call');
    const isAnswered = dice.chance(0.3);
    const before = isAnswered ? [result(dice, call.id)] : notices(dice, 2);
    const late = isAnswered ? [] : cut(dice, event(dice, result(dice, call.id)));
    const params = { requestId: call.id, reason: 'no more' };
    const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params } as const;
    const answer = streamOf(dice, eventText(dice, before), isAnswered ? 'whole' : 'open');
    const name = isInitialize ? 'initialize cancelled' : 'cancelled';
    this.#add({
      quirk: isAnswered ? 'cancelled late' : name,
      act: { do: 'cancel', call, cancel, late },
      posts: [
        isInitialize && this.#hasSession ? this.#naming(answer) : answer,
        bodyOf(dice, '', 202),
      ],
      patienceMs: UNSURE_MS,
    });
  }

  #resume(): void {
    const dice = this.#dice;
    const call = this.#request();
    const act: ClientAct = { do: 'resume', call, token: `t-${call.id}` };
    const other = call.id === 1 ? 2 : 1;
    const gets = {
      replayed: streamOf(dice, eventText(dice, [...notices(dice, 2), result(dice, other)])),
      'replayed error': streamOf(dice, event(dice, failure(dice, other), { retry: true })),
      'replay refused': bodyOf(dice, '', dice.of([400, 404, 405])),
    };
    const quirk = dice.of(Object.keys(gets) as (keyof typeof gets)[]);
    this.#add({ quirk, act, gets: [gets[quirk]], quietMs: RESUMING_MS });
  }

  /** The server uses the notification stream; now and then it ends it. */
  #listen(): void {
    const dice = this.#dice;
    const messages = notices(dice, 3);
    const id = dice.chance(0.5) ? `n-${this.#steps.length}` : undefined;
    const act = (end: ScriptedAnswer['end'], text: string): ClientAct => {
      return { do: 'listen', parts: cut(dice, text), end };
    };
    if (dice.chance(0.6)) {
      this.#add({ quirk: 'notified', act: act('open', eventText(dice, messages)) });
      return;
    }
    const dress = { retry: true, ...(id !== undefined && { id }) };
    const end = dice.of(['whole', 'cut'] as const);
    const text = eventText(dice, messages) + event(dice, notice(dice), dress);
    const gets = [streamOf(dice, eventText(dice, notices(dice, 2)), 'open')];
    const slow = { quietMs: RESUMING_MS, patienceMs: REOPENING_MS };
    switch (dice.weighted({ reopened: 12, stray: 1, taken: 1, gone: 1 })) {
      case 'reopened':
        return this.#add({ quirk: 'stream reopened', act: act(end, text), gets, ...slow });
      case 'stray': {
        this.#isListening = false;
        const stray = event(dice, result(dice, 999_999), { retry: true });
        const quirk = 'response on the stream';
        return this.#add({ quirk, act: act(end, stray), gets: [bodyOf(dice, '', 405)], ...slow });
      }
      case 'taken': {
        const taken = text + event(dice, '', { id: 'x' }) + event(dice, notice(dice), { id: '' });
        return this.#add({ quirk: 'stream id taken back', act: act(end, taken), gets, ...slow });
      }
      case 'gone': {
        this.#isListening = false;
        const gone = [bodyOf(dice, '', 404), bodyOf(dice, '', 404)];
        return this.#add({ quirk: 'stream gone', act: act(end, text), gets: gone, ...slow });
      }
      default:
    }
  }

  #terminate(): void {
    const dice = this.#dice;
    const status = dice.weighted({ '200': 3, '204': 4, '405': 3, '404': 2, '403': 2, '500': 2 });
    const patienceMs = this.#hasSession ? ASKING_MS : UNSURE_MS;
    const deletes = [bodyOf(dice, '', Number(status))];
    this.#add({ quirk: `ended, ${status}`, act: { do: 'terminate' }, deletes, patienceMs });
  }

  /** `answer` with the id of the conversation's session. */
  #naming(answer: ScriptedAnswer): ScriptedAnswer {
    const headers = { ...answer.headers, 'mcp-session-id': `session-${this.#number}` };
    return { ...answer, headers };
  }

  #request(method = 'tools/call'): JSONRPCRequest {
    this.#lastId += 1;
    const params = { name: this.#dice.of(['echo', 'täg']), arguments: { n: this.#lastId } };
    return { jsonrpc: '2.0', id: this.#lastId, method, params };
  }

  #add(parts: StepParts): void {
    const nothing = { posts: [], gets: [], deletes: [] };
    this.#steps.push({ ...nothing, quietMs: QUIET_MS, patienceMs: ASKING_MS, ...parts });
  }
}
