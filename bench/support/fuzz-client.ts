// One client of a fuzz episode: a transport, the calls that chance makes on it, and what must hold
// of them whatever the server does. Knows no server but its URL.

import { JSONRPCMessageSchema } from '@modelcontextprotocol/sdk/types.js';
import { StreamableHttpTransport } from 'mcp-session-pool';
import type { Dice } from './dice.ts';
import type { HurriedClock } from './fuzz-clock.ts';

/** What the fuzzer needs to know of a client. */
export interface FuzzClientOptions {
  readonly dice: Dice;
  readonly clock: HurriedClock;
  readonly url: URL;
  readonly onFinding: (what: string) => void;
}

interface Sent {
  readonly what: string;
  isSettled: boolean;
}

/** How long a `send` may take to settle once the transport is closed. */
const SETTLE_MS = 250;
/** A message over this fails its call. Small, so that floods reach it. */
const MAX_MESSAGE_BYTES = 65_536;

/** See the file header. */
export class FuzzClient {
  /** Messages that came. */
  messages = 0;
  /** How often it asked for the notification stream after an event, which is sent at once. */
  resumes = 0;
  readonly sent: Sent[] = [];
  readonly #options: FuzzClientOptions;
  readonly #transport: StreamableHttpTransport;
  #isClosed = false;
  #closes = 0;
  #lastId = 0;

  constructor(options: FuzzClientOptions) {
    const { dice, clock, url } = options;
    this.#options = options;
    this.#transport = new StreamableHttpTransport(url, {
      clock,
      headers: () => this.#headers('listen'),
      maxMessageBytes: MAX_MESSAGE_BYTES,
      acceptTimeoutMs: dice.of([50, 5_000, 30_000]),
      random: () => dice.next(),
      notifications: dice.chance(0.8),
      sessionId: dice.chance(0.3) ? 'resumed' : undefined,
    });
    this.#transport.onmessage = (message) => this.#onMessage(message);
    this.#transport.onerror = (error) => {
      if (!(error instanceof Error)) options.onFinding(`onerror got ${String(error)}`);
      if (dice.chance(0.4)) throw new Error('onerror throws');
    };
    this.#transport.onclose = () => {
      this.#closes += 1;
      if (dice.chance(0.2)) throw new Error('onclose throws');
    };
  }

  /** Does as chance has it, then closes, and looks at what is left. */
  async live(): Promise<void> {
    const { dice } = this.#options;
    if (dice.chance(0.95)) await this.#transport.start();
    const isPatient = dice.chance(0.25);
    for (let left = dice.between(0, 25); left > 0 && !this.#isClosed; left -= 1) {
      this.#act();
      if (dice.chance(0.5)) await pause(dice.between(0, isPatient ? 80 : 15));
    }
    this.#close();
    await this.#end();
  }

  #act(): void {
    const { dice } = this.#options;
    const transport = this.#transport;
    switch (
      dice.weighted({
        ...{ call: 40, note: 12, initialized: 6, answer: 8, cancel: 12, listen: 5 },
        ...{ resume: 2, terminate: 2, version: 2, fence: 1, close: 1, initialize: 6 },
      })
    ) {
      case 'call':
        return this.#call('tools/call');
      case 'initialize':
        return this.#call('initialize');
      case 'note':
        return this.#post('note', { jsonrpc: '2.0', method: 'notifications/x' });
      case 'initialized':
        return this.#post('note', { jsonrpc: '2.0', method: 'notifications/initialized' });
      case 'answer':
        return this.#post('answer', { jsonrpc: '2.0', id: dice.between(0, 99), result: {} });
      case 'cancel':
        return this.#cancel();
      case 'listen':
        return transport.listen();
      case 'resume':
        this.resumes += 1;
        return this.#watch('resumeStream', transport.resumeStream(dice.of(['', 'e-1', 'ü'])));
      case 'terminate': {
        const signal = dice.chance(0.5) ? AbortSignal.timeout(dice.between(1, 30)) : undefined;
        return this.#watch('terminate', transport.terminateSession(signal ? { signal } : {}));
      }
      case 'version':
        return transport.setProtocolVersion('2025-11-25');
      case 'fence':
        return transport.fence();
      case 'close':
        return this.#close();
      default:
    }
  }

  #call(method: string): void {
    const { dice } = this.#options;
    this.#lastId += 1;
    const id = dice.chance(0.9) ? this.#lastId : `s-${this.#lastId}`;
    const stream = `call-${id}`;
    const sent = this.#transport.send(
      { jsonrpc: '2.0', id, method, params: { text: 'x'.repeat(dice.of([0, 10, 5_000])) } },
      {
        headers: () => this.#headers(stream),
        ...(dice.chance(0.1) && { resumptionToken: 'e-9' }),
        onresumptiontoken: () => {
          if (dice.chance(0.2)) throw new Error('onresumptiontoken throws');
        },
      },
    );
    this.#watch(stream, sent);
  }

  #cancel(): void {
    const { dice } = this.#options;
    const requestId = dice.between(Math.max(0, this.#lastId - 4), this.#lastId + 1);
    const params = { requestId, reason: 'chance' };
    this.#post('cancel', { jsonrpc: '2.0', method: 'notifications/cancelled', params });
  }

  #post(what: string, message: Parameters<StreamableHttpTransport['send']>[0]): void {
    this.#watch(what, this.#transport.send(message));
  }

  /** The headers of one request; now and then late, broken, or never there. */
  #headers(stream: string): Record<string, string> | Promise<Record<string, string>> {
    const { dice } = this.#options;
    const headers = { 'x-stream': stream };
    switch (dice.weighted({ now: 80, later: 10, throws: 3, rejects: 3, never: 3, bad: 2 })) {
      case 'now':
        return headers;
      case 'later':
        return pause(dice.between(0, 20)).then(() => headers);
      case 'throws':
        throw new Error('headers throw');
      case 'rejects':
        return Promise.reject(new Error('headers reject'));
      case 'never':
        return new Promise(() => {});
      default:
        return { ...headers, 'x-bad': 'line\r\nbreak', 'bad name': '' };
    }
  }

  #watch(what: string, promise: Promise<unknown>): void {
    const sent: Sent = { what, isSettled: false };
    this.sent.push(sent);
    const settle = (): void => {
      sent.isSettled = true;
    };
    promise.then(settle, settle);
  }

  #onMessage(message: unknown): void {
    const { dice, onFinding } = this.#options;
    this.messages += 1;
    const { success, data } = JSONRPCMessageSchema.safeParse(message);
    if (!success) onFinding(`onmessage got ${JSON.stringify(message).slice(0, 200)}`);
    // A failed call is cleared from the tables of the SDK's client with a late answer.
    const isClearing = success && 'error' in data && data.error.message.includes('not completed');
    if (this.#isClosed && !isClearing) onFinding('onmessage was called after close');
    if (this.#isClosed) return;
    if (dice.chance(0.01)) this.#close();
    else if (dice.chance(0.03)) this.#post('answer', { jsonrpc: '2.0', id: 1, result: {} });
    if (dice.chance(0.02)) throw new Error('onmessage throws');
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#watch('close', this.#transport.close());
  }

  async #end(): Promise<void> {
    const { clock, onFinding } = this.#options;
    await pause(0);
    if (clock.pendingTimers > 0) onFinding(`${clock.pendingTimers} timers left by close`);
    this.#call('late');
    this.#post('late', { jsonrpc: '2.0', method: 'late' });
    this.#transport.listen();
    this.#watch('late resumeStream', this.#transport.resumeStream('e-1'));
    this.#watch('late terminate', this.#transport.terminateSession());
    this.#watch('second close', this.#transport.close());
    const deadline = performance.now() + SETTLE_MS;
    while (this.sent.some((each) => !each.isSettled) && performance.now() < deadline) {
      await pause(5);
    }
    for (const { what, isSettled } of this.sent) {
      if (!isSettled) onFinding(`${what} never settled`);
    }
    if (this.#closes !== 1) onFinding(`onclose was called ${this.#closes} times`);
    if (clock.pendingTimers > 0) onFinding(`${clock.pendingTimers} timers left after close`);
  }
}

/** Lets real time pass. */
export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}
