// The books of one key: which sessions it has, in which state, and who waits for one. Every change
// of state goes through `move`, which asserts that it is legal and keeps all counts. Synchronous
// and pure: it decides nothing (`next-step.ts` does) and does nothing (`sub-pool.ts` does).

import { InvariantError } from '../invariant.ts';
import { IntrusiveList, type Linked } from './intrusive-list.ts';

export type SlotState = 'opening' | 'probing' | 'idle' | 'leased' | 'closing' | 'gone';

/** Every transition a slot may make. ARCHITECTURE.md's diagram is generated from it. */
export const LEGAL: Readonly<Record<SlotState, readonly SlotState[]>> = {
  opening: ['idle', 'closing', 'gone'],
  idle: ['probing', 'leased', 'closing'],
  probing: ['idle', 'closing'],
  leased: ['idle', 'closing'],
  closing: ['gone'],
  gone: [],
};

/** The facts about one session that policy may know. */
export interface Slot<S> extends Linked<S> {
  state: SlotState;
  /** Live leases. Above 0 exactly while `leased`, but within a turn that passes it on. */
  leaseCount: number;
  /** When it last became idle; a ping that nobody waited for does not count. */
  idleSince: number;
  /** When it last became idle or answered a probe. */
  heardAt: number;
  /** When its lifetime ends, jitter included. Set once, when it opened. */
  expiresAt: number;
  /** The key's generation when its open began. Below the key's: it was retired wholesale. */
  readonly generation: number;
  /** Marked to be retired when its last lease ends. */
  condemned: boolean;
  /** Whether its connection can be probed. */
  canProbe: boolean;
  /** May be gone: takes no lease before it has answered a probe. Only one that can be probed. */
  suspect: boolean;
}

/** Sessions by state, and waiters, of one key or (added up) of a whole pool. */
export interface Counts {
  opening: number;
  probing: number;
  idle: number;
  leased: number;
  closing: number;
  waiting: number;
}

export const noCounts = (): Counts => ({
  opening: 0,
  probing: 0,
  idle: 0,
  leased: 0,
  closing: 0,
  waiting: 0,
});

/** All sessions that hold a slot, in whatever state. */
export const sessionCount = (counts: Counts): number =>
  counts.opening + counts.probing + counts.idle + counts.leased + counts.closing;

export class Ledger<S extends Slot<S>, W extends Linked<W>> {
  /** Equals, at every instant, what counting `sessions` and `waiters` would give. */
  readonly counts: Counts = noCounts();
  /** Every slot that is not gone. */
  readonly sessions: Set<S> = new Set<S>();
  /** Idle sessions, longest idle first. Lent from the end (LIFO), expired from the front. */
  readonly idle: IntrusiveList<S> = new IntrusiveList<S>();
  /** Leased sessions that may take another lease, and those passed on. Lent from the end. */
  readonly spare: IntrusiveList<S> = new IntrusiveList<S>();
  /** Who waits, oldest first. */
  readonly waiters: IntrusiveList<W> = new IntrusiveList<W>();
  readonly #totals: Counts;

  /** `totals`: the counts of the whole pool, kept by all its ledgers together. */
  constructor(totals: Counts) {
    this.#totals = totals;
  }

  /** Enters a slot whose open begins. */
  add(slot: S): void {
    if (slot.state !== 'opening') throw new InvariantError('a slot enters the ledger opening');
    this.sessions.add(slot);
    this.counts.opening += 1;
    this.#totals.opening += 1;
  }

  /** Makes one legal transition. `now` starts the idle clock of a slot that becomes idle. */
  move(slot: S, from: SlotState, to: SlotState, now: number): void {
    if (slot.state !== from || !LEGAL[from].includes(to)) {
      throw new InvariantError(`a slot that is ${slot.state} can't go from ${from} to ${to}`);
    }
    if (from === 'idle') this.idle.remove(slot);
    else if (from === 'leased') this.spare.remove(slot);
    slot.state = to;
    this.#count(from, -1);
    if (to === 'gone') {
      this.sessions.delete(slot);
      return;
    }
    this.#count(to, 1);
    if (to === 'idle') {
      // It has answered.
      if (from === 'probing') slot.suspect = false;
      slot.heardAt = now;
      slot.idleSince = now;
      this.idle.append(slot);
    }
  }

  /** Puts a slot that has just become idle back to where it was before it was asked. */
  backdate(slot: S, idleSince: number): void {
    if (!this.idle.remove(slot)) throw new InvariantError('only an idle slot is backdated');
    slot.idleSince = idleSince;
    let before = this.idle.last;
    // Bound: the members of the list.
    while (before !== undefined && before.idleSince > idleSince) before = before.previous;
    this.idle.insertAfter(before, slot);
  }

  /** Adds a lease to an idle slot or to one with room. */
  lease(slot: S, leasesPerSession: number, now: number): void {
    if (slot.state === 'idle') this.move(slot, 'idle', 'leased', now);
    if (slot.state !== 'leased' || slot.leaseCount >= leasesPerSession) {
      throw new InvariantError('Invariant I3: a session is lent within its leases only');
    }
    slot.leaseCount += 1;
    this.#offerRoom(slot, leasesPerSession);
  }

  /** Takes one lease off. The caller moves a slot without leases on in the same turn. */
  unlease(slot: S, leasesPerSession: number): void {
    if (slot.state !== 'leased' || slot.leaseCount < 1) {
      throw new InvariantError('Invariant I3: a lease ends once');
    }
    slot.leaseCount -= 1;
    this.#offerRoom(slot, leasesPerSession);
  }

  /** Keeps a slot whose last lease has ended as it is, for a waiter of the same turn. */
  offer(slot: S): void {
    if (slot.state !== 'leased' || slot.leaseCount !== 0 || slot.condemned || slot.suspect) {
      throw new InvariantError('Invariant I3: only a leased slot is passed on');
    }
    this.spare.append(slot);
  }

  /** Marks a slot so that it takes no further lease. */
  condemn(slot: S): void {
    slot.condemned = true;
    this.spare.remove(slot);
  }

  /** Marks a slot so that it takes no lease before it has answered. */
  doubt(slot: S): void {
    slot.suspect = true;
    this.spare.remove(slot);
  }

  /** A slot has answered while it was leased. */
  trust(slot: S, leasesPerSession: number): void {
    slot.suspect = false;
    if (slot.state === 'leased') this.#offerRoom(slot, leasesPerSession);
  }

  enqueue(waiter: W): void {
    this.waiters.append(waiter);
    this.counts.waiting += 1;
    this.#totals.waiting += 1;
  }

  /** Takes a waiter out, wherever in the queue it is. Returns whether it was waiting. */
  dequeue(waiter: W): boolean {
    if (!this.waiters.remove(waiter)) return false;
    this.counts.waiting -= 1;
    this.#totals.waiting -= 1;
    return true;
  }

  #offerRoom(slot: S, leasesPerSession: number): void {
    const mayTakeOne = !slot.condemned && !slot.suspect;
    const room = mayTakeOne && slot.leaseCount > 0 && slot.leaseCount < leasesPerSession;
    if (room && slot.list === undefined) this.spare.append(slot);
    else if (!room && slot.list === this.spare) this.spare.remove(slot);
  }

  #count(state: SlotState, by: 1 | -1): void {
    addTo(this.counts, state, by);
    addTo(this.#totals, state, by);
  }
}

/** Spelt out: a computed member costs 180 ns a lease here, a switch next to nothing. */
function addTo(counts: Counts, state: SlotState, by: 1 | -1): void {
  switch (state) {
    case 'idle':
      counts.idle += by;
      break;
    case 'leased':
      counts.leased += by;
      break;
    case 'opening':
      counts.opening += by;
      break;
    case 'probing':
      counts.probing += by;
      break;
    case 'closing':
      counts.closing += by;
      break;
    case 'gone':
      break;
    default:
      state satisfies never;
  }
}
