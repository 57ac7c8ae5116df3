// What the failed send of one message means for its session, told from the error's structure: never
// by `instanceof`, for errors cross copies and majors of the SDK. Pure. The fuller table (400s that
// speak of the session, 401, 429, 5xx) belongs to failure judgement, not here.

import type { Execution } from '../errors.ts';

/** What a failed send tells. */
export interface SendFailure {
  /** The session is gone: every later call on it would fail too. */
  readonly lost: boolean;
  /** Whether the server can have executed what was sent. */
  readonly execution: Execution;
}

const KEEP: SendFailure = { lost: false, execution: 'unknown' };
const LOST_UNSENT: SendFailure = { lost: true, execution: 'not-executed' };
/** How deep causes are followed. Bound: a cyclic chain of causes must not loop. */
const MAX_DEPTH = 8;

/** Of the send that failed. */
interface SendFacts {
  /** The message carried a session id. */
  readonly withSessionId: boolean;
  /**
   * The transport is ours, which says itself what its failures mean. Other errors are the caller's:
   * a headers function whose token service answered 404, say.
   */
  readonly isOurs?: boolean | undefined;
}

/** Judges the failed send of a message. */
export function sendFailureOf(error: unknown, sent: SendFacts): SendFailure {
  const told = ownWord(error);
  if (told !== undefined) return told;
  if (sent.isOurs) return KEEP;
  // Only a request that named a session can be told that it is gone: stateless servers answer 404
  // to what they don't know.
  if (statusOf(error) === 404) return sent.withSessionId ? LOST_UNSENT : KEEP;
  return isRefused(error, 0) ? LOST_UNSENT : KEEP;
}

/** What our own transport says itself: it knows how far the request got. */
function ownWord(error: unknown): SendFailure | undefined {
  if (!isRecord(error)) return undefined;
  const { sessionLost: lost, execution } = error;
  if (typeof lost !== 'boolean') return undefined;
  return { lost, execution: execution === 'not-executed' ? execution : 'unknown' };
}

/** The HTTP status an error carries: SDK 1 puts it into `code`, SDK 2 and others into `status`. */
export function statusOf(error: unknown): number | undefined {
  if (!isRecord(error)) return undefined;
  const status = error['status'] ?? error['code'];
  return typeof status === 'number' && status >= 100 && status <= 599 ? status : undefined;
}

/**
 * Whether no connection came to be. Happy-eyeballs attempts count when all of them were refused.
 */
function isRefused(error: unknown, depth: number): boolean {
  if (!isRecord(error) || depth > MAX_DEPTH) return false;
  const { code, errors, cause } = error;
  if (Array.isArray(errors) && errors.length > 0) {
    return errors.every((each) => isRefused(each, depth + 1));
  }
  return code === 'ECONNREFUSED' || isRefused(cause, depth + 1);
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;
