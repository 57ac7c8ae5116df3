// What a caller of `acquire` asked for, checked and with defaults filled in.

import type { ServerNotificationHandler, ServerRequestHandler } from './connect/connector.ts';
import { checkKnown } from './known-members.ts';
import { checkTimeout } from './options.ts';
import { isSignal } from './take-over.ts';
import type { HeaderRecord, HeaderSource, SessionTarget } from './target.ts';
import { checkHeaders } from './target-check.ts';

/** Options of `acquire` and `use`. */
export interface AcquireOptions {
  /**
   * Ends the wait: `acquire` rejects with the signal's reason and leaves the queue at once. With
   * `use`, ends the work too.
   */
  readonly signal?: AbortSignal | undefined;
  /** The wait, from the call. Minimum 1. Default: `acquireTimeoutMs` of the pool. */
  readonly timeoutMs?: number | undefined;
  /** Sent with every request of this lease, over the target's headers. They end with the lease. */
  readonly headers?: HeaderRecord | undefined;
  /**
   * Answers requests of the server that belong to this lease and for which no handler is set on
   * `lease.client`. What it throws is told to the server, as the SDK does.
   */
  readonly onRequest?: ServerRequestHandler | undefined;
  /**
   * Receives notifications of the server that belong to this lease and for which no handler is set
   * on `lease.client`.
   */
  readonly onNotification?: ServerNotificationHandler | undefined;
}

export interface AcquireRequest {
  readonly target: SessionTarget;
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
  readonly headers: HeaderRecord | undefined;
  readonly onRequest: ServerRequestHandler | undefined;
  readonly onNotification: ServerNotificationHandler | undefined;
  /** The stack of the acquire, where leak warnings are on. */
  readonly stack: string | undefined;
}

/** The pool's options that complete a request. */
interface AcquireDefaults {
  readonly acquireTimeoutMs: number;
  readonly leakWarningMs: number;
}

const KNOWN = new Set(['signal', 'timeoutMs', 'headers', 'onRequest', 'onNotification']);

/** @throws TypeError or RangeError naming the option. */
export function acquireRequest(
  target: SessionTarget,
  options: AcquireOptions | undefined,
  defaults: AcquireDefaults,
): AcquireRequest {
  if (options !== undefined) checkAcquireOptions(options);
  const needsStack = defaults.leakWarningMs !== Number.POSITIVE_INFINITY;
  return {
    target,
    signal: options?.signal,
    timeoutMs: options?.timeoutMs ?? defaults.acquireTimeoutMs,
    headers: options?.headers,
    onRequest: options?.onRequest,
    onNotification: options?.onNotification,
    stack: needsStack ? new Error('').stack : undefined,
  };
}

/** Headers that a request of this acquire carries now: the target's, then its own. */
export function currentHeaders(
  source: HeaderSource | undefined,
  own: HeaderRecord | undefined,
): HeaderRecord | Promise<HeaderRecord> {
  if (typeof source !== 'function') return mergeHeaders(source ?? {}, own);
  const made = source();
  return isThenable(made)
    ? Promise.resolve(made).then((headers) => mergeHeaders(checkedHeaders(headers), own))
    : mergeHeaders(checkedHeaders(made), own);
}

/** Not by `instanceof`: a promise of another realm would be sent as no headers at all. */
function isThenable(made: HeaderRecord | Promise<HeaderRecord>): made is Promise<HeaderRecord> {
  return typeof (made as { then?: unknown } | undefined)?.then === 'function';
}

/**
 * What a function returned is checked as what a target holds: a value must not get into an error.
 */
function checkedHeaders(headers: HeaderRecord): HeaderRecord {
  checkHeaders(headers);
  return headers;
}

export const headersOf = (target: SessionTarget): HeaderSource | undefined =>
  'url' in target ? target.headers : undefined;

/** Names are compared without regard to case, so that `Authorization` replaces `authorization`. */
function mergeHeaders(base: HeaderRecord, own: HeaderRecord | undefined): HeaderRecord {
  const merged: Record<string, string> = {};
  for (const [name, value] of Object.entries(base)) merged[name.toLowerCase()] = value;
  for (const [name, value] of Object.entries(own ?? {})) merged[name.toLowerCase()] = value;
  return merged;
}

function checkAcquireOptions(options: AcquireOptions): void {
  checkKnown('acquire option', options, KNOWN);
  const { signal, timeoutMs, headers, onRequest, onNotification } = options;
  checkSignal(signal);
  if (timeoutMs !== undefined) checkTimeout('timeoutMs', timeoutMs, 1);
  if (headers !== undefined) checkHeaders(headers);
  for (const [name, handler] of Object.entries({ onRequest, onNotification })) {
    if (handler !== undefined && typeof handler !== 'function') {
      throw new TypeError(`Expected \`${name}\` to be a function`);
    }
  }
}

/** @throws TypeError unless `signal` is left out or an AbortSignal. */
export function checkSignal(signal: unknown): void {
  if (signal !== undefined && !isSignal(signal)) {
    throw new TypeError('Expected `signal` to be an AbortSignal');
  }
}
