// What a fake peer can be told, call by call, and what is recorded of the calls that the pool
// makes of it. Data only; `fake-session.ts` acts on it.

import type { FakeSession } from './fake-session.ts';

/**
 * How a fake peer answers. `ok`, `fails`: in a microtask. `throws`: synchronously. `slow`: well,
 * after `slowMs`. `held`: when the test lets it (`FakeSession.let`). `never`: never.
 */
export type Gate = 'ok' | 'fails' | 'throws' | 'slow' | 'held' | 'never';
/**
 * How a synchronous rung ends. `throws-nothing` throws `undefined`, `slow` makes `fenceBurnsMs`
 * pass in its turn, `absent`: the connection has no such rung.
 */
export type SyncGate = 'ok' | 'throws' | 'throws-nothing' | 'slow' | 'absent';

/** What one fake session does, function by function of the port. */
export interface Gates {
  /** The connector's own promise. Default: `ok`, as all others but `giveBack`. */
  open: Gate;
  /** A call of a lent client (`FakeClient.call`): `never` is a stream that hangs. */
  call: Gate;
  probe: Gate | 'absent';
  terminate: Gate | 'absent';
  clientClose: Gate;
  transportClose: Gate;
  fence: SyncGate;
  sever: SyncGate;
  /** `absent`: leases share the session's own client. */
  lend: 'ok' | 'throws' | 'absent';
  /** Default: `clean`. */
  giveBack: 'clean' | 'tainted' | 'throws' | 'absent';
  /** What `slow` takes, in ms. Default: 1,000. */
  slowMs: number;
  /** What a `slow` rung takes, in ms. Default: 20. */
  fenceBurnsMs: number;
}

/** A peer that does everything at once, and well. */
export const OPEN_GATES: Readonly<Gates> = {
  open: 'ok',
  call: 'ok',
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

/** A peer that opens sessions and acknowledges nothing afterwards. */
export const HUNG_GATES: Readonly<Partial<Gates>> = {
  call: 'never',
  probe: 'never',
  terminate: 'never',
  clientClose: 'never',
  transportClose: 'never',
};

/** The functions of the port that settle, or don't. */
export type AnsweredCall =
  | 'open'
  | 'call'
  | 'probe'
  | 'terminate'
  | 'clientClose'
  | 'transportClose';

/** What the pool, or the borrower of a client, called. */
export type PeerCall = AnsweredCall | 'fence' | 'sever' | 'lend' | 'giveBack';

/** One call, as it was made. */
export interface RecordedCall {
  readonly name: PeerCall;
  readonly session: FakeSession;
  /** On the manual clock. */
  readonly at: number;
  /** Among all calls of the connector, from 0. */
  readonly order: number;
  /** What the pool gave along, to open, probe and terminate. */
  readonly signal: AbortSignal | undefined;
  /** When the fake had answered. `undefined`: it has not, or the call needs no answer. */
  settledAt: number | undefined;
}
