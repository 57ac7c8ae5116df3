// What a failure was (`failureOf`, for errors and events) and what it means (`judge`: for the
// session, the call, `use` and the breaker). Told from the structure of whatever was thrown, never
// by `instanceof`, for errors cross copies and versions of libraries. Pure; `connect/failure-of.ts`
// makes the observations.

import type { Execution } from '../errors.ts';

export type FailureKind =
  | 'refused'
  | 'timeout'
  | 'unauthorized'
  | 'http'
  | 'protocol'
  | 'network'
  | 'process'
  | 'other';

export interface Failure {
  readonly kind: FailureKind;
  /** The HTTP status, where there was one. */
  readonly status?: number;
  /** The error's class name and code: names, never the peer's own words. */
  readonly errorName: string;
  readonly errorCode?: string;
}

const REFUSED = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN']);
const TIMED_OUT = new Set(['ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT']);
const BROKEN = /^(E[A-Z]+|UND_ERR_[A-Z_]+|ERR_(TLS|SSL)_[A-Z0-9_]+|[A-Z_]*CERT[A-Z_]*)$/;
/**
 * What our own transports say (`HttpFailureCode`, `StdioFailureCode`), and SDK 2 of a server that
 * offers no revision it takes, where no cause beneath it says more.
 */
const TOLD: ReadonlyMap<unknown, FailureKind> = new Map<unknown, FailureKind>([
  ['CONNECT_FAILED', 'network'],
  ['CONNECTION_LOST', 'network'],
  ['RESPONSE_CUT', 'network'],
  ['RESUME_FAILED', 'network'],
  ['ERA_NEGOTIATION_FAILED', 'protocol'],
  ['NO_RESPONSE', 'protocol'],
  ['UNEXPECTED_CONTENT', 'protocol'],
  ['MESSAGE_TOO_LARGE', 'protocol'],
  ['TIMEOUT', 'timeout'],
  ['SPAWN_FAILED', 'process'],
  ['PROCESS_ENDED', 'process'],
  ['PIPE_CLOSED', 'process'],
  ['FLOODED', 'protocol'],
]);
const SIGN_IN = 'UnauthorizedError';
/** How deep causes are followed. Bound: a cyclic chain of causes must not loop. */
const MAX_DEPTH = 8;

/**
 * What was seen. `answer`: the server answered, with a result or a JSON-RPC error. `http`: with a
 * status that is no success. `refused`: nobody listens. `unreached`: no connection came to be, or
 * it was lost before the request was written. `cut`: it was lost afterwards, or the response stream
 * ended without its response. `closed`: the transport was closed. `timeout`: our side stopped
 * waiting. `oversized`: a message was over the bound. `other`: none of these.
 */
export type ObservedKind =
  | 'answer'
  | 'http'
  | 'refused'
  | 'unreached'
  | 'cut'
  | 'closed'
  | 'timeout'
  | 'oversized'
  | 'other';

/** One outcome, normalised. */
export interface Observation {
  readonly during: 'open' | 'call' | 'probe';
  /** The caller had aborted: whatever else is seen may be no more than its echo. */
  readonly aborted: boolean;
  readonly kind: ObservedKind;
  /** The HTTP status; with `http`. */
  readonly status?: number | undefined;
  /** The request named a session: only then can an answer mean that this one is gone. */
  readonly withSessionId: boolean;
  /** The body of the answer says something of a session. */
  readonly speaksOfSession?: boolean | undefined;
  /** How far the request got. `refused`: to a server that certainly did not act on it. */
  readonly reach: 'not-written' | 'refused' | 'written';
  readonly retryAfterMs?: number | undefined;
}

/**
 * What becomes of the session. `keep`: nothing. `strike`: nothing the first time, `retire` the
 * second in a row. `probe`: ask the server, then `lost` or `keep`. `retire`: it takes no new lease,
 * and what goes on over it may go on. `lost`: it is over for everybody.
 */
export type SessionVerdict = 'keep' | 'strike' | 'probe' | 'retire' | 'lost';

/** Whether work that failed so may run again, when nothing of it was executed. */
export type Replay = 'never' | 'once' | 'once-if-reused';

/** Whom a breaker is to hold back: everybody's opens to the endpoint, or one identity's. */
export type BreakerScope = 'endpoint' | 'endpoint+identity';

export type BreakerVerdict =
  | { readonly vote: 'none' | 'success' }
  | { readonly vote: 'failure'; readonly scope: BreakerScope }
  | { readonly vote: 'throttle'; readonly scope: BreakerScope; readonly retryAfterMs: number };

export interface Verdict {
  readonly session: SessionVerdict;
  /** `executed`: the server says so itself. */
  readonly execution: Execution | 'executed';
  readonly replay: Replay;
  readonly breaker: BreakerVerdict;
}

/** A server that asks for more is asked again then: it may have meant to say "not today". */
export const RETRY_AFTER_MAX_MS = 300_000;

const NONE: BreakerVerdict = { vote: 'none' };
const FAILURE: BreakerVerdict = { vote: 'failure', scope: 'endpoint' };

/** What `seen` means. */
export function judge(seen: Observation): Verdict {
  // Before all else: an abort looks like a timeout, a lost connection or anything else.
  if (seen.aborted) return keep('unknown');
  if (seen.kind === 'answer' && seen.during !== 'open') {
    return { ...keep('executed'), breaker: { vote: 'success' } };
  }
  return seen.during === 'open' ? judgeOpen(seen) : judgeSend(seen);
}

function judgeSend(seen: Observation): Verdict {
  const execution = executionOf(seen);
  const again = execution === 'not-executed' ? 'once-if-reused' : 'never';
  switch (seen.kind) {
    case 'http':
      return judgeStatus(seen, execution);
    case 'refused':
      return { session: 'lost', execution, replay: again, breaker: FAILURE };
    case 'unreached':
      return { session: 'retire', execution, replay: again, breaker: FAILURE };
    case 'closed':
      return { session: 'lost', execution, replay: again, breaker: NONE };
    case 'cut':
    case 'oversized':
      // What else was to come over that connection is not told by it.
      return { session: 'retire', execution, replay: 'never', breaker: NONE };
    case 'timeout':
      // One slow tool is not a dead session; a probe has been patient already.
      return { ...keep(execution), session: seen.during === 'probe' ? 'retire' : 'strike' };
    case 'answer':
    case 'other':
      return keep(execution);
    default:
      return seen.kind satisfies never;
  }
}

function judgeStatus(seen: Observation, execution: Execution): Verdict {
  const { status, withSessionId, during } = seen;
  if (withSessionId && (status === 404 || (status === 400 && during === 'probe'))) {
    const replay = execution === 'not-executed' ? 'once' : 'never';
    return { session: 'lost', execution, replay, breaker: NONE };
  }
  if (withSessionId && status === 400 && seen.speaksOfSession === true) {
    return { session: 'probe', execution, replay: 'once', breaker: NONE };
  }
  return { ...keep(execution), breaker: throttleOf(seen) ?? NONE };
}

function judgeOpen(seen: Observation): Verdict {
  const isUnauthorized = seen.status === 401 || seen.status === 403;
  const failure: BreakerVerdict = isUnauthorized
    ? { vote: 'failure', scope: 'endpoint+identity' }
    : FAILURE;
  return { ...keep(executionOf(seen)), breaker: throttleOf(seen) ?? failure };
}

function throttleOf({ status, retryAfterMs }: Observation): BreakerVerdict | undefined {
  if ((status !== 429 && status !== 503) || retryAfterMs === undefined) return undefined;
  const waitMs = Math.min(Math.max(retryAfterMs, 0), RETRY_AFTER_MAX_MS);
  return { vote: 'throttle', scope: 'endpoint+identity', retryAfterMs: waitMs };
}

const executionOf = ({ reach }: Observation): Execution =>
  reach === 'written' ? 'unknown' : 'not-executed';

const keep = (execution: Verdict['execution']): Verdict => ({
  session: 'keep',
  execution,
  replay: 'never',
  breaker: NONE,
});

/**
 * Describes a failed open. `timedOut`: our own deadline ended it. What was thrown may be anything,
 * also an object whose members throw when they are read.
 */
export function failureOf(error: unknown, timedOut: boolean): Failure {
  try {
    return readFailure(error, timedOut);
  } catch {
    return { kind: 'other', errorName: typeof error };
  }
}

function readFailure(error: unknown, timedOut: boolean): Failure {
  const errorName = nameOf(error);
  if (timedOut) return { kind: 'timeout', errorName };
  let cause = error;
  let told: Omit<Failure, 'errorName'> = { kind: 'other' };
  for (let depth = 0; depth < MAX_DEPTH && isRecord(cause); depth += 1) {
    const found = describe(cause);
    if (found !== undefined) return { errorName, ...found };
    const { code } = cause;
    const kind = TOLD.get(code);
    if (told.kind === 'other' && kind !== undefined) told = { kind, errorCode: String(code) };
    cause = cause['cause'] ?? firstOf(cause['errors']);
  }
  return { errorName, ...told };
}

function describe(error: Record<string, unknown>): Omit<Failure, 'errorName'> | undefined {
  const { code, status, name, syscall } = error;
  const http = httpStatus(status) ?? httpStatus(code);
  if (http !== undefined) {
    return { kind: http === 401 || http === 403 ? 'unauthorized' : 'http', status: http };
  }
  if (asksForSignIn(error)) return { kind: 'unauthorized' };
  if (typeof code === 'number') return { kind: 'protocol', errorCode: String(code) };
  if (name === 'ZodError' || name === 'SyntaxError') return { kind: 'protocol' };
  if (typeof code !== 'string') return undefined;
  if (String(syscall).startsWith('spawn')) return { kind: 'process', errorCode: code };
  if (REFUSED.has(code)) return { kind: 'refused', errorCode: code };
  if (TIMED_OUT.has(code)) return { kind: 'timeout', errorCode: code };
  return BROKEN.test(code) ? { kind: 'network', errorCode: code } : undefined;
}

/** The SDK's `UnauthorizedError`, which goes by the name of its class alone. */
export const asksForSignIn = (error: unknown): boolean =>
  nameOf(error) === SIGN_IN || (isRecord(error) && error['name'] === SIGN_IN);

const httpStatus = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isInteger(value) && value >= 100 && value <= 599
    ? value
    : undefined;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

const firstOf = (value: unknown): unknown => (Array.isArray(value) ? value[0] : undefined);

/**
 * A class name is ours or a library's to choose, unless somebody made one up: kept short and plain.
 */
function nameOf(error: unknown): string {
  const name = isRecord(error)
    ? (error['constructor'] as { name?: unknown } | undefined)?.name
    : '';
  return typeof name === 'string' && /^\w{1,64}$/.test(name) ? name : typeof error;
}
