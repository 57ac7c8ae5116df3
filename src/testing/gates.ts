// What a fake peer can be told, call by call, and what is recorded of the calls that the pool
// makes of it. Data only; `fake-session.ts` acts on it.

import type { FakeSession } from './fake-session.ts';

/**
 * How a peer answers. `ok`, `fails`: in a microtask. `throws`: synchronously. `slow`: well, after
 * `slowMs`. `held`: when the test lets it. `never`: never.
 */
export type Gate = 'ok' | 'fails' | 'throws' | 'slow' | 'held' | 'never';
/** A synchronous rung: `throws-nothing` throws `undefined`, `slow` burns `slowMs` of the turn. */
export type SyncGate = 'ok' | 'throws' | 'throws-nothing' | 'slow' | 'absent';

export interface Gates {
  open: Gate;
  probe: Gate | 'absent';
  terminate: Gate | 'absent';
  clientClose: Gate;
  transportClose: Gate;
  fence: SyncGate;
  sever: SyncGate;
  /** `absent`: leases share the session's own client. */
  lend: 'ok' | 'throws' | 'absent';
  giveBack: 'clean' | 'tainted' | 'throws' | 'absent';
  slowMs: number;
  fenceBurnsMs: number;
}

export const OPEN_GATES: Gates = {
  open: 'ok',
  probe: 'ok',
  terminate: 'ok',
  clientClose: 'ok',
  transportClose: 'ok',
  fence: 'ok',
  sever: 'ok',
  lend: 'ok',
  giveBack: 'clean',
  slowMs: 1_000,
  fenceBurnsMs: 20,
};

export type PeerCall =
  | 'open'
  | 'probe'
  | 'fence'
  | 'terminate'
  | 'clientClose'
  | 'transportClose'
  | 'sever'
  | 'lend'
  | 'giveBack';

export interface RecordedCall {
  readonly name: PeerCall;
  readonly session: FakeSession;
  /** On the manual clock. */
  readonly at: number;
  /** Among all calls of the connector. */
  readonly order: number;
  readonly signal: AbortSignal | undefined;
  settledAt: number | undefined;
}
