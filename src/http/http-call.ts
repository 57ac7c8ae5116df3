// One JSON-RPC request over HTTP, from its POST to its response: reads the answer as JSON or as an
// event stream, resumes a stream that ended early where the server gave event ids, and fails the
// moment no response can come any more. Knows one call, no session.

import type { JSONRPCMessage, JSONRPCRequest } from '@modelcontextprotocol/sdk/types.js';
import type { Timer } from '../clock.ts';
import {
  afterEarlyEnd,
  afterNoStream,
  freshSchedule,
  type ResumeSchedule,
  type ResumeStep,
} from '../policy/resume-schedule.ts';
import type { AnswerHead, AnswerReader } from './answer-reader.ts';
import { BodyParts } from './body-parts.ts';
import type { CallHost, CallOptions } from './call-host.ts';
import { HttpRequest, mediaTypeOf } from './http-request.ts';
import { ownError } from './http-request-error.ts';
import { parseMessages } from './json-rpc.ts';
import { cutShort, messageTooLarge, noResponse, responseIn } from './request-failure.ts';
import { eventIdHeader } from './request-headers.ts';
import { SseDecoder, type SseReader, type StreamEvent } from './sse-decoder.ts';

const POST_HEADERS = {
  accept: 'application/json, text/event-stream',
  'content-type': 'application/json',
} as const;

const BAD_TOKEN = 'Expected `resumptionToken` to be an event id that a header can hold';

/** See the file header. */
export class HttpCall implements AnswerReader, SseReader {
  readonly id: string | number;
  readonly method: string;
  /** Its stream replays that of an earlier call, whose id the response carries. */
  readonly isReplay: boolean;
  readonly standsAlone: boolean;
  readonly #host: CallHost;
  readonly #options: CallOptions;
  #resolve: (() => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;
  #request: HttpRequest | undefined;
  /** Waits to resume the stream. */
  #timer: Timer | undefined;
  #isAnswered = false;
  /** Failed, cancelled, or its request has ended after the response. */
  #isOver = false;
  /** Collects a JSON answer. */
  #body: BodyParts | undefined;
  /** Reads the event stream that is open. */
  #decoder: SseDecoder | undefined;
  #lastEventId: string | undefined;
  #broughtMessage = false;
  #retryMs: number | undefined;
  #schedule: ResumeSchedule = freshSchedule;

  constructor(host: CallHost, message: JSONRPCRequest, options: CallOptions) {
    this.#host = host;
    this.#options = options;
    this.id = message.id;
    this.method = message.method;
    this.isReplay = options.resumptionToken !== undefined;
    this.standsAlone = options.standsAlone ?? false;
  }

  /** Whether the server can know of it. */
  get wasWritten(): boolean {
    return this.#lastEventId !== undefined || this.#request?.progress !== 'not-written';
  }

  /** Whether its response has been received. */
  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  /** Sends. Settles when the response was received, or can't come any more. Called once. */
  send(message: JSONRPCRequest): Promise<void> {
    const { resumptionToken, headers, ownHeaders } = this.#options;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      if (resumptionToken !== undefined) {
        this.#lastEventId = eventIdHeader(resumptionToken);
        return this.#lastEventId ? this.#resume() : this.fail(new TypeError(BAD_TOKEN));
      }
      const body = this.#written(message);
      if (body === undefined) return;
      const mayNotLeave = (): Error | undefined => this.#host.mayNotLeave();
      const own = ownHeaders === undefined ? POST_HEADERS : { ...ownHeaders, ...POST_HEADERS };
      this.#open({ method: 'POST', body, own, headers, mayNotLeave });
    });
  }

  /** Its response has been received: it is over as soon as its request is. */
  answered(): void {
    if (this.#isAnswered || this.#isOver) return;
    this.#isAnswered = true;
    if (this.#decoder !== undefined) this.#host.linger(this);
    this.#settle()?.resolve();
  }

  /** Nobody waits for it any more: frees its socket. Settles quietly. Idempotent. */
  cut(): void {
    if (this.#isOver) return;
    this.#end();
    this.#settle()?.resolve();
  }

  /** Fails it with `error`, unless it has been answered. Frees its socket either way. */
  fail(error: unknown): void {
    if (this.#isOver) return;
    this.#end();
    this.#settle()?.reject(error);
  }

  /** Nothing new leaves any more: fails it if it waits to resume its stream. */
  fence(reason: Error): void {
    // Not with the reason itself: that may say "not executed", of what was not sent yet.
    if (this.#timer !== undefined) this.fail(cutShort('the session is closing', reason));
  }

  onHead(head: AnswerHead): void {
    const { wire, maxMessageBytes } = this.#host;
    const type = mediaTypeOf(head);
    if (this.method === 'initialize' && this.#lastEventId === undefined) wire.adoptSession(head);
    if (type === 'text/event-stream') {
      this.#decoder = new SseDecoder(maxMessageBytes, this);
      this.#broughtMessage = false;
    } else if (type === 'application/json' && this.#lastEventId === undefined) {
      this.#body = new BodyParts(maxMessageBytes);
    } else {
      const code = head.status === 200 ? 'UNEXPECTED_CONTENT' : 'NO_RESPONSE';
      this.fail(noResponse(code, `HTTP ${head.status} with ${type ?? 'no content'}`));
    }
  }

  onData(chunk: Buffer): void {
    try {
      if (this.#decoder !== undefined) this.#decoder.write(chunk);
      else this.#body?.add(chunk);
    } catch (error) {
      this.fail(messageTooLarge(error));
    }
  }

  onEnd(): void {
    const body = this.#body;
    if (body !== undefined) this.#readJson(body);
    else if (this.#decoder !== undefined && !this.#isAnswered) this.#endedEarly(undefined);
    this.#requestOver();
  }

  onFailure(error: unknown): void {
    if (this.#isAnswered) this.#requestOver();
    else if (this.#decoder !== undefined) this.#endedEarly(error);
    else if (this.#lastEventId !== undefined) this.#noStream(error);
    else if (!this.#isRefusedInWords(error)) this.fail(error);
  }

  onEvent({ id, event, data }: StreamEvent): void {
    if (id !== undefined) this.#tellResumption(id);
    if (data === '' || (event !== undefined && event !== 'message')) return;
    this.#receive(data);
  }

  onRetry(retryMs: number): void {
    this.#retryMs = retryMs;
  }

  /** `undefined`: it can't be written as JSON, and the call has failed with what it threw. */
  #written(message: JSONRPCRequest): string | undefined {
    try {
      return JSON.stringify(message);
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  #open(plan: ConstructorParameters<typeof HttpRequest>[1]): void {
    this.#request = new HttpRequest(this.#host.wire, plan, this);
    this.#request.send();
  }

  #readJson(body: BodyParts): void {
    this.#body = undefined;
    if (!this.#receive(body.text())) return;
    if (!this.#isAnswered) this.fail(noResponse('NO_RESPONSE', 'JSON without the response'));
  }

  /** Hands on what the text holds. False: it holds no message. */
  #receive(text: string): boolean {
    let messages: readonly JSONRPCMessage[];
    try {
      messages = parseMessages(text);
    } catch (error) {
      // On a stream the response may still come.
      if (this.#decoder !== undefined) this.#host.report(error);
      else this.fail(noResponse('UNEXPECTED_CONTENT', 'JSON that is no JSON-RPC', error));
      return false;
    }
    this.#broughtMessage = true;
    for (const message of messages) {
      if (this.#isOver) break;
      this.#host.receive(message, this);
    }
    return true;
  }

  /** The refusal is the call's response, which has been handed on. */
  #isRefusedInWords(error: unknown): boolean {
    const response = this.standsAlone ? responseIn(error, this.id) : undefined;
    if (response === undefined) return false;
    this.#host.receive(response, this);
    this.#requestOver();
    return true;
  }

  #tellResumption(id: string): void {
    // One that can't be sent back can't be resumed from, and the one before it is out of date.
    this.#lastEventId = eventIdHeader(id);
    if (id === '') return;
    try {
      this.#options.onResumptionToken?.(id);
    } catch (error) {
      this.#host.report(error);
    }
  }

  /** The event stream ended without the response: cut, or closed by the server on purpose. */
  #endedEarly(cause: unknown): void {
    this.#decoder = undefined;
    if (this.#lastEventId === undefined || this.standsAlone) {
      this.fail(cause ?? cutShort('no response came, and no event id to resume from'));
      return;
    }
    const stream = { broughtMessage: this.#broughtMessage, retryMs: this.#retryMs };
    this.#resumeLater(afterEarlyEnd(this.#schedule, stream));
  }

  /** The stream could not be opened again. */
  #noStream(cause: unknown): void {
    const { status } = ownError(cause);
    // A server that says no means it; one that is busy, or down, may be back.
    const isFinal = status !== undefined && status < 500 && status !== 429;
    const step = isFinal ? undefined : afterNoStream(this.#schedule);
    if (step !== undefined) this.#resumeLater(step);
    else this.fail(cutShort('it could not be resumed', cause));
  }

  #resumeLater({ schedule, waitMs }: ResumeStep): void {
    this.#schedule = schedule;
    this.#timer = this.#host.wire.clock.setTimeout(() => this.#resume(), waitMs);
    const fencedWith = this.#host.mayNotLeave();
    if (fencedWith !== undefined) this.fence(fencedWith);
  }

  #resume(): void {
    this.#timer = undefined;
    const { headers } = this.#options;
    const own = { accept: 'text/event-stream', 'last-event-id': this.#lastEventId ?? '' };
    this.#open({ method: 'GET', own, headers, mayNotLeave: () => this.#host.mayNotLeave() });
  }

  /** The request is over by itself; with the response received, the call is. */
  #requestOver(): void {
    if (this.#isAnswered && !this.#isOver) this.#end();
  }

  #end(): void {
    this.#isOver = true;
    this.#decoder?.stop();
    this.#request?.abort();
    this.#request = undefined;
    this.#body = undefined;
    if (this.#timer !== undefined) this.#host.wire.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#host.over(this);
  }

  #settle(): { resolve: () => void; reject: (error: unknown) => void } | undefined {
    const [resolve, reject] = [this.#resolve, this.#reject];
    this.#resolve = undefined;
    this.#reject = undefined;
    return resolve && reject && { resolve, reject };
  }
}
