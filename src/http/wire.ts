// What all HTTP requests of one session have in common: where they go, which headers they carry,
// and whether they may go at all. Holds the session id, which is a secret and leaves only as a
// header. Knows no messages.

import type { Clock } from '../clock.ts';
import type { AskHeaders, HeaderRecord } from '../target.ts';
import type { AnswerHead } from './answer-reader.ts';
import { headerOf } from './answer-reader.ts';
import type { Authorization } from './authorization.ts';
import type { DispatcherHold } from './dispatchers.ts';
import { callersHeaders } from './request-headers.ts';

/** What a wire is made with. */
export interface WireOptions {
  /** Without user info. */
  readonly endpoint: URL;
  /** What the URL's user info stands for; beneath every other header. */
  readonly userInfo: string | undefined;
  /** Headers of requests that name none of their own. */
  readonly headers: AskHeaders;
  readonly dispatchers: DispatcherHold;
  readonly authorization: Authorization | undefined;
  readonly sessionId: string | undefined;
  readonly protocolVersion: string | undefined;
  readonly clock: Clock;
}

/** See the file header. */
export class Wire {
  readonly clock: Clock;
  /** Where requests go. The servers of the older HTTP+SSE protocol name it late, and anew. */
  endpoint: URL;
  readonly authorization: Authorization | undefined;
  readonly headers: AskHeaders;
  readonly dispatcherFor: DispatcherHold['for'];
  /** As the server gave it with the answer to `initialize`; never taken from a later answer. */
  sessionId: string | undefined;
  protocolVersion: string | undefined;
  readonly #userInfo: string | undefined;

  constructor(options: WireOptions) {
    const { dispatchers } = options;
    this.clock = options.clock;
    this.endpoint = options.endpoint;
    this.authorization = options.authorization;
    this.headers = options.headers;
    this.dispatcherFor = (origin) => dispatchers.for(origin);
    this.sessionId = options.sessionId;
    this.protocolVersion = options.protocolVersion;
    this.#userInfo = options.userInfo;
  }

  /** The server answered `initialize`: the session is the one it names, if any. */
  adoptSession(head: AnswerHead): void {
    this.sessionId = headerOf(head.headers, 'mcp-session-id') || undefined;
  }

  /**
   * The headers of one request: the caller's beneath, the protocol's on top.
   * `own` is what its kind of request adds; `credentials` come from the authorization.
   */
  compose(
    given: HeaderRecord,
    own: Readonly<Record<string, string>>,
    credentials: string | undefined,
  ): Record<string, string> {
    const headers = callersHeaders(given);
    if (this.#userInfo !== undefined) headers['authorization'] ??= this.#userInfo;
    if (credentials !== undefined) headers['authorization'] = credentials;
    Object.assign(headers, own);
    if (this.sessionId !== undefined) headers['mcp-session-id'] = this.sessionId;
    if (this.protocolVersion !== undefined) headers['mcp-protocol-version'] = this.protocolVersion;
    return headers;
  }
}
