// Every error the pool reports, one level below `SessionPoolError`. Match on `code`; the original
// is in `cause`. Messages say what happened, to which key, after how long, with the counts. They
// hold no text of a peer, no credential and no URL beyond the origin.

import type { BreakerScope, FailureKind } from './policy/failure.ts';

const BRAND = Symbol.for('mcp-session-pool.error');

export type SessionPoolErrorCode =
  | 'POOL_CLOSED'
  | 'POOL_SATURATED'
  | 'ACQUIRE_TIMEOUT'
  | 'CIRCUIT_OPEN'
  | 'OPEN_FAILED'
  | 'SESSION_LOST'
  | 'LEASE_RELEASED'
  | 'IDENTITY_REQUIRED';

/** Base of all errors of this library. `SessionPoolError.is(value)` works across copies of it. */
export abstract class SessionPoolError extends Error {
  /** Stable, made for `switch`. */
  abstract readonly code: SessionPoolErrorCode;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    // On the prototype's class, so that stacks and logs show it; not enumerable, like Error's own.
    Object.defineProperty(this, 'name', { value: new.target.name, configurable: true });
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** Whether `value` is an error of this library, also of another copy or version of it. */
  static is(value: unknown): value is SessionPoolError {
    return typeof value === 'object' && value !== null && BRAND in value;
  }
}

/** Numbers of one key at the instant of an error. */
export interface KeyCounts {
  readonly leased: number;
  readonly idle: number;
  readonly opening: number;
  readonly probing: number;
  readonly closing: number;
  readonly waiting: number;
}

const describeCounts = (counts: KeyCounts): string =>
  `${counts.leased} leased, ${counts.idle} idle, ${counts.opening} opening, ` +
  `${counts.probing} probing, ${counts.closing} closing, ${counts.waiting} waiting`;

/** `acquire` after `close()` had begun, or waiting when it began. */
export class PoolClosedError extends SessionPoolError {
  readonly code = 'POOL_CLOSED';

  constructor() {
    super('The session pool is closed');
  }
}

/** A bound was reached: `maxWaitersPerKey` or `maxKeys`. Shed load. */
export class PoolSaturatedError extends SessionPoolError {
  readonly code = 'POOL_SATURATED';
  /** The option whose bound was reached. */
  readonly limit: 'maxWaitersPerKey' | 'maxKeys';
  readonly max: number;

  constructor(limit: 'maxWaitersPerKey' | 'maxKeys', max: number, where: string) {
    super(`Saturated: ${limit} (${max}) reached ${where}`);
    this.limit = limit;
    this.max = max;
  }
}

/** What an acquire was waiting for when its time ran out. */
export type AcquirePhase = 'wait' | 'open' | 'probe';

/** No session within `acquireTimeoutMs`. `cause`: the last failed open of the key, if any. */
export class AcquireTimeoutError extends SessionPoolError {
  readonly code = 'ACQUIRE_TIMEOUT';
  readonly key: string;
  /** `open`: a session was being opened. `probe`: one was being probed. `wait`: all were in use. */
  readonly phase: AcquirePhase;
  readonly elapsedMs: number;
  readonly counts: KeyCounts;

  constructor(details: {
    key: string;
    server: string;
    phase: AcquirePhase;
    elapsedMs: number;
    counts: KeyCounts;
    cause: unknown;
  }) {
    const { key, server, phase, elapsedMs, counts, cause } = details;
    const elapsed = Math.round(elapsedMs);
    super(
      `No session of ${server} (key ${key}) after ${elapsed} ms in phase ${phase} ` +
        `(${describeCounts(counts)})`,
      cause === undefined ? undefined : { cause },
    );
    this.key = key;
    this.phase = phase;
    this.elapsedMs = elapsedMs;
    this.counts = counts;
  }
}

/** Why an open failed, in kinds that callers act on differently. */
export type OpenFailureKind = FailureKind;

/** What an `OpenError` is made of. */
export interface OpenErrorDetails {
  readonly key: string;
  readonly server: string;
  readonly kind: OpenFailureKind;
  readonly status: number | undefined;
  readonly elapsedMs: number;
  readonly cause: unknown;
}

/** A session could not be opened. `cause`: what the connector threw. */
export class OpenError extends SessionPoolError {
  readonly code = 'OPEN_FAILED';
  readonly key: string;
  /**
   * `refused`: nothing listens. `timeout`: `connectTimeoutMs` ran out. `unauthorized`: 401 or 403.
   * `http`: another HTTP status. `protocol`: the peer spoke, but not MCP as it should. `network`:
   * the connection broke or never came to be. `process`: the server's process could not be started,
   * or ended. `other`: anything else the connector threw.
   */
  readonly kind: OpenFailureKind;
  /** The HTTP status, where there was one. */
  readonly status: number | undefined;

  constructor(details: OpenErrorDetails) {
    const { key, server, kind, status, elapsedMs, cause } = details;
    const what = status === undefined ? kind : `${kind}, HTTP ${status}`;
    super(
      `Opening a session of ${server} (key ${key}) failed: ${what}, ` +
        `after ${Math.round(elapsedMs)} ms`,
      cause === undefined ? undefined : { cause },
    );
    this.key = key;
    this.kind = kind;
    this.status = status;
  }
}

/**
 * No session was at hand, and none may be opened for now: opens have failed in a row, or the server
 * asked for a pause. `cause`: the last of those failures, if any; what another caller's open threw
 * is left out of it.
 */
export class CircuitOpenError extends SessionPoolError {
  readonly code = 'CIRCUIT_OPEN';
  readonly key: string;
  /** Whom the circuit holds back: every caller of the endpoint, or this identity there. */
  readonly scope: 'endpoint' | 'endpoint+identity';
  /**
   * When the next open may be tried, in milliseconds from now, at least 1. While one is on trial:
   * when that has ended at the latest.
   */
  readonly retryAfterMs: number;

  constructor(details: {
    key: string;
    server: string;
    scope: BreakerScope;
    retryAfterMs: number;
    cause: OpenError | undefined;
  }) {
    const { key, server, scope, retryAfterMs, cause } = details;
    super(
      `The circuit of ${server} (${scope}, key ${key}) is open; retry in ${retryAfterMs} ms`,
      cause === undefined ? undefined : { cause },
    );
    this.key = key;
    this.scope = scope;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Whether the server can have executed the interrupted call. */
export type Execution = 'not-executed' | 'unknown';

/** The session ended under a call or a lease: lost, or taken back by the pool. */
export class SessionLostError extends SessionPoolError {
  readonly code = 'SESSION_LOST';
  /** `not-executed`: certain that the server did not run it. `unknown`: it may have. */
  readonly execution: Execution;

  constructor(message: string, execution: Execution, options?: { cause?: unknown }) {
    super(message, options);
    this.execution = execution;
  }
}

/** How a lease ended. */
export type LeaseEndReason =
  | 'released'
  | 'discarded'
  | 'session-lost'
  | 'retired'
  | 'lease-overdue'
  | 'pool-closed';

/** A client was used after its lease had ended. Fix the code that kept it. */
export class LeaseReleasedError extends SessionPoolError {
  readonly code = 'LEASE_RELEASED';
  readonly key: string;
  readonly reason: LeaseEndReason;

  constructor(key: string, reason: LeaseEndReason) {
    super(`The lease (key ${key}) has ended: ${reason}`);
    this.key = key;
    this.reason = reason;
  }
}

/** A target whose credentials the pool can't see needs `identity` to be kept apart from others. */
export class IdentityRequiredError extends SessionPoolError {
  readonly code = 'IDENTITY_REQUIRED';

  constructor(because: string) {
    super(`The target needs an \`identity\`: ${because}`);
  }
}
