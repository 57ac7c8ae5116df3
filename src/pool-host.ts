// What a key needs of the pool it belongs to. `session-pool.ts` provides it; `sub-pool.ts` uses it
// and knows nothing else of the pool.

import type { AbortFanout } from './abort-fanout.ts';
import type { Breakers } from './breakers.ts';
import type { Clock } from './clock.ts';
import type { Connector } from './connect/connector.ts';
import type { KeepAlive } from './keep-alive.ts';
import type { TeardownOutcome } from './observe/events.ts';
import type { Totals } from './observe/metrics.ts';
import type { Outbox } from './observe/outbox.ts';
import type { TroubleReporter } from './observe/trouble-reporter.ts';
import type { ResolvedOptions } from './options.ts';
import type { Counts } from './policy/ledger.ts';
import type { PoolRoom, RoomTaker } from './pool-room.ts';
import type { TeardownCrew } from './teardown-crew.ts';

export interface PoolHost<C> {
  readonly clock: Clock;
  /** In [0, 1). For jitter. */
  readonly random: () => number;
  readonly options: ResolvedOptions<C>;
  readonly connector: Connector<C>;
  /** In place of `maxSessionsPerKey`, where each session is a process. */
  readonly maxProcessesPerKey: number;
  /** Sessions and waiters of all keys. */
  readonly counts: Counts;
  readonly totals: Totals;
  readonly outbox: Outbox;
  readonly troubles: TroubleReporter;
  /** Callers share signals: each gets one listener of ours, however many wait on it. */
  readonly aborts: AbortFanout;
  readonly crew: TeardownCrew;
  readonly room: PoolRoom;
  readonly keepAlive: KeepAlive<C>;
  /** `undefined`: switched off. */
  readonly breakers: Breakers | undefined;
  /**
   * Connectors that have not settled, and sessions that came too late and are being taken down:
   * what holds no slot, but `close()` waits for. Changed by the keys.
   */
  loose: number;
  /** Calls of `warm` that have not settled. Changed by the keys. */
  warming: number;
  /** Something of a key is due at `at`. */
  isDueAt(at: number): void;
  /** A turn has ended, of `key` or of none: the books are final until the next change. */
  turnEnded(key?: RoomTaker): void;
  /** The teardown of a session has ended. */
  sessionEnded(outcome: TeardownOutcome): void;
}
