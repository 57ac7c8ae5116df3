// Why a session was taken away, for all who have to be told: its calls, its leases, its rungs. The
// error is made when somebody asks: a stack costs microseconds, and closing 10,000 sessions asks
// late or never.

import { SessionLostError } from './errors.ts';
import type { RetireReason } from './observe/events.ts';

export class Loss {
  readonly reason: RetireReason;
  readonly cause: unknown;
  readonly #server: string;
  #error: SessionLostError | undefined;

  constructor(server: string, reason: RetireReason, cause?: unknown) {
    this.#server = server;
    this.reason = reason;
    this.cause = cause;
  }

  get message(): string {
    return `The session of ${this.#server} has ended: ${this.reason}`;
  }

  /** What interrupted calls reject with: the server may have executed them. */
  get error(): SessionLostError {
    this.#error ??= new SessionLostError(this.message, 'unknown', this.#causeOption());
    return this.#error;
  }

  /** What calls reject with that began afterwards: they never left. */
  errorForLater(): SessionLostError {
    return new SessionLostError(this.message, 'not-executed', this.#causeOption());
  }

  #causeOption(): { cause: unknown } | undefined {
    return this.cause === undefined ? undefined : { cause: this.cause };
  }
}
