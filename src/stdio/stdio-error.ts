// The error of what went wrong between us and a server's process: what happened, whether a message
// can have been read, and whether the session is gone. Made by the transport, judged by `connect/`.

import { dropFrames } from '../drop-frames.ts';
import type { Execution } from '../errors.ts';

/**
 * `SPAWN_FAILED`: the process could not be started. `PROCESS_ENDED`: it exited, or a signal ended
 * it. `PIPE_CLOSED`: it lives on, but reads or writes no more. `MESSAGE_TOO_LARGE`: a line of it is
 * over `maxMessageBytes`. `FLOODED`: it wrote too many lines that are no messages. `TIMEOUT`: it
 * took no message for too long. `SATURATED`: too many messages wait for it to read. `WITHDRAWN`:
 * the call was cancelled before it was written.
 */
export type StdioFailureCode =
  | 'SPAWN_FAILED'
  | 'PROCESS_ENDED'
  | 'PIPE_CLOSED'
  | 'MESSAGE_TOO_LARGE'
  | 'FLOODED'
  | 'TIMEOUT'
  | 'SATURATED'
  | 'WITHDRAWN';

/** What a failure tells beside its code. */
export interface StdioFailureDetails {
  /** Whether the server can have executed what was sent. */
  readonly execution: Execution;
  /** The session is gone. */
  readonly sessionLost: boolean;
  /** What the operating system said, or the last that the process wrote to its stderr. */
  readonly cause?: unknown;
}

/** See the file header. */
export class StdioError extends Error {
  readonly code: StdioFailureCode;
  /** `not-executed`: not a byte of the message was written. */
  readonly execution: Execution;
  /** Whether the session is gone: every later message would fail too. */
  readonly sessionLost: boolean;

  constructor(code: StdioFailureCode, message: string, details: StdioFailureDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    Object.defineProperty(this, 'name', { value: 'StdioError', configurable: true });
    this.code = code;
    this.execution = details.execution;
    this.sessionLost = details.sessionLost;
    // Somebody gets it, and may keep it.
    dropFrames(this);
  }
}
