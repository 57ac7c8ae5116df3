// Exchanges under test, with what they tell written down, and the servers and dispatchers that they
// need. Closing the lab frees everything, and fails if any reader was told what it must not be.

import type { Dispatcher } from 'undici';
import { expect } from 'vitest';
import type { AnswerHead, AnswerReader } from '../../src/http/answer-reader.ts';
import { type DispatcherHold, Dispatchers } from '../../src/http/dispatchers.ts';
import { Exchange, type ExchangePlan } from '../../src/http/exchange.ts';
import {
  type ByteRequest,
  type ByteServer,
  type ByteServerOptions,
  startByteServer,
} from './byte-server.ts';

/** What a test says of an exchange; the rest is a GET over a hold of the lab's own. */
export interface LabPlan extends Partial<Omit<ExchangePlan, 'url'>> {
  readonly dispatcher?: Dispatcher;
  /** Called inside the reader's callbacks of these names, after they were written down. */
  readonly within?: Partial<AnswerReader>;
}

/** One exchange and all that its reader was told. */
export class Recording implements AnswerReader {
  readonly exchange: Exchange;
  /** `head 200`, `data`, `end`, `failure`: the callbacks in order, `data` once for any number. */
  readonly trace: string[] = [];
  readonly chunks: Buffer[] = [];
  /** Settles with `onEnd` and `onFailure`. Never after an abort. */
  readonly over: Promise<void>;
  head: AnswerHead | undefined;
  error: (Error & { code?: string }) | undefined;

  readonly #within: Partial<AnswerReader>;
  readonly #onViolation: (what: string) => void;
  #isOver = false;
  #settle: () => void = () => {};
  #onData: () => void = () => {};

  constructor(plan: ExchangePlan, within: Partial<AnswerReader>, onViolation: (w: string) => void) {
    this.exchange = new Exchange(plan, this);
    this.#within = within;
    this.#onViolation = onViolation;
    this.over = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }

  /** Settles when the decoded body so far is of this length, or longer. */
  async received(length: number): Promise<void> {
    while (this.text.length < length) {
      await new Promise<void>((resolve) => {
        this.#onData = resolve;
      });
    }
  }

  /** Aborts. From now on, any callback is a violation. */
  abort(): void {
    this.#isOver = true;
    this.exchange.abort();
  }

  onHead(head: AnswerHead): void {
    this.#note(`head ${head.status}`);
    if (this.head !== undefined) this.#onViolation('a second head');
    this.head = head;
    this.#within.onHead?.(head);
  }

  onData(chunk: Buffer): void {
    if (this.trace.at(-1) === 'data') this.trace.pop();
    this.#note('data');
    if (this.head === undefined) this.#onViolation('data before the head');
    if (chunk.length === 0) this.#onViolation('data of no length');
    this.chunks.push(chunk);
    this.#onData();
    this.#within.onData?.(chunk);
  }

  onEnd(): void {
    this.#note('end');
    if (this.head === undefined) this.#onViolation('an end before the head');
    this.#finish();
    this.#within.onEnd?.();
  }

  onFailure(error: unknown): void {
    this.#note('failure');
    this.error = error as Error;
    this.#finish();
    this.#within.onFailure?.(error);
  }

  #note(what: string): void {
    if (this.#isOver) this.#onViolation(`${what} after the end or an abort`);
    this.trace.push(what);
  }

  #finish(): void {
    this.#isOver = true;
    this.#settle();
  }
}

/** See the file header. */
export class ExchangeLab {
  #dispatchers = new Dispatchers({ connectTimeoutMs: 5_000 });
  #hold: DispatcherHold = this.#dispatchers.hold();
  #recordings: Recording[] = [];
  #closers: (() => Promise<unknown>)[] = [];
  #violations: string[] = [];

  get hold(): DispatcherHold {
    return this.#hold;
  }

  async serve(
    handle: (request: ByteRequest) => void,
    options?: ByteServerOptions,
  ): Promise<ByteServer> {
    const server = await startByteServer(handle, options);
    this.#closers.push(() => server.close());
    return server;
  }

  /** Has `close` called when the lab closes. */
  adopt(close: () => Promise<unknown>): void {
    this.#closers.push(close);
  }

  /** Makes an exchange, without sending it. */
  prepare(url: URL | string, plan: LabPlan = {}): Recording {
    const { dispatcher, within = {}, ...rest } = plan;
    const full: ExchangePlan = {
      url: new URL(url),
      method: 'GET',
      headers: {},
      dispatcherFor: (origin) => dispatcher ?? this.#hold.for(origin),
      ...rest,
    };
    const recording = new Recording(full, within, (what) => this.#violations.push(what));
    this.#recordings.push(recording);
    return recording;
  }

  /** Sends an exchange. */
  send(url: URL | string, plan: LabPlan = {}): Recording {
    const recording = this.prepare(url, plan);
    recording.exchange.send();
    return recording;
  }

  /** Frees everything; fails on violations. The lab can be used again after it. */
  async close(): Promise<void> {
    for (const recording of this.#recordings) recording.abort();
    this.#hold.release(new Error('The lab is closed'));
    // Whatever the dispatchers still tell comes within this.
    await Promise.all(this.#closers.map((close) => close()));
    await new Promise((resolve) => setImmediate(resolve));
    const violations = this.#violations;
    this.#hold = this.#dispatchers.hold();
    this.#recordings = [];
    this.#closers = [];
    this.#violations = [];
    expect(violations).toEqual([]);
  }
}
