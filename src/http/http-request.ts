// One request of a session to its endpoint: asks for the headers it is to carry, sends it, goes
// through the authorization that the server may ask for, and tells its reader of a good answer or
// of a failure that says what it means. Knows HTTP, not JSON-RPC.

import type { Timer } from '../clock.ts';
import type { AskHeaders, HeaderRecord } from '../target.ts';
import { type AnswerHead, type AnswerReader, headerOf } from './answer-reader.ts';
import type { ChallengeHistory } from './authorization.ts';
import { Exchange, type ExchangeProgress } from './exchange.ts';
import { headIn, Refusal } from './refusal.ts';
import { networkFailure } from './request-failure.ts';
import type { Wire } from './wire.ts';

/** What is to be sent. */
export interface HttpRequestPlan {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly body?: string | undefined;
  /** What this kind of request adds to the headers. Names in lower case. */
  readonly own: Readonly<Record<string, string>>;
  /** Default: the session's. */
  readonly headers?: AskHeaders | undefined;
  /** Asked just before it leaves: the reason why it may not, any more. */
  readonly mayNotLeave?: (() => Error | undefined) | undefined;
  /** Whether a 401 or a 403 may lead to an OAuth flow. Default: true. */
  readonly mayAuthorize?: boolean | undefined;
  /** Whether somebody waits who could sign in. If not, tokens are refreshed only. Default: true. */
  readonly isAttended?: boolean | undefined;
}

/** How long the body of a refusal may take: its status says most, and it may never end. */
const REFUSAL_BODY_MS = 1_000;

/** See the file header. The reader is told only of answers with a status of 200 to 299. */
export class HttpRequest implements AnswerReader {
  readonly #wire: Wire;
  readonly #plan: HttpRequestPlan;
  /** Whom to tell. `undefined`: it is over, or nobody wants to know any more. */
  #reader: AnswerReader | undefined;
  #exchange: Exchange | undefined;
  #refusal: Refusal | undefined;
  #refusalTimer: Timer | undefined;
  #history: ChallengeHistory | undefined;
  /** What the request carried, for what an answer means depends on it. */
  #sentSessionId = false;
  #sentAuthorization: string | undefined;

  constructor(wire: Wire, plan: HttpRequestPlan, reader: AnswerReader) {
    this.#wire = wire;
    this.#plan = plan;
    this.#reader = reader;
  }

  get progress(): ExchangeProgress {
    return this.#exchange?.progress ?? 'not-written';
  }

  /** Sends. The reader may be told of a failure before this returns. */
  send(): void {
    const { authorization, headers: sessionHeaders } = this.#wire;
    const ask = this.#plan.headers ?? sessionHeaders;
    try {
      const given = ask();
      if (authorization === undefined && !isThenable(given)) {
        this.#dispatch(given, undefined);
        return;
      }
      // Bound: whoever waits for the request aborts it. What never settles holds only this.
      Promise.all([given, authorization?.header()])
        .then(([known, credentials]) => this.#dispatch(known, credentials))
        .catch((error: unknown) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Ends it: the reader hears nothing any more, and its socket is freed. Idempotent. */
  abort(): void {
    this.#reader = undefined;
    this.#endRefusal();
    this.#exchange?.abort();
  }

  onHead(head: AnswerHead): void {
    if (head.status >= 200 && head.status <= 299) {
      this.#reader?.onHead(head);
      return;
    }
    const { method } = this.#plan;
    const facts = { method, url: this.#wire.endpoint, sentSessionId: this.#sentSessionId };
    const refusal = new Refusal(head, facts);
    this.#refusal = refusal;
    const { clock } = this.#wire;
    this.#refusalTimer = clock.setTimeout(() => this.#refused(refusal), REFUSAL_BODY_MS);
  }

  onData(chunk: Buffer): void {
    const refusal = this.#refusal;
    if (refusal === undefined) this.#reader?.onData(chunk);
    else if (refusal.add(chunk)) this.#refused(refusal);
  }

  onEnd(): void {
    if (this.#refusal !== undefined) return this.#refused(this.#refusal);
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.onEnd();
  }

  onFailure(error: unknown): void {
    if (this.#refusal !== undefined) return this.#refused(this.#refusal);
    const head = this.progress === 'written' ? headIn(error) : undefined;
    if (head === undefined) return this.#fail(networkFailure(error, this.progress));
    this.onHead(head);
    this.onEnd();
  }

  #dispatch(given: HeaderRecord, credentials: string | undefined): void {
    // Given up while the headers were asked for.
    if (this.#reader === undefined) return;
    const refusedWith = this.#plan.mayNotLeave?.();
    if (refusedWith !== undefined) return this.#fail(refusedWith);
    const { method, own, body } = this.#plan;
    const { endpoint: url, dispatcherFor } = this.#wire;
    const headers = this.#wire.compose(given, own, credentials);
    this.#sentSessionId = this.#wire.sessionId !== undefined;
    this.#sentAuthorization = headers['authorization'];
    this.#exchange = new Exchange({ url, method, headers, body, dispatcherFor }, this);
    this.#exchange.send();
  }

  /** The answer is a refusal, and read as far as it matters. */
  #refused(refusal: Refusal): void {
    this.#endRefusal();
    this.#exchange?.abort();
    const { status } = refusal.head;
    const { mayAuthorize = true, isAttended = true } = this.#plan;
    const authorization = mayAuthorize ? this.#wire.authorization : undefined;
    if (authorization === undefined || (status !== 401 && status !== 403)) {
      this.#fail(refusal.error());
      return;
    }
    this.#history ??= { isAttended, refreshed: false, steppedUp: false };
    authorization.onChallenge(refusal.head, this.#sentAuthorization, this.#history).then(
      (again) => {
        if (this.#reader === undefined) return;
        if (again) this.send();
        else this.#fail(refusal.error());
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #endRefusal(): void {
    this.#refusal = undefined;
    if (this.#refusalTimer !== undefined) this.#wire.clock.clearTimeout(this.#refusalTimer);
    this.#refusalTimer = undefined;
  }

  #fail(error: unknown): void {
    const reader = this.#reader;
    this.#reader = undefined;
    // A caller's function may fail with nothing, which nobody could tell from success.
    reader?.onFailure(error ?? new Error('The headers or tokens failed without a reason'));
  }
}

/** The media type of an answer, in lower case, without parameters. */
export function mediaTypeOf(head: AnswerHead): string | undefined {
  const value = headerOf(head.headers, 'content-type');
  if (value === undefined) return undefined;
  const end = value.indexOf(';');
  const essence = (end < 0 ? value : value.slice(0, end)).trim().toLowerCase();
  return essence === '' ? undefined : essence;
}

const isThenable = (value: unknown): value is Promise<HeaderRecord> =>
  typeof (value as { then?: unknown } | undefined)?.then === 'function';
