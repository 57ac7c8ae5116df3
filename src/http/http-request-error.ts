// The error of a request that the HTTP transport could not complete: what happened, how far the
// request got, and whether its session is gone. Made by the transport, judged by `connect/`.

import { dropFrames } from '../drop-frames.ts';
import type { Execution } from '../errors.ts';

/**
 * Why a request failed that got no HTTP status to blame. `CONNECT_FAILED`: no connection came to
 * be. `CONNECTION_LOST`: it ended after the request was written, before an answer. `RESPONSE_CUT`:
 * it ended in mid-answer. `NO_RESPONSE`: the answer is complete, and the JSON-RPC response is not
 * in it. `UNEXPECTED_CONTENT`: the answer is neither JSON nor an event stream, or can't be decoded.
 * `MESSAGE_TOO_LARGE`: a message is over the bound. `RESUME_FAILED`: the stream of the response
 * ended early and could not be resumed. `TIMEOUT`: the server did not take a message in time.
 * `SATURATED`: too many messages wait for the server to take them.
 */
export type HttpFailureCode =
  | 'CONNECT_FAILED'
  | 'CONNECTION_LOST'
  | 'RESPONSE_CUT'
  | 'NO_RESPONSE'
  | 'UNEXPECTED_CONTENT'
  | 'MESSAGE_TOO_LARGE'
  | 'RESUME_FAILED'
  | 'TIMEOUT'
  | 'SATURATED';

/** What a failed request tells beside its code. */
export interface HttpFailureDetails {
  /** Whether the server can have executed what was sent. */
  readonly execution: Execution;
  /** The session is gone, or of no more use. */
  readonly sessionLost: boolean;
  readonly cause?: unknown;
}

/** See the file header. */
export class HttpRequestError extends Error {
  /** The HTTP status, as in the SDK's `StreamableHTTPError`; without one, a stable word. */
  readonly code: number | HttpFailureCode;
  /** The HTTP status, where an answer with one is to blame. */
  readonly status: number | undefined;
  /** `not-executed`: the server certainly did not act on the request. */
  readonly execution: Execution;
  /** Whether the session is gone: every later request in it would fail too. */
  readonly sessionLost: boolean;
  /** The beginning of the answer's body, as the peer wrote it. Empty if there was none. */
  readonly body: string;
  /** What the server's `Retry-After` asks for, in ms; `undefined` without one. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: number | HttpFailureCode,
    message: string,
    details: HttpFailureDetails & { readonly body?: string; readonly retryAfterMs?: number },
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    Object.defineProperty(this, 'name', { value: 'HttpRequestError', configurable: true });
    this.code = code;
    this.status = typeof code === 'number' ? code : undefined;
    this.execution = details.execution;
    this.sessionLost = details.sessionLost;
    this.body = details.body ?? '';
    this.retryAfterMs = details.retryAfterMs;
    // Somebody gets it, and may keep it.
    dropFrames(this);
  }
}

/**
 * What the transport's own error says; nothing for any other. What the caller's functions throw may
 * have a `status` too, and it says nothing of the server.
 */
export function ownError(error: unknown): Partial<HttpRequestError> {
  return error instanceof HttpRequestError ? error : {};
}
