// The errors that calls get when their session ends under them: in flight, or not sent any more.
// Sits beside the link and its lanes; decides nothing.

import { dropFrames } from '../drop-frames.ts';
import { SessionLostError } from '../errors.ts';
import { statusOf } from './failure-of.ts';

/**
 * Why a session ended, as data: an error made by the link would hold the link (see
 * `drop-frames.ts`).
 */
export interface SessionEnd {
  readonly message: string;
  readonly cause?: unknown;
}

/**
 * Whether a session ended with `cause` because its server does not know it any more. A 400 ends one
 * only when the server, asked again, did not know it.
 */
export function isForgotten(cause: unknown): boolean {
  const status = statusOf(cause);
  return status === 404 || status === 400;
}

/** What calls in flight reject with. An error that says so already is used as it is. */
export function lostInFlight(message: string, cause: unknown): SessionLostError {
  return cause instanceof SessionLostError && cause.execution === 'unknown'
    ? cause
    : new SessionLostError(message, 'unknown', { cause });
}

/** What calls reject with that were made after the end. */
export function lostUnsent({ message, cause }: SessionEnd): SessionLostError {
  return new SessionLostError(message, 'not-executed', { cause });
}

/**
 * What rejects that was on its way when its lease ended with `ended`. A lease that lost its session
 * says "not executed", which holds for what is sent later.
 */
export function endedInFlight(ended: Error | undefined, end: SessionEnd): Error {
  if (ended !== undefined && !('execution' in ended)) return ended;
  return dropFrames(lostInFlight(end.message, end.cause));
}
