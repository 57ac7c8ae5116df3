// What the pool tells the world: a closed union of plain events. They hold no text of a peer, no
// credential and no session id. `outbox.ts` delivers them; it can neither delay nor change the
// pool.

import type { LeaseEndReason } from '../errors.ts';
import type { BreakerScope, Failure } from '../policy/failure.ts';

/** Why a session was taken down. */
export type RetireReason =
  | 'idle-timeout'
  | 'max-lifetime'
  | 'evicted'
  | 'retired'
  | 'tainted'
  | 'discarded'
  | 'lost'
  | 'worn'
  | 'probe-failed'
  | 'lease-overdue'
  | 'lend-failed'
  | 'open-too-late'
  | 'pool-closed';

/** Why a circuit opened: opens failed in a row or on trial, or the server asked for a pause. */
export type CircuitOpenReason = 'failures' | 'throttled';

/** How one rung of a teardown ended. `absent`: the connection has no such rung. */
export type RungResult = 'absent' | 'done' | 'failed' | 'timed-out' | 'not-sent';

/** How the teardown of one session ended. */
export interface TeardownOutcome {
  /** `abandoned`: the client's or the transport's close had not settled at the deadline. */
  readonly result: 'closed' | 'abandoned';
  readonly fence: RungResult;
  readonly terminate: RungResult;
  readonly clientClose: RungResult;
  readonly transportClose: RungResult;
  readonly sever: RungResult;
  readonly durationMs: number;
}

/** `key` is the opaque key id; `server` the origin or the name of the server. */
interface Of<T extends string> {
  readonly type: T;
  readonly key: string;
  readonly server: string;
}

export type PoolEvent =
  | (Of<'session-opened'> & { readonly durationMs: number })
  | (Of<'session-open-failed'> & { readonly durationMs: number; readonly failure: Failure })
  | (Of<'session-probed'> & { readonly ok: boolean; readonly durationMs: number })
  | (Of<'session-trouble'> & {
      readonly failure: Failure;
      /** Troubles of the whole pool since the last such event, this one included. */
      readonly count: number;
    })
  | (Of<'stream-slowed'> & {
      /** How long the next attempt waits. */
      readonly waitMs: number;
    })
  | (Of<'session-retired'> & { readonly reason: RetireReason })
  | (Of<'session-closed'> & { readonly reason: RetireReason; readonly outcome: TeardownOutcome })
  | (Of<'session-abandoned'> & { readonly reason: RetireReason; readonly outcome: TeardownOutcome })
  | (Of<'lease-granted'> & { readonly reused: boolean; readonly waitedMs: number })
  | (Of<'lease-ended'> & {
      readonly reason: LeaseEndReason;
      readonly heldMs: number;
      /** What the borrower said when discarding. */
      readonly detail?: string;
    })
  | (Of<'lease-leaking'> & { readonly heldMs: number; readonly acquiredAt: string })
  | (Of<'acquire-rejected'> & {
      readonly reason:
        | 'timeout'
        | 'aborted'
        | 'saturated'
        | 'open-failed'
        | 'circuit-open'
        | 'pool-closed';
      readonly waitedMs: number;
    })
  | (Of<'circuit-opened'> & {
      readonly scope: BreakerScope;
      readonly reason: CircuitOpenReason;
      /** When an open may be tried. */
      readonly retryAfterMs: number;
    })
  | (Of<'circuit-half-opened'> & { readonly scope: BreakerScope })
  | (Of<'circuit-closed'> & { readonly scope: BreakerScope })
  | { readonly type: 'pool-closing'; readonly sessions: number; readonly drainTimeoutMs: number }
  | {
      readonly type: 'pool-closed';
      readonly sessions: number;
      readonly closed: number;
      readonly abandoned: number;
      readonly unterminated: number;
      readonly durationMs: number;
      /** Connectors that had not settled by then, whatever they hold: see `PoolStats.unsettled`. */
      readonly unsettled: number;
    };

/**
 * Receives events, after the state they tell of is final. What it throws is counted, not raised.
 */
export type EventSink = (event: PoolEvent) => void;
