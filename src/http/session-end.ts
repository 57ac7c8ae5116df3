// The DELETE that tells a server that its session is over (spec, transports, Session Management 5).
// Bounded by whoever asks for it, or by itself. Knows no calls.

import type { AnswerReader } from './answer-reader.ts';
import { HttpRequest } from './http-request.ts';
import { HttpRequestError, ownError } from './http-request-error.ts';
import type { Wire } from './wire.ts';

/** How long the server may take when nobody else bounds it. Its answer may never come (row 1). */
const ANSWER_TIMEOUT_MS = 5_000;

/** See the file header. */
export class SessionEnd implements AnswerReader {
  readonly #wire: Wire;
  readonly #request: HttpRequest;
  readonly #done: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: unknown) => void;
  #isSent = false;
  /** Callers of `send` that wait. */
  #waiters = 0;

  constructor(wire: Wire) {
    this.#wire = wire;
    this.#request = new HttpRequest(wire, { method: 'DELETE', own: {}, isAttended: false }, this);
    this.#done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Whether somebody waits for it. */
  get isAwaited(): boolean {
    return this.#waiters > 0;
  }

  /**
   * Sends it. Resolves when the server has ended the session, knows none (404), or lets nobody end
   * one (405). Rejects when it refuses, and when `signal` aborts. It is sent once, however often
   * this is called, and given up with the last who waits for it.
   */
  async send(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const { clock } = this.#wire;
    let giveUp!: (reason: unknown) => void;
    const givenUp = new Promise<never>((_, reject) => {
      giveUp = reject;
    });
    const onAbort = (): void => giveUp(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer = signal
      ? undefined
      : clock.setTimeout(() => giveUp(timeoutError()), ANSWER_TIMEOUT_MS);
    this.#waiters += 1;
    try {
      if (!this.#isSent) {
        this.#isSent = true;
        this.#request.send();
      }
      await Promise.race([this.#done, givenUp]);
    } finally {
      signal?.removeEventListener('abort', onAbort);
      if (timer !== undefined) clock.clearTimeout(timer);
      this.#waiters -= 1;
      if (this.#waiters === 0) this.#request.abort();
    }
  }

  abort(reason: unknown): void {
    this.#request.abort();
    this.#reject(reason);
  }

  onHead(): void {
    // The status is the answer; a body may never end.
    this.#request.abort();
    this.#resolve();
  }

  onData(): void {}

  onEnd(): void {}

  onFailure(error: unknown): void {
    const { status } = ownError(error);
    if (status === 404 || status === 405) this.#resolve();
    else this.#reject(error);
  }
}

function timeoutError(): HttpRequestError {
  const details = { execution: 'unknown', sessionLost: false } as const;
  return new HttpRequestError('TIMEOUT', 'The DELETE was not answered in time', details);
}
