// Makes an observation of whatever the SDK (either major), undici, Node, our own transport or a
// foreign one threw: from structure only, never by `instanceof`, for errors cross copies of
// libraries. Pure. What it means is for `policy/failure.ts` to say.

import { asksForSignIn, type Observation, type ObservedKind } from '../policy/failure.ts';

/** What is known beside the error. */
export interface Circumstances {
  readonly during: Observation['during'];
  readonly withSessionId: boolean;
  /** The caller had aborted. Default: no. */
  readonly aborted?: boolean;
  /** The error is the server's own answer, as a JSON-RPC error. Default: told from the error. */
  readonly isAnswer?: boolean;
  /**
   * The transport tells of every failure of its own how far the request got. Any other error is
   * then the caller's (its headers, its credentials), and nothing was executed. Default: no.
   */
  readonly isToldAll?: boolean;
}

/** What an error says by itself. */
type Seen = Pick<Observation, 'kind' | 'reach' | 'status' | 'speaksOfSession' | 'retryAfterMs'>;

/** No connection came to be, whoever says it. */
const UNREACHED = new Set([
  ...['ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'EADDRNOTAVAIL'],
  'UND_ERR_CONNECT_TIMEOUT',
]);
const CERTIFICATE = /^(ERR_(TLS|SSL)_[A-Z_]+|[A-Z_]*CERT[A-Z_]*)$/;
/** It was lost at a moment that the code does not tell. */
const BROKEN = /^(ECONN[A-Z]+|EPIPE|ETIMEDOUT|UND_ERR_(SOCKET|HEADERS_TIMEOUT|BODY_TIMEOUT))$/;
/** JSON-RPC codes of SDK 1 for what happens on our own side as well as on the server's. */
const CONNECTION_CLOSED = -32_000;
const REQUEST_TIMEOUT = -32_001;
/** How deep causes are followed. Bound: a cyclic chain of causes must not loop. */
const MAX_DEPTH = 8;

/** Observes the end of a request that failed with `error`. */
export function observe(error: unknown, known: Circumstances): Observation {
  const { during, withSessionId, aborted = false, isAnswer = false, isToldAll = false } = known;
  const seen = isAnswer ? seenAs('answer') : seenOf(error, isToldAll);
  return { during, withSessionId, aborted, ...seen };
}

function seenOf(error: unknown, isToldAll: boolean): Seen {
  try {
    return ownWord(error) ?? foreign(error, isToldAll);
  } catch {
    // What was thrown may be anything, also an object whose members throw when they are read.
    return seenAs('other');
  }
}

/** The HTTP status an error carries: SDK 1 puts it into `code`, SDK 2 and others into `status`. */
export function statusOf(error: unknown): number | undefined {
  if (!isRecord(error)) return undefined;
  const status = error['status'] ?? error['code'];
  return typeof status === 'number' && status >= 100 && status <= 599 ? status : undefined;
}

/** What our own transport and our own errors say: they know how far the request got. */
function ownWord(error: unknown): Seen | undefined {
  if (!isRecord(error)) return undefined;
  const { execution, sessionLost, code, status, cause } = error;
  if (execution !== 'not-executed' && execution !== 'unknown') return undefined;
  const isUnsent = execution === 'not-executed';
  if (code === 'SESSION_LOST') return seenAs('closed', isUnsent ? 'not-written' : 'written');
  if (typeof sessionLost !== 'boolean') return undefined;
  if (typeof status === 'number') return refusal(error, status, isUnsent ? 'refused' : 'written');
  if (!sessionLost) return seenAs('other', isUnsent ? 'not-written' : 'written');
  if (code === 'MESSAGE_TOO_LARGE') return seenAs('oversized');
  if (isUnsent) return seenAs(isRefused(cause, 0) ? 'refused' : 'unreached', 'not-written');
  // The call was executed or not; that its stream can't be resumed may say more of the session.
  const resumed = ownWord(cause);
  return resumed?.status === 404 ? { ...resumed, reach: 'written' } : seenAs('cut');
}

function foreign(error: unknown, isToldAll: boolean): Seen {
  if (isToldAll) return seenAs('other', 'not-written');
  let each = error;
  for (let depth = 0; depth < MAX_DEPTH && isRecord(each); depth += 1) {
    const seen = seenIn(each);
    if (seen !== undefined) return seen;
    each = each['cause'];
  }
  return seenAs('other');
}

/** What one error of a chain of causes says; `undefined`: nothing. */
function seenIn(error: Record<string, unknown>): Seen | undefined {
  const { code, errors, message } = error;
  const status = statusOf(error);
  if (status !== undefined) return refusal(error, status, reachOf(status));
  if (asksForSignIn(error)) return { ...seenAs('http', 'refused'), status: 401 };
  if (message === 'Not connected') return seenAs('closed', 'not-written');
  if (isRefused(error, 0)) return seenAs('refused', 'not-written');
  if (Array.isArray(errors) && errors.length > 0 && errors.every(isUnreached)) {
    return seenAs('unreached', 'not-written');
  }
  if (typeof code === 'number') return numbered(error, code);
  if (typeof code !== 'string') return undefined;
  if (code === 'REQUEST_TIMEOUT') return seenAs('timeout');
  if (code === 'CONNECTION_CLOSED') return seenAs('closed');
  if (code === 'NOT_CONNECTED') return seenAs('closed', 'not-written');
  if (isUnreached(error)) return seenAs('unreached', 'not-written');
  return BROKEN.test(code) ? seenAs('cut') : undefined;
}

/** Numbers that are no HTTP status: JSON-RPC's, which SDK 1 uses for our own side too. */
function numbered({ data, message, name }: Record<string, unknown>, code: number): Seen {
  if (code === REQUEST_TIMEOUT && isRecord(data)) {
    const { timeout, maxTotalTimeout } = data;
    if ([timeout, maxTotalTimeout].some((ms) => typeof ms === 'number')) return seenAs('timeout');
  }
  const isClosed = typeof message === 'string' && message.endsWith('Connection closed');
  if (code === CONNECTION_CLOSED && isClosed) return seenAs('closed');
  const isJsonRpc = name === 'McpError' || name === 'ProtocolError';
  return seenAs(isJsonRpc || (code >= -32_768 && code <= -32_000) ? 'answer' : 'other');
}

function refusal(error: Record<string, unknown>, status: number, reach: Seen['reach']): Seen {
  const { body, data, message, retryAfterMs } = error;
  // SDK 1 has the body in the message, SDK 2 in `data`.
  const text = body ?? (isRecord(data) ? data['text'] : undefined) ?? message;
  return {
    kind: 'http',
    status,
    reach,
    speaksOfSession: typeof text === 'string' && /session/i.test(text),
    // A date read as a number is none.
    retryAfterMs:
      typeof retryAfterMs === 'number' && !Number.isNaN(retryAfterMs) ? retryAfterMs : undefined,
  };
}

/** A server that failed may have got far; one that refused has not begun. */
const reachOf = (status: number): Seen['reach'] =>
  status >= 500 || status < 300 || status === 408 ? 'written' : 'refused';

function isUnreached(error: unknown): boolean {
  if (!isRecord(error)) return false;
  const { code, syscall } = error;
  if (typeof code !== 'string') return false;
  const isOfConnect = syscall === 'connect' || syscall === 'getaddrinfo';
  return isOfConnect || code === 'ECONNREFUSED' || UNREACHED.has(code) || CERTIFICATE.test(code);
}

/**
 * Whether nobody listens. Happy-eyeballs attempts count when all of them were refused.
 */
function isRefused(error: unknown, depth: number): boolean {
  if (!isRecord(error) || depth > MAX_DEPTH) return false;
  const { code, errors, cause } = error;
  if (Array.isArray(errors) && errors.length > 0) {
    return errors.every((each) => isRefused(each, depth + 1));
  }
  return code === 'ECONNREFUSED' || isRefused(cause, depth + 1);
}

const seenAs = (kind: ObservedKind, reach: Seen['reach'] = 'written'): Seen => ({ kind, reach });

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;
