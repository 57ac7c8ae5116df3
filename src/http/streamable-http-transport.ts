// The client side of MCP's Streamable HTTP transport (2025-03-26 to 2025-11-25), on undici and
// eventsource-parser: one session, its calls, its messages without response, its notification
// stream, and their end. Implements the SDK's `Transport`; knows no pool and no leases.

import '../host-fetch-guard.ts';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCMessage, RequestId } from '@modelcontextprotocol/sdk/types.js';
import { systemClock } from '../clock.ts';
import { SessionLostError } from '../errors.ts';
import { Authorization } from './authorization.ts';
import { type DispatcherHold, Dispatchers } from './dispatchers.ts';
import { HttpCalls } from './http-calls.ts';
import { Inbox } from './inbox.ts';
import { isRequest } from './json-rpc.ts';
import { NotificationStream } from './notification-stream.ts';
import { PostQueue } from './post-queue.ts';
import { splitUserInfo } from './request-headers.ts';
import { SessionEnd } from './session-end.ts';
import {
  checkTransportOptions,
  type HttpMessageExtra,
  type HttpSendOptions,
  type StreamableHttpTransportOptions,
  type TransportWiring,
  transportDefaults,
} from './transport-options.ts';
import { Wire } from './wire.ts';

/**
 * See the file header. `send` of a request settles when its response was received: it rejects with
 * an `HttpRequestError` the moment none can come any more.
 *
 * @example
 * ```ts
 * const transport = new StreamableHttpTransport('https://tools.example/mcp');
 * await client.connect(transport);
 * // … and when the session is over:
 * await transport.terminateSession();
 * await client.close();
 * ```
 */
export class StreamableHttpTransport implements Transport {
  /** Told once, by `close`; not when the server goes away, which only its requests can tell. */
  onclose?: (() => void) | undefined;
  /** Told of trouble that no promise rejects with. */
  onerror?: ((error: Error) => void) | undefined;
  onmessage?: ((message: JSONRPCMessage, extra?: HttpMessageExtra) => void) | undefined;

  /** Whether to open the notification stream once initialized. */
  readonly #listensAtOnce: boolean;
  readonly #wire: Wire;
  readonly #dispatchers: DispatcherHold;
  readonly #posts: PostQueue;
  readonly #stream: NotificationStream;
  readonly #calls: HttpCalls;
  readonly #inbox = new Inbox((message, id) => this.#deliver(message, id));
  /** The DELETE under way. */
  #ending: SessionEnd | undefined;
  #isStarted = false;
  #isClosed = false;
  /** What new messages reject with; defined once fenced. */
  #refusal: Error | undefined;

  /** @throws TypeError or RangeError for a URL or an option that can't be. */
  constructor(
    url: URL | string,
    options: StreamableHttpTransportOptions = {},
    wiring: TransportWiring = {},
  ) {
    checkTransportOptions(url, options);
    const { clock = systemClock, random = Math.random, headers, authProvider } = options;
    const { maxMessageBytes, connectTimeoutMs, acceptTimeoutMs } = transportDefaults(options);
    const { endpoint, authorization: userInfo } = splitUserInfo(new URL(url));
    this.#listensAtOnce = options.notifications ?? true;
    const { dispatcher: source } = options;
    this.#dispatchers = wiring.dispatchers ?? new Dispatchers({ source, connectTimeoutMs }).hold();
    this.#wire = new Wire({
      clock,
      endpoint,
      userInfo,
      headers: typeof headers === 'function' ? headers : () => headers ?? {},
      dispatchers: this.#dispatchers,
      authorization:
        authProvider &&
        new Authorization({
          endpoint,
          provider: authProvider,
          dispatchers: this.#dispatchers,
          flows: wiring.flows?.of(authProvider),
          onFailed: wiring.onCredentialsFailed,
          oauth: wiring.oauth,
          clock,
        }),
      sessionId: options.sessionId,
      protocolVersion: options.protocolVersion,
    });
    const mayNotLeave = (): Error | undefined => this.#refusal;
    const report = (error: unknown): void => this.#report(error);
    this.#posts = new PostQueue({ wire: this.#wire, acceptTimeoutMs, mayNotLeave });
    this.#calls = new HttpCalls({
      wire: this.#wire,
      maxMessageBytes,
      posts: this.#posts,
      deliver: (message, relatedRequestId) => this.#inbox.push(message, relatedRequestId),
      report,
      mayNotLeave,
      clearsFailedCalls: wiring.clearsFailedCalls ?? false,
    });
    this.#stream = new NotificationStream({
      wire: this.#wire,
      maxMessageBytes,
      random,
      receive: (message) => {
        this.#calls.noteResponse(message);
        this.#inbox.push(message, undefined);
      },
      report,
      lost: (error) => wiring.onLost?.(error),
      isIdle: () => wiring.isIdle?.() ?? false,
      slowed: (waitMs) => this.#tell(() => options.onStreamSlowed?.(waitMs)),
      mayNotLeave,
    });
  }

  /** The session's id, once the server has given one. A secret. */
  get sessionId(): string | undefined {
    return this.#wire.sessionId;
  }

  /** The negotiated version, once it is known. */
  get protocolVersion(): string | undefined {
    return this.#wire.protocolVersion;
  }

  /** Sent with every later request. The SDK's client calls it once `initialize` is answered. */
  setProtocolVersion(version: string): void {
    this.#wire.protocolVersion = version;
  }

  /** Nothing is opened yet. Rejects when called twice. */
  async start(): Promise<void> {
    if (this.#isStarted) throw new Error('The transport is started already, as `connect` does');
    if (this.#refusal !== undefined) throw this.#refusal;
    this.#isStarted = true;
  }

  /**
   * Sends a message. A request's promise settles as the class says; that of another message when
   * the server has accepted it. Rejects with an `HttpRequestError`, with a `SessionLostError` once
   * the transport is fenced or closed, or with what a function of the caller's threw.
   */
  // Not async: the promise must be the call's own, so that its rejection is seen in one turn.
  send(message: JSONRPCMessage, options: HttpSendOptions = {}): Promise<void> {
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    if (!this.#isStarted) return Promise.reject(new Error('The transport is not started'));
    const { headers, ownHeaders, standsAlone } = options;
    if (isRequest(message)) {
      // Empty: there is nothing to resume, as for the SDK's transport.
      const resumptionToken = options.resumptionToken || undefined;
      const { onresumptiontoken: onResumptionToken } = options;
      const rest = { resumptionToken, onResumptionToken, standsAlone };
      return this.#calls.send(message, { headers, ownHeaders, ...rest });
    }
    if (!('method' in message)) return this.#posts.post(message, { headers, ownHeaders });
    if (message.method === 'notifications/cancelled') {
      return this.#calls.cancel(message, headers);
    }
    const sent = this.#posts.post(message, { headers, ownHeaders });
    if (message.method !== 'notifications/initialized' || !this.#listensAtOnce) return sent;
    return sent.then(() => this.listen());
  }

  /**
   * Sends a last word: also while the transport is fenced, and before what waits. For the cancels
   * of a teardown. @internal
   */
  sendLastWord(message: JSONRPCMessage): Promise<void> {
    if (this.#isClosed) return Promise.reject(this.#refusal);
    return this.#posts.post(message, { isLastWord: true });
  }

  /** Opens the notification stream (GET), unless it is open, or the server offers none. */
  listen(): void {
    if (this.#refusal === undefined) this.#stream.listen();
  }

  /**
   * Opens the notification stream after the event `lastEventId`: the server sends again what came
   * after it. Resolves when it is open, and when the server offers none (405); rejects when it
   * can't be opened.
   */
  resumeStream(
    lastEventId: string,
    options?: { readonly onresumptiontoken?: (token: string) => void },
  ): Promise<void> {
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    return this.#stream.resume(lastEventId, options?.onresumptiontoken);
  }

  /** Whether the server ever opened a notification stream. @internal */
  get everListened(): boolean {
    return this.#stream.wasOpen;
  }

  /** The notification stream brings an idle session too much: closes it for a while. @internal */
  onFlood(): void {
    this.#stream.onFlood();
  }

  /**
   * Completes a sign-in that `authProvider` had to ask for, with the code it led to, within 30 s.
   * Also after `close`: a client whose `connect` fails closes its transport.
   * @throws TypeError without an `authProvider`.
   */
  async finishAuth(authorizationCode: string): Promise<void> {
    const { authorization } = this.#wire;
    if (authorization === undefined) throw new TypeError('Expected an `authProvider`');
    await authorization.finish(authorizationCode);
  }

  /**
   * Tells the server that the session is over (DELETE). Resolves at once without a session id, and
   * when the server has ended it, knows it no more (404) or lets nobody end one (405). Rejects when
   * it refuses, and when `signal` aborts; without a signal, after 5 s. Call it before `close`.
   */
  async terminateSession(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.#isClosed) throw this.#refusal;
    if (this.#wire.sessionId === undefined) return;
    const ending = this.#ending ?? new SessionEnd(this.#wire);
    this.#ending = ending;
    try {
      await ending.send(options.signal);
      this.#wire.sessionId = undefined;
    } finally {
      if (this.#ending === ending && !ending.isAwaited) this.#ending = undefined;
    }
  }

  /**
   * Nothing new leaves but the DELETE: sends reject with `reason`, no stream is opened or resumed.
   * What is in flight goes on. Idempotent.
   */
  fence(reason: Error = new SessionLostError('The session is closing', 'not-executed')): void {
    if (this.#refusal !== undefined) return;
    this.#refusal = reason;
    this.#stream.stop();
    this.#calls.fence(reason);
  }

  /** Ends everything at once: every socket is freed, every send rejects. Sends no DELETE. */
  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    // What is sent from now on can't be executed; what is in flight may have been.
    this.fence(new SessionLostError('The transport is closed', 'not-executed'));
    this.sever();
    this.#tell(() => this.onclose?.());
    return Promise.resolve();
  }

  /** As `close`, synchronous, and without telling `onclose`. Idempotent. @internal */
  sever(reason: Error = new SessionLostError('The transport was closed', 'unknown')): void {
    this.fence(reason);
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#calls.fail(reason);
    this.#inbox.clear();
    this.#posts.abort(reason);
    this.#ending?.abort(reason);
    this.#wire.authorization?.close();
    this.#dispatchers.release(reason);
  }

  #deliver(message: JSONRPCMessage, relatedRequestId: RequestId | undefined): void {
    if (this.#isClosed) return;
    this.#tell(() => this.onmessage?.(message, { relatedRequestId }));
  }

  /** Row 14d: what a handler throws must not break the session. */
  #tell(handler: () => void): void {
    try {
      handler();
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error: unknown): void {
    try {
      this.onerror?.(error instanceof Error ? error : new Error(String(error)));
    } catch {
      // Nobody is left to tell.
    }
  }
}
