// One key, told top to bottom: acquire, advance, the steps, ends of leases, retire, close. All its
// state is in one ledger; every change is synchronous and followed by `advance`, which does what
// `nextStep` says until it says nothing (Invariant I4). All awaiting is at the edges: an open, a
// probe or a teardown settles, changes the ledger, and advances.

import type { AcquireRequest } from './acquire-request.ts';
import { takeDownPaced } from './closing.ts';
import { type LeaseEndReason, OpenError, type PoolClosedError } from './errors.ts';
import { InvariantError, invariant, present } from './invariant.ts';
import type { TargetKey } from './key-maker.ts';
import type { Lease } from './lease.ts';
import {
  endLease,
  endTaken,
  type GrantStep,
  type LendingKey,
  lend,
  takeBackLeases,
} from './lending.ts';
import { Loss } from './loss.ts';
import type { RetireReason, TeardownOutcome } from './observe/events.ts';
import { KeyReporter } from './observe/key-reporter.ts';
import { Opener, type OpeningKey } from './opener.ts';
import { type KeyLimits, keyLimits } from './policy/key-limits.ts';
import { Ledger, sessionCount } from './policy/ledger.ts';
import { lendingStep, nextStep, type Step, wantedOpens } from './policy/next-step.ts';
import { retirementOf } from './policy/retirement.ts';
import type { PoolHost } from './pool-host.ts';
import type { RoomTaker } from './pool-room.ts';
import { type ProbingKey, probe } from './probe.ts';
import { join, refuse } from './queue.ts';
import type { Session } from './session.ts';
import { type KeptKey, Upkeep } from './upkeep.ts';
import type { Waiter } from './waiter.ts';
import { type WarmedKey, Warmer, type WarmReport } from './warm.ts';

export class SubPool<C>
  implements LendingKey<C>, OpeningKey<C>, ProbingKey<C>, KeptKey<C>, WarmedKey<C>, RoomTaker
{
  readonly key: TargetKey;
  readonly host: PoolHost<C>;
  readonly ledger: Ledger<Session<C>, Waiter<C>>;
  readonly report: KeyReporter;
  readonly limits: KeyLimits;
  readonly upkeep: Upkeep<C>;
  /** Raised to retire all sessions of the key, those being opened included. */
  generation = 0;
  /** Set once, by `close`: what waiters are refused with. */
  #closedWith: PoolClosedError | undefined;
  lastUsedAt = 0;
  readonly #opener: Opener<C>;
  /** Made with the first call of `warm`: most keys see none. */
  #warmer: Warmer<C> | undefined;
  /** While a turn runs, foreign code that comes back in leaves what it causes to that turn. */
  #isAdvancing = false;
  /** What `PoolRoom` was last told that the key wants, and whether this turn started an open. */
  #want = 0;
  #hasOpened = false;

  constructor(host: PoolHost<C>, key: TargetKey) {
    this.host = host;
    this.key = key;
    this.limits = keyLimits(host.options, key, host.maxProcessesPerKey);
    this.ledger = new Ledger(host.counts);
    this.report = new KeyReporter(host.totals, host.outbox, key);
    this.#opener = new Opener(this);
    this.upkeep = new Upkeep(this, this.#opener);
  }

  get closed(): boolean {
    return this.#closedWith !== undefined;
  }

  get label(): string {
    return this.key.label;
  }

  get waitsSince(): number {
    return this.ledger.waiters.first?.since ?? Number.POSITIVE_INFINITY;
  }

  get opensAfter(): number {
    return this.#opener.opensAfter;
  }

  opensAllowed(now: number): number {
    return this.#opener.opensAllowed(now);
  }

  get roomInPool(): number {
    return this.host.room.roomFor(this);
  }

  get canEvict(): boolean {
    return this.mayGiveWay && this.ledger.idle.size > 0;
  }

  /** A session with affinity holds what somebody will come back for: it does not give way. */
  get mayGiveWay(): boolean {
    return this.key.affinity === undefined;
  }

  /** Nothing is left that the key has to be remembered for. */
  get isEmpty(): boolean {
    const { sessions, waiters } = this.ledger;
    if (sessions.size > 0 || waiters.size > 0 || this.#warmer?.isAtWork) return false;
    return this.closed || this.opensAfter <= this.host.clock.now();
  }

  /** Lends a session: at once where one is at hand, else in the caller's turn. */
  acquire(request: AcquireRequest): Promise<Lease<C>> {
    const now = this.host.clock.now();
    this.lastUsedAt = now;
    this.#opener.newestTarget = request.target;
    if (this.ledger.waiters.size === 0 && !this.#isAdvancing && !this.closed) {
      const step = lendingStep(this, now);
      if (step === 'grant-spare' || step === 'grant-idle') return this.#lendNow(step, request, now);
    }
    return join(this, request, now);
  }

  /** Opens sessions ahead of use. */
  warm(request: AcquireRequest, count: number): Promise<WarmReport> {
    this.lastUsedAt = this.host.clock.now();
    this.#opener.newestTarget = request.target;
    this.#warmer ??= new Warmer(this, this.#opener);
    return this.#warmer.warm(request, count);
  }

  joined(waiter: Waiter<C>): void {
    this.upkeep.isDueAt(waiter.dueAt);
    // One more behind others, and no room for a session more: nothing is to be done (-15 %).
    const { waiters, idle, counts } = this.ledger;
    const isFull = sessionCount(counts) >= this.limits.maxSessionsPerKey;
    const mayWait = isFull && this.opensAllowed(waiter.since) > 0;
    if (!mayWait || waiters.size === 1 || idle.size > 0) this.advance(waiter.since);
  }

  /** Does what is to be done until nothing is. Called after every change of the ledger. */
  advance(now: number = this.host.clock.now()): void {
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    try {
      // Bound: each step takes away a waiter, an idle session or room to open, and brings none back
      // but for foreign code that comes in again; it is given room for that, and an end.
      let stepsLeft = 1_000 + 4 * (this.ledger.sessions.size + this.ledger.waiters.size);
      for (let step = nextStep(this, now); step !== undefined; step = nextStep(this, now)) {
        if (stepsLeft === 0) throw new InvariantError(`Invariant I4: a turn is stuck at ${step}`);
        stepsLeft -= 1;
        this.#take(step, now);
      }
      this.#warmer?.advance(now);
      const want = wantedOpens(this, now);
      if (want !== this.#want || this.#hasOpened) this.host.room.want(this, want, this.#hasOpened);
      this.#want = want;
      this.#hasOpened = false;
      if (this.ledger.waiters.size > 0) this.#opener.awaitTrial(now);
    } finally {
      this.#isAdvancing = false;
    }
    this.host.turnEnded(this);
  }

  endLease(lease: Lease<C>, reason: LeaseEndReason, detail?: string): void {
    const { session } = lease;
    const now = this.host.clock.now();
    const mustGo = endLease(this, lease, { reason, detail }, now);
    if (mustGo === 'ended-before') return;
    if (mustGo !== undefined) this.condemn(session, mustGo);
    else if (session.leaseCount === 0) return this.#passOn(session, now);
    else if (this.host.room.claims(this, session)) this.condemn(session, 'evicted');
    this.advance(now);
  }

  /** Takes a session down, whatever it is doing: its leases end, its teardown starts. */
  takeDown(session: Session<C>, reason: RetireReason, cause?: unknown): void {
    const { connection, state } = session;
    invariant(connection !== undefined, 'Invariant I6: only an open session is torn down');
    const now = this.host.clock.now();
    const loss = new Loss(this.key.server, reason, cause);
    session.unwatch?.();
    session.unwatch = undefined;
    const leases = takeBackLeases(this, session);
    this.ledger.move(session, state, 'closing', now);
    this.host.room.takenDown(session);
    endTaken(this, leases, loss, now);
    session.pending?.abort(loss.error);
    session.pending = undefined;
    this.report.retired(reason);
    this.host.crew.tearDown(connection, loss, (outcome) => this.#gone(session, reason, outcome));
  }

  /** Lets a session take no further lease; it goes when it is ready to, or now if it is. */
  condemn(session: Session<C>, reason: RetireReason): void {
    const { state, leaseCount } = session;
    const isReady = state === 'idle' || (state === 'leased' && leaseCount === 0);
    if (isReady) return this.takeDown(session, reason);
    session.retireReason ??= reason;
    this.ledger.condemn(session);
  }

  ready(session: Session<C>, from: 'opening' | 'probing'): void {
    // Order: one instant for both, so that what was probed just now is lent, not probed again.
    const now = this.host.clock.now();
    this.ledger.move(session, from, 'idle', now);
    this.upkeep.sawIdle(session);
    this.advance(now);
  }

  lost(session: Session<C>, cause: unknown): void {
    this.takeDown(session, 'lost', cause);
    this.advance();
  }

  evict(): void {
    if (this.ledger.idle.first !== undefined) this.takeDown(this.ledger.idle.first, 'evicted');
    this.advance();
  }

  /** Refuses waiters with `error`, ends opens, probes and idle sessions. Leases go on. */
  close(error: PoolClosedError): void {
    this.#closedWith = error;
    this.#warmer?.close(error);
    for (const session of this.ledger.sessions) {
      if (session.state === 'opening') this.#opener.giveUp(session);
      else if (session.state !== 'leased') takeDownPaced(this, session);
    }
    this.advance();
  }

  takeBackAll(): void {
    for (const session of this.ledger.sessions) {
      if (session.state === 'leased') takeDownPaced(this, session);
    }
  }

  #take(step: Step, now: number): void {
    const { waiters, idle } = this.ledger;
    switch (step) {
      case 'refuse':
        return refuse(this, present(waiters.first), this.#closedWith, 'pool-closed');
      case 'fail-fast':
        return refuse(this, present(waiters.last), this.#opener.refusal(now), 'circuit-open');
      case 'grant-spare':
      case 'grant-idle':
        return this.#lendTo(present(waiters.first), step, now);
      case 'probe':
        return probe(this, present(idle.last), now);
      case 'retire-newest':
        return this.#retire(present(idle.last), now);
      case 'retire-oldest':
        return this.#retire(present(idle.first), now);
      case 'open':
        this.#hasOpened = true;
        return this.#opener.start(now);
      default:
        return step satisfies never;
    }
  }

  #lendNow(step: GrantStep, request: AcquireRequest, now: number): Promise<Lease<C>> {
    const lease = lend(this, step, request, { since: now, now });
    if (!(lease instanceof OpenError)) return Promise.resolve(lease);
    this.advance();
    return Promise.reject(lease);
  }

  #lendTo(waiter: Waiter<C>, step: GrantStep, now: number): void {
    // Order: off the queue before foreign code runs, so that its abort can't settle it twice.
    this.ledger.dequeue(waiter);
    const lease = lend(this, step, waiter.request, { since: waiter.since, now });
    if (lease instanceof OpenError) waiter.reject(lease);
    else waiter.resolve(lease);
  }

  /** A session without leases goes to who waits, in this turn, or becomes idle. */
  #passOn(session: Session<C>, now: number): void {
    if (this.ledger.waiters.size > 0 && now < session.expiresAt && !session.suspect) {
      if (this.host.room.owes(this)) this.takeDown(session, 'evicted');
      else this.ledger.offer(session);
      this.advance(now);
    }
    if (session.state !== 'leased' || session.leaseCount > 0) return;
    this.ledger.move(session, 'leased', 'idle', now);
    this.upkeep.sawIdle(session);
    this.advance(now);
  }

  #retire(session: Session<C>, now: number): void {
    this.takeDown(session, session.retireReason ?? retirementOf(session, this, now) ?? 'retired');
  }

  #gone(session: Session<C>, reason: RetireReason, outcome: TeardownOutcome): void {
    this.ledger.move(session, 'closing', 'gone', this.host.clock.now());
    session.connection = undefined;
    this.report.ended(reason, outcome);
    this.host.sessionEnded(outcome);
    this.advance();
  }
}
