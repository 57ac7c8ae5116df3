// Which sessions a `retire` call means.

import type { KeyMaker } from './key-maker.ts';
import { checkKnown } from './known-members.ts';
import type { SlotState } from './policy/ledger.ts';
import type { Session } from './session.ts';
import type { SubPool } from './sub-pool.ts';

/** What a predicate sees of a session. No credential and no session id. */
export interface SessionInfo {
  /** Opaque id of the key: the one in events, logs and errors. */
  readonly key: string;
  /** The server's origin or name. */
  readonly server: string;
  readonly identity: string | undefined;
  readonly affinity: string | undefined;
  readonly state: Exclude<SlotState, 'gone'>;
  readonly leases: number;
  /** Since its open began. */
  readonly ageMs: number;
  /** Since its last release; 0 unless idle. */
  readonly idleMs: number;
}

/** All members given must match. `identity` and `affinity` match targets that named the same. */
export interface SessionFilter {
  readonly url?: string | URL;
  readonly identity?: string;
  readonly affinity?: string;
}

export type RetireFilter = SessionFilter | ((session: SessionInfo) => boolean);

export interface RetireOptions {
  /** What happens to leased sessions. Default: `'when-released'`. */
  readonly leased?: 'when-released' | 'now';
}

/** @throws TypeError for an unknown member: a typo must not retire everything. */
export function checkRetireFilter(filter: RetireFilter | undefined, options: RetireOptions): void {
  checkKnown('retire option', options, new Set(['leased']));
  const { leased } = options;
  if (leased !== undefined && leased !== 'when-released' && leased !== 'now') {
    throw new TypeError("Expected `leased` to be 'when-released' or 'now'");
  }
  if (filter === undefined || typeof filter === 'function') return;
  checkKnown('filter member', filter, new Set(['url', 'identity', 'affinity']));
  for (const [name, value] of Object.entries(filter)) {
    if (value === undefined) {
      throw new TypeError(`Expected filter member \`${name}\` to have a value`);
    }
    // Ours, for that of `new URL` carries the text, which may hold a credential.
    if (name === 'url' && !URL.canParse(value)) {
      throw new TypeError('Expected filter member `url` to be an absolute URL');
    }
  }
}

/**
 * Finds what matches in one key. The function it returns retires that, and returns how many
 * sessions. Order: the caller's predicate has run for all keys before anything changes, for it may
 * throw.
 */
export function planRetire<C>(
  subPool: SubPool<C>,
  scope: {
    readonly filter: RetireFilter | undefined;
    readonly leasedNow: boolean;
    readonly now: number;
    readonly keyMaker: KeyMaker;
  },
): () => number {
  const { filter, leasedNow, now, keyMaker } = scope;
  const { key } = subPool;
  if (typeof filter === 'function') {
    const meant = [...subPool.ledger.sessions].filter(
      (session) => session.state !== 'closing' && filter(infoOf(subPool, session, now)),
    );
    return () => retireThese(subPool, meant, leasedNow);
  }
  const { url, identity = key.identity, affinity = key.affinity } = filter ?? {};
  const isMeant =
    (url === undefined || keyMaker.endpointOf(url) === key.endpoint) &&
    identity === key.identity &&
    affinity === key.affinity;
  return () => (isMeant ? retireAll(subPool, leasedNow) : 0);
}

/** Every session of the key, those being opened included: their generation makes them stale. */
function retireAll<C>(subPool: SubPool<C>, leasedNow: boolean): number {
  const { counts, sessions, spare } = subPool.ledger;
  const count = counts.opening + counts.probing + counts.idle + counts.leased;
  subPool.generation += 1;
  for (const session of spare) subPool.condemn(session, 'retired');
  if (leasedNow) {
    for (const session of sessions) {
      if (session.state === 'leased') subPool.takeDown(session, 'retired');
    }
  }
  subPool.advance();
  return count;
}

function retireThese<C>(
  subPool: SubPool<C>,
  meant: readonly Session<C>[],
  leasedNow: boolean,
): number {
  for (const session of meant) {
    const { state } = session;
    const isBusy = state === 'opening' || (state === 'leased' && !leasedNow);
    if (isBusy) subPool.condemn(session, 'retired');
    else if (state !== 'closing' && state !== 'gone') subPool.takeDown(session, 'retired');
  }
  subPool.advance();
  return meant.length;
}

function infoOf<C>({ key }: SubPool<C>, session: Session<C>, now: number): SessionInfo {
  const { state } = session;
  return {
    key: key.label,
    server: key.server,
    identity: key.identity,
    affinity: key.affinity,
    state: state === 'gone' ? 'closing' : state,
    leases: session.leaseCount,
    ageMs: now - session.openingAt,
    idleMs: state === 'idle' ? now - session.idleSince : 0,
  };
}
