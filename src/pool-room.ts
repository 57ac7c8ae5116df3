// Room under `maxSessions`, shared by all keys: who wants to open and can't, in which order they
// get room, and which idle session gives way. A key that is blocked never blocks another.

import { type Counts, sessionCount } from './policy/ledger.ts';

/** What the room needs of a key. */
export interface RoomTaker {
  /** When it was last asked for a session. */
  readonly lastUsedAt: number;
  /** Since when its oldest waiter waits; `Infinity`: nobody does. */
  readonly waitsSince: number;
  /** Whether its sessions may give way when nobody has a lease on them: with affinity, none may. */
  readonly mayGiveWay: boolean;
  /** Whether one of its idle sessions may give way. */
  readonly canEvict: boolean;
  advance(): void;
  /** Takes down the session that is idle for longest. */
  evict(): void;
}

export class PoolRoom {
  readonly #maxSessions: number;
  readonly #counts: Counts;
  readonly #takers: () => Iterable<RoomTaker>;
  /** How many sessions each key would open if there were room; first come, first served. */
  readonly #wants = new Map<RoomTaker, number>();
  /** Sum of `#wants`. */
  #wanted = 0;
  /** Sessions that are lent no more to make room: it is there when their last lease ends. */
  readonly #draining = new Set<object>();
  #isServing = false;

  /** `counts`: of the whole pool. `takers`: all keys. */
  constructor(maxSessions: number, counts: Counts, takers: () => Iterable<RoomTaker>) {
    this.#maxSessions = maxSessions;
    this.#counts = counts;
    this.#takers = takers;
  }

  /** Sessions that `taker` may open now. None while another key is ahead of it in the queue. */
  roomFor(taker: RoomTaker): number {
    if (this.#wants.size > 0) {
      const [first] = this.#wants.keys();
      if (first !== taker) return 0;
    }
    return this.#maxSessions - sessionCount(this.#counts);
  }

  /**
   * Whether a session that `taker` is done with should make room instead of serving its own next
   * waiter: somebody else has waited for longer, and no room is on its way.
   */
  owes(taker: RoomTaker): boolean {
    if (this.#wants.size === 0 || this.#missing <= 0 || !taker.mayGiveWay) return false;
    const [first] = this.#wants.keys();
    return first !== undefined && first !== taker && first.waitsSince < taker.waitsSince;
  }

  /**
   * Whether `session`, which `taker` lends to several at once, is to be lent no more: its leases
   * overlap, so that it would never be done with. As many as are missing, and no more.
   */
  claims(taker: RoomTaker, session: object): boolean {
    if (!this.owes(taker) || this.#draining.size >= this.#missing) return false;
    this.#draining.add(session);
    return true;
  }

  /** A session is taken down, whatever for. */
  takenDown(session: object): void {
    this.#draining.delete(session);
  }

  /**
   * `taker` would open `count` sessions. One that `gotSome` in this turn goes to the end of the
   * queue; one whose waiters left keeps its place.
   */
  want(taker: RoomTaker, count: number, gotSome: boolean): void {
    const before = this.#wants.get(taker) ?? 0;
    this.#wanted += count - before;
    if (gotSome || count === 0) this.#wants.delete(taker);
    if (count > 0) this.#wants.set(taker, count);
  }

  /**
   * Gives out the room there is, and makes more where keys wait for it. Called after every turn.
   */
  serve(): void {
    if (this.#wants.size === 0 || this.#isServing) return;
    this.#isServing = true;
    // Bound: each pass evicts a session. One whose closes throw is gone in this very turn, and its
    // room is given out in it: nobody else would be woken for that.
    do this.#giveOut();
    while (this.#makeRoom() && sessionCount(this.#counts) < this.#maxSessions);
    this.#isServing = false;
  }

  #giveOut(): void {
    // Bound: each pass opens a session or takes a key off the queue, and both are limited.
    let [first] = this.#wants.keys();
    while (first !== undefined && sessionCount(this.#counts) < this.#maxSessions) {
      const before = this.#wants.get(first);
      first.advance();
      if (this.#wants.get(first) === before) break;
      [first] = this.#wants.keys();
    }
  }

  /** Evicts for those who still want. Returns whether anything was evicted. */
  #makeRoom(): boolean {
    let hasEvicted = false;
    // Bound: each pass makes an idle session closing or gone, and that is one missing less.
    while (this.#missing > 0 && this.#counts.idle > 0) {
      const victim = this.#leastRecentlyUsed();
      if (victim === undefined) break;
      victim.evict();
      hasEvicted = true;
    }
    return hasEvicted;
  }

  /** Wanted sessions for which there is no room, and none on its way. */
  get #missing(): number {
    const room = this.#maxSessions - sessionCount(this.#counts);
    return this.#wanted - room - this.#counts.closing;
  }

  #leastRecentlyUsed(): RoomTaker | undefined {
    let found: RoomTaker | undefined;
    for (const taker of this.#takers()) {
      if (!taker.canEvict) continue;
      if (found === undefined || taker.lastUsedAt < found.lastUsedAt) found = taker;
    }
    return found;
  }
}
