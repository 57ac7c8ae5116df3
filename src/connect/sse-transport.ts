// The SDK's client transport of the older HTTP+SSE protocol (2024-11-05), of either line, held to
// what sessions need: the fence around its stream and its calls, headers of each message's own, one
// stream and never another, and an end that leaves nothing. Knows no pool and no leases.

import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import type { FetchLike, Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCMessage, JSONRPCRequest, RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { Clock, Timer } from '../clock.ts';
import { SessionLostError } from '../errors.ts';
import { Authorization } from '../http/authorization.ts';
import type { LoadOAuth } from '../http/authorization-flow.ts';
import type { DispatcherHold } from '../http/dispatchers.ts';
import { HttpRequestError } from '../http/http-request-error.ts';
import { Inbox } from '../http/inbox.ts';
import { isRequest } from '../http/json-rpc.ts';
import { MessageTooLargeError } from '../http/message-too-large.ts';
import { PostQueue } from '../http/post-queue.ts';
import type { ProviderFlowsMap } from '../http/provider-flows.ts';
import { messageTooLarge } from '../http/request-failure.ts';
import { splitUserInfo } from '../http/request-headers.ts';
import { transportDefaults } from '../http/transport-options.ts';
import { Wire } from '../http/wire.ts';
import { createWireFetch } from '../http/wire-fetch.ts';
import { type Budget, createBudget } from '../policy/budget.ts';
import type { AskHeaders } from '../target.ts';
import { createFence, type Fence } from './fence.ts';
import type { LaneSendOptions } from './lane.ts';
import { readPostedMessage } from './posted-message.ts';
import type { NewSseTransport } from './sdk-line.ts';

/** What a transport is made with. */
export interface SseTransportOptions {
  readonly newSdkTransport: NewSseTransport;
  /** Headers of requests that name none of their own. */
  readonly headers: AskHeaders;
  readonly authProvider: OAuthClientProvider | undefined;
  /** The provider threw `error`, or a flow failed with it that asks for no sign-in. */
  readonly onCredentialsFailed: (error: unknown) => void;
  readonly dispatchers: DispatcherHold;
  readonly oauth: LoadOAuth;
  /** OAuth flows, shared with other sessions of the same provider. */
  readonly flows: ProviderFlowsMap;
  readonly maxMessageBytes: number;
  /** How long the server may take to name its endpoint. Default: as long as the open. */
  readonly endpointTimeoutMs: number | undefined;
  /** Nobody uses the session: what comes counts against a budget. Default: always in use. */
  readonly isIdle?: (() => boolean) | undefined;
  readonly clock: Clock;
  readonly random: () => number;
}

/**
 * What may come per minute while nobody uses the session, in pieces of up to 1 KiB. Of messages the
 * link keeps count; of comments and events that mean nothing to the SDK, only this does.
 */
const IDLE_BUDGET = { kibibytes: 1_000, periodMs: 60_000 } as const;

/** What the SDK's `send` rejects with in place of `cause`: it tells `onerror` of it as well. */
class SendFailure extends Error {}

/**
 * See the file header. `send` of a call settles when the server has taken it, for its response
 * comes on the stream. `onerror` is told of the end of the stream, once, and of nothing else.
 */
export class SseTransport implements Transport {
  /** Told once, by `close`. */
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  onmessage?: ((message: JSONRPCMessage) => void) | undefined;

  readonly #options: SseTransportOptions;
  readonly #sdk: Transport;
  readonly #fence: Fence;
  readonly #streams: Wire;
  /** Its endpoint is the one that the server named last. */
  readonly #posts: Wire;
  readonly #queue: PostQueue;
  /** Made when something comes idle. */
  #budget: Budget | undefined;
  readonly #inbox = new Inbox((message) => this.onmessage?.(message));
  /** Headers of the calls that are being sent. */
  readonly #callHeaders = new Map<RequestId, AskHeaders>();
  /** Why the stream is over. The SDK would tell that it is, and no more. */
  #streamOver: unknown;
  #rejectStart: (error: unknown) => void = () => {};
  /** What new messages reject with; defined once fenced. */
  #refusal: Error | undefined;
  #isSevered = false;

  constructor(url: URL | string, options: SseTransportOptions) {
    const { authProvider: provider, dispatchers, clock, random, maxMessageBytes } = options;
    const { endpoint, authorization: userInfo } = splitUserInfo(new URL(url));
    this.#options = options;
    const authorization =
      provider &&
      new Authorization({
        endpoint,
        provider,
        dispatchers,
        flows: options.flows.of(provider),
        onFailed: options.onCredentialsFailed,
        oauth: options.oauth,
        clock,
      });
    const none = { sessionId: undefined, protocolVersion: undefined };
    const { headers } = options;
    const wire = { endpoint, userInfo, headers, dispatchers, authorization, clock, ...none };
    this.#streams = new Wire(wire);
    this.#posts = new Wire(wire);
    const mayNotLeave = (): Error | undefined => this.#refusal;
    const { acceptTimeoutMs } = transportDefaults({});
    this.#queue = new PostQueue({ wire: this.#posts, acceptTimeoutMs, mayNotLeave });
    const fetch = createWireFetch({
      streams: this.#streams,
      posts: this.#posts,
      headersOf: (body) => this.#callHeaders.get(readPostedMessage(body).requestId ?? ''),
      mayNotLeave,
      onStreamOver: (error) => {
        this.#streamOver = error;
      },
      tooMuch: (chunk) => this.#tooMuch(chunk),
    });
    this.#fence = createFence({ fetch, maxMessageBytes, clock, random });
    this.#sdk = options.newSdkTransport(endpoint, this.#fetch);
    this.#sdk.onmessage = (message) => this.#onMessage(message);
    this.#sdk.onerror = (error) => this.#onSdkError(error);
  }

  setProtocolVersion(version: string): void {
    this.#posts.protocolVersion = version;
  }

  /** Settles when the server has named its endpoint. Rejects when it can't any more. */
  start(): Promise<void> {
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    const { clock, endpointTimeoutMs } = this.#options;
    let timer: Timer | undefined;
    const started = new Promise<void>((resolve, reject) => {
      // Order: it rejects with what the stream ended with, before the SDK with what it knows of it.
      this.#rejectStart = reject;
      this.#sdk.start().then(resolve, reject);
      if (endpointTimeoutMs === undefined) return;
      timer = clock.setTimeout(() => reject(noEndpoint()), endpointTimeoutMs);
    });
    return started.finally(() => timer && clock.clearTimeout(timer));
  }

  send(message: JSONRPCMessage, options: LaneSendOptions = {}): Promise<void> {
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    const { headers } = options;
    if (isRequest(message)) return this.#call(message, headers);
    if ('method' in message && message.method === 'notifications/cancelled') {
      this.#fence.endCall(message.params?.['requestId'] as RequestId);
    }
    return this.#queue.post(message, { headers });
  }

  /** Sends a last word: also while the transport is fenced, and before what waits. */
  sendLastWord(message: JSONRPCMessage): Promise<void> {
    if (this.#isSevered) return Promise.reject(this.#refusal);
    return this.#queue.post(message, { isLastWord: true });
  }

  /** Nothing new leaves but the last words: sends reject with `reason`. Idempotent. */
  fence(reason: Error): void {
    if (this.#refusal !== undefined) return;
    this.#refusal = reason;
    this.#fence.arm(reason);
  }

  /** Ends everything at once: every socket is freed, every send rejects. */
  close(): Promise<void> {
    if (this.#isSevered) return Promise.resolve();
    this.sever(new SessionLostError('The transport was closed', 'unknown'));
    this.onclose?.();
    return Promise.resolve();
  }

  /** As `close`, synchronous, and without telling `onclose`. Idempotent. */
  sever(reason: Error): void {
    this.fence(reason);
    if (this.#isSevered) return;
    this.#isSevered = true;
    this.#sdk.onmessage = ignore;
    // Order: first, so that it takes no end for a reason to go on. All it does is in this turn.
    void this.#sdk.close();
    this.#fence.abortAll(reason);
    this.#inbox.clear();
    this.#queue.abort(reason);
    this.#rejectStart(reason);
    this.#streams.authorization?.close();
    this.#options.dispatchers.release(reason);
  }

  /** The SDK's transport and its `EventSource` fetch with this, and have no other way out. */
  readonly #fetch: FetchLike = (url, init) => {
    return init?.method === 'POST' ? this.#post(new URL(url), init) : this.#fence.fetch(url, init);
  };

  async #post(url: URL, init: RequestInit): Promise<Response> {
    try {
      // The SDK refuses such an endpoint too, but only once it has taken it over.
      const { origin } = this.#streams.endpoint;
      if (url.origin !== origin) throw unusable('The endpoint is of another origin');
      this.#posts.endpoint = url;
      const response = await this.#fence.fetch(url, init);
      if (!response.ok) return response;
      // Nobody needs what it says, and SDK 2 would wait for all of it.
      await response.body?.cancel();
      return new Response(null, { status: response.status });
    } catch (cause) {
      throw new SendFailure('The call was not taken', { cause });
    }
  }

  async #call(request: JSONRPCRequest, headers: AskHeaders | undefined): Promise<void> {
    if (headers !== undefined) this.#callHeaders.set(request.id, headers);
    try {
      await this.#sdk.send(request);
    } catch (error) {
      throw error instanceof SendFailure ? error.cause : error;
    } finally {
      this.#callHeaders.delete(request.id);
    }
  }

  #onMessage(message: JSONRPCMessage): void {
    // The server may hold the call's own request open for as long as it likes.
    if (!('method' in message) && message.id !== undefined) this.#fence.endCall(message.id);
    this.#inbox.push(message, undefined);
  }

  #onSdkError(error: Error): void {
    if (error instanceof SendFailure || this.#refusal !== undefined) return;
    const cause = this.#causeOf(error);
    // Order: at once. The `EventSource` will ask for another stream, which would be of a session
    // that was never initialized: that GET parks.
    this.fence(new SessionLostError('The event stream ended', 'not-executed', { cause }));
    this.#rejectStart(cause);
    // Order: an answer that came before the end is still an answer.
    this.#inbox.afterAll(() => this.onerror?.(cause));
  }

  #tooMuch(chunk: Buffer): Error | undefined {
    const { clock, isIdle } = this.#options;
    if (isIdle?.() !== true) return undefined;
    this.#budget ??= createBudget(IDLE_BUDGET.kibibytes, IDLE_BUDGET.periodMs);
    if (this.#budget.spend(Math.max(1, chunk.length / 1024), clock.now())) return undefined;
    return new Error('The server flooded an idle session');
  }

  #causeOf(error: Error): Error {
    if (this.#streamOver !== undefined) return asError(this.#streamOver);
    // The body of the stream was refused by the fence, which has one reason to do so. The SDK's
    // error is not handed on: it holds the `EventSource`.
    if ('event' in error) {
      return messageTooLarge(new MessageTooLargeError(this.#options.maxMessageBytes));
    }
    return unusable('The server sent what is no message', error);
  }
}

const ignore = (): void => {};

const asError = (value: unknown): Error =>
  value instanceof Error ? value : new Error('The request failed', { cause: value });

function unusable(message: string, cause?: unknown): HttpRequestError {
  const details = { execution: 'unknown', sessionLost: true, cause } as const;
  return new HttpRequestError('UNEXPECTED_CONTENT', message, details);
}

function noEndpoint(): HttpRequestError {
  const message = 'The server named no endpoint in time';
  return new HttpRequestError('TIMEOUT', message, { execution: 'not-executed', sessionLost: true });
}
