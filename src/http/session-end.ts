// The DELETE that tells a server that its session is over (spec, transports, Session Management 5).
// Bounded by whoever asks for it, or by itself. Knows no calls.

import type { AnswerReader } from './answer-reader.ts';
import { HttpRequest } from './http-request.ts';
import { HttpRequestError } from './http-request-error.ts';
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

  constructor(wire: Wire) {
    this.#wire = wire;
    this.#request = new HttpRequest(wire, { method: 'DELETE', own: {} }, this);
    this.#done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /**
   * Sends it. Resolves when the server has ended the session, knows none (404), or lets nobody end
   * one (405). Rejects when it refuses, and when `signal` aborts. It is sent once, however often
   * this is called.
   */
  async send(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const { clock } = this.#wire;
    const onAbort = (): void => this.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer = signal ? undefined : clock.setTimeout(() => this.#timeOut(), ANSWER_TIMEOUT_MS);
    try {
      if (!this.#isSent) {
        this.#isSent = true;
        this.#request.send();
      }
      await this.#done;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      if (timer !== undefined) clock.clearTimeout(timer);
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
    const { status } = error as Partial<HttpRequestError>;
    if (status === 404 || status === 405) this.#resolve();
    else this.#reject(error);
  }

  #timeOut(): void {
    const details = { execution: 'unknown', sessionLost: false } as const;
    this.abort(new HttpRequestError('TIMEOUT', 'The DELETE was not answered in time', details));
  }
}
