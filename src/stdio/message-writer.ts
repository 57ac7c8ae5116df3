// Writes messages to a server's stdin, one line each. Hands the stream no more than one write at a
// time, so that what waits is known to have left not a byte, and can be taken back.

import type { Writable } from 'node:stream';
import type { JSONRPCMessage, RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { Clock, Timer } from '../clock.ts';
import { StdioError } from './stdio-error.ts';

/** A message that was not written yet, or not to its end. */
interface Outgoing {
  readonly text: string;
  /** Of a request. */
  readonly id: RequestId | undefined;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** What may wait for a server that does not read. */
const MAX_WAITING = 1_024;
const MAX_WAITING_LENGTH = 64 * 1024 * 1024;
/** Joined to one write: less to ask of the system, and still little whose fate is unknown. */
const BATCH_LENGTH = 64 * 1024;
/** How long a server may take to read on before what waits is given up. */
const ACCEPT_TIMEOUT_MS = 30_000;

/** See the file header. */
export class MessageWriter {
  readonly #stream: Writable;
  readonly #clock: Clock;
  /** Oldest first. */
  readonly #waiting = new Set<Outgoing>();
  #waitingLength = 0;
  /** In the stream's hands. */
  #underWay: Outgoing[] = [];
  /** Runs while something waits, since the server last took something. */
  #timer: Timer | undefined;
  /** What new messages reject with; defined once nothing new may leave. */
  #refusal: Error | undefined;

  constructor(stream: Writable, clock: Clock) {
    this.#stream = stream;
    this.#clock = clock;
  }

  /** Settles when the message was handed to the system. Rejects with a `StdioError`. */
  send(message: JSONRPCMessage): Promise<void> {
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    // It throws at what is no JSON, and that is the caller's: see `isToldAll`.
    const text = lineOf(message);
    const isFull = this.#waiting.size >= MAX_WAITING;
    const isTooLong = this.#waitingLength + text.length > MAX_WAITING_LENGTH;
    if (isFull || (isTooLong && this.#waiting.size > 0)) {
      return Promise.reject(unsent('SATURATED', 'Too many messages wait for the server to read'));
    }
    const id = 'method' in message && 'id' in message ? message.id : undefined;
    return new Promise((resolve, reject) => {
      this.#waiting.add({ text, id, resolve, reject });
      this.#waitingLength += text.length;
      this.#pump();
    });
  }

  /** Takes request `id` back. False: it has been written, at least in part. */
  withdraw(id: RequestId): boolean {
    for (const each of this.#waiting) {
      if (each.id !== id) continue;
      this.#drop(each);
      each.reject(unsent('WITHDRAWN', 'The call was cancelled before it was written'));
      return true;
    }
    return false;
  }

  /** Writes past what waits, and waits for nothing: for the cancels of a teardown. */
  sendLastWord(message: JSONRPCMessage): void {
    if (!this.#stream.destroyed && !this.#stream.writableEnded) this.#stream.write(lineOf(message));
  }

  /** Nothing new leaves: sends reject with `reason`, now and later. Idempotent. */
  fence(reason: Error): void {
    this.#refusal ??= reason;
  }

  /** Gives up: what waits rejects with `unsentReason`, what was begun with `sentReason`. */
  fail(unsentReason: Error, sentReason: Error): void {
    this.fence(unsentReason);
    this.#rejectWaiting(unsentReason);
    for (const { reject } of this.#underWay.splice(0)) reject(sentReason);
  }

  /** The end of input, after what was begun. */
  end(): void {
    if (!this.#stream.destroyed) this.#stream.end();
  }

  #pump(): void {
    if (this.#underWay.length > 0 || this.#waiting.size === 0) return this.#watch();
    let text = '';
    for (const each of this.#waiting) {
      if (text !== '' && text.length + each.text.length > BATCH_LENGTH) break;
      text += each.text;
      this.#drop(each);
      this.#underWay.push(each);
    }
    this.#stream.write(text, (error) => {
      // Whoever owns the stream hears of its errors, and then ends all this.
      if (error === null || error === undefined) this.#written();
    });
    this.#watch();
  }

  #written(): void {
    const written = this.#underWay;
    this.#underWay = [];
    this.#unwatch();
    this.#pump();
    for (const { resolve } of written) resolve();
  }

  #watch(): void {
    if (this.#waiting.size === 0 || this.#timer !== undefined) return;
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = undefined;
      this.#rejectWaiting(unsent('TIMEOUT', `The server read nothing for ${ACCEPT_TIMEOUT_MS} ms`));
    }, ACCEPT_TIMEOUT_MS);
    // Callers have timers of their own.
    this.#timer.unref();
  }

  #unwatch(): void {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #rejectWaiting(error: Error): void {
    this.#unwatch();
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    this.#waitingLength = 0;
    for (const { reject } of waiting) reject(error);
  }

  #drop(each: Outgoing): void {
    this.#waiting.delete(each);
    this.#waitingLength -= each.text.length;
    if (this.#waiting.size === 0) this.#unwatch();
  }
}

const lineOf = (message: JSONRPCMessage): string => `${JSON.stringify(message)}\n`;

function unsent(code: 'SATURATED' | 'TIMEOUT' | 'WITHDRAWN', message: string): StdioError {
  return new StdioError(code, message, { execution: 'not-executed', sessionLost: false });
}
