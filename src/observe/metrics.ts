// Counters since the pool was made, and the shape of `stats()`. Plain data, nothing secret.

import type { Counts } from '../policy/ledger.ts';

/** Everything counted, from 0 when the pool was made. */
export interface Totals {
  /** Sessions that became ready to be lent. */
  opened: number;
  openFailed: number;
  /** Opens given up whose connector settled later, with a session that was then taken down. */
  openedTooLate: number;
  /** Leases granted; `reused` of them on a session that had been lent before. */
  acquired: number;
  reused: number;
  released: number;
  discarded: number;
  /** Sessions that were lost under us. */
  lost: number;
  /** Sessions lent no more after a cut stream or timeouts in a row. */
  worn: number;
  /** Sessions that gave way to another key. */
  evicted: number;
  probed: number;
  probeFailed: number;
  /** Sessions taken down: `closed` + `abandoned`. `unterminated`: the server was not told. */
  closed: number;
  abandoned: number;
  unterminated: number;
  /** What transports reported out of band, and what handlers of leases and of the pool threw. */
  troubles: number;
  /** Acquires that ended without a lease, by reason. */
  timedOut: number;
  aborted: number;
  saturated: number;
  /** A circuit was open. */
  failedFast: number;
  /** Waiting when the pool closed, or after it. */
  refused: number;
  /** Leases reported as held for too long, and leases taken back for it. */
  leaking: number;
  overdue: number;
  /** Times that a circuit opened, failed trials included. */
  circuitsOpened: number;
}

export const noTotals = (): Totals => ({
  opened: 0,
  openFailed: 0,
  openedTooLate: 0,
  acquired: 0,
  reused: 0,
  released: 0,
  discarded: 0,
  lost: 0,
  worn: 0,
  evicted: 0,
  probed: 0,
  probeFailed: 0,
  closed: 0,
  abandoned: 0,
  unterminated: 0,
  troubles: 0,
  timedOut: 0,
  aborted: 0,
  saturated: 0,
  failedFast: 0,
  refused: 0,
  leaking: 0,
  overdue: 0,
  circuitsOpened: 0,
});

/** Sessions by state. */
export type SessionCounts = Readonly<Omit<Counts, 'waiting'>>;

/** Circuits that hold opens back, of endpoints and of callers. */
export interface CircuitCounts {
  /** All opens, or all but the trial that the next acquire begins. */
  open: number;
  /** All but the one on trial. */
  halfOpen: number;
}

/** One key's row of `stats({ perKey: true })`. */
export interface KeyStats {
  /** Opaque id of the key: the one in events, logs and errors. */
  readonly key: string;
  /** The server's origin or name. */
  readonly server: string;
  readonly sessions: SessionCounts;
  readonly waiting: number;
}

/** What `stats()` returns: a copy, never a live view. */
export interface PoolStats {
  readonly sessions: SessionCounts;
  /** Acquires that wait. */
  readonly waiting: number;
  /**
   * What holds no slot and is not settled: connectors at work, those whose open was given up
   * included, and sessions that came too late and are being closed.
   */
  readonly unsettled: number;
  readonly keys: number;
  readonly circuits: Readonly<CircuitCounts>;
  readonly totals: Readonly<
    Totals & {
      /** Peers that settled after their teardown had stopped waiting. */
      readonly lateSettlements: number;
      /** Calls of `onEvent` or the logger that threw. */
      readonly observerFailures: number;
    }
  >;
  /** With `{ perKey: true }` only. */
  readonly perKey?: readonly KeyStats[];
}

export const sessionCounts = ({ waiting: _, ...sessions }: Counts): SessionCounts => sessions;
