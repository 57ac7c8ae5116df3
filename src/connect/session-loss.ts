// The errors that calls get when their session ends under them: in flight, or not sent any more.
// Sits beside the link and its lanes; decides nothing.

import { SessionLostError } from '../errors.ts';

/**
 * Why a session ended, as data: an error made by the link would hold the link (see `dropFrames`).
 */
export interface SessionEnd {
  readonly message: string;
  readonly cause?: unknown;
}

/** How deep causes are followed. Bound: a cyclic chain of causes must not loop. */
const MAX_DEPTH = 8;

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
 * Makes an error, and what caused it, safe to keep for long. Costs some 10 µs each, so it is done
 * for errors that somebody gets.
 *
 * Until its stack is first read, V8 keeps the frames of an error, and with them every `this` on the
 * way: here the transport, the link and all they hold. Whoever keeps the error would keep those.
 */
export function dropFrames<T>(error: T): T {
  let each: unknown = error;
  for (let depth = 0; depth < MAX_DEPTH && each instanceof Error; depth += 1) {
    void each.stack;
    each = each.cause;
  }
  return error;
}
