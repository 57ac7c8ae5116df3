// One random walk over a pool: seeded operations, and after each the invariants I1-I9 of design
// section 4, told from `stats()` and from what the fakes have seen. Used by `random-walk.test.ts`.

import {
  type FakeClient,
  type FakeSession,
  gatedConnector,
  ManualClock,
} from 'mcp-session-pool/testing';
import { expect } from 'vitest';
import { SessionPoolError } from '../../src/errors.ts';
import type { PoolEvent } from '../../src/observe/events.ts';
import { SessionPool } from '../../src/session-pool.ts';
import { CountedController } from './counted-signal.ts';
import { runMicrotasks } from './microtasks.ts';
import { type FakeLease, watch } from './pool-fixture.ts';
import { Dice } from './random.ts';
import { type Asked, type Group, gatesOf, groupsOf, openErrorOf, WalkBooks } from './walk-books.ts';

const OPERATIONS = {
  acquire: 30,
  abort: 6,
  advance: 14,
  release: 16,
  releaseTwice: 5,
  discard: 4,
  retire: 3,
  openGate: 10,
  lose: 4,
  wear: 3,
  throttle: 1,
  use: 4,
  warm: 4,
} as const;
type Operation = keyof typeof OPERATIONS;

const MAX_WAITERS = 4;
const CLOSE_TIMEOUT_MS = 400;
const PROBE_TIMEOUT_MS = 200;
/** What a close may take beyond its bounds, for what ends at the very deadline. */
const GRACE_MS = 10;
const CONNECT_TIMEOUT_MS = 300;

interface Held {
  readonly group: Group;
  readonly lease: FakeLease;
}

export class PoolWalk {
  readonly #dice: Dice;
  readonly #clock = new ManualClock();
  readonly #connector = gatedConnector({ clock: this.#clock });
  readonly #pool: SessionPool<FakeClient>;
  readonly #books: WalkBooks;
  readonly #groups: readonly Group[];
  readonly #asked: Asked[] = [];
  #askedCount = 0;
  /** What went wrong where nobody was listening. */
  #trouble: string | undefined;
  readonly #held: Held[] = [];
  readonly #ended: FakeLease[] = [];
  readonly #controllers: CountedController[] = [];
  /** What happened, for the message of a failure. */
  readonly trace: string[] = [];
  #isPrimed = false;
  #isSettled = true;
  #isClosing = false;
  #granted = 0;
  #retires = 0;

  constructor(seed: number) {
    const dice = new Dice(seed);
    this.#dice = dice;
    const limits = {
      maxSessions: dice.between(2, 6),
      maxOpening: dice.between(1, 3),
      maxWaiters: MAX_WAITERS,
      closeTimeoutMs: CLOSE_TIMEOUT_MS,
      probeTimeoutMs: PROBE_TIMEOUT_MS,
    };
    this.#books = new WalkBooks(this.#clock, limits);
    const maxSessionsPerKey = dice.between(1, 3);
    const leasesPerSession = dice.of([1, 1, 2]);
    this.#groups = groupsOf(maxSessionsPerKey, leasesPerSession);
    this.#connector.gates = () => {
      this.#connector.openError = openErrorOf(dice);
      return gatesOf(dice);
    };
    this.#connector.onOpen = (session) => this.#books.unfinished.push(session);
    const breaker = dice.of([
      false as const,
      { failureThreshold: dice.between(1, 4), resetAfterMs: dice.of([1, 100, 1_000]) },
      { failureThreshold: dice.between(1, 2), resetAfterMs: dice.of([300, 5_000]) },
    ]);
    this.#connector.onLend = () => this.#reenter();
    this.#connector.onGiveBack = () => this.#reenter();
    this.#connector.onFence = () => this.#reenter();
    this.#pool = new SessionPool<FakeClient>(
      {
        connector: this.#connector.connect,
        onEvent: (event) => this.#hear(event),
        breaker,
        maxSessionsPerKey,
        leasesPerSession,
        maxSessions: limits.maxSessions,
        maxOpeningPerKey: limits.maxOpening,
        maxWaitersPerKey: MAX_WAITERS,
        acquireTimeoutMs: dice.of([150, 600, 2_000]),
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
        closeTimeoutMs: CLOSE_TIMEOUT_MS,
        probeTimeoutMs: PROBE_TIMEOUT_MS,
        idleTimeoutMs: dice.of([500, 2_000, Number.POSITIVE_INFINITY]),
        affinityIdleTimeoutMs: dice.of([800, 3_000]),
        maxLifetimeMs: dice.of([1_000, 5_000, Number.POSITIVE_INFINITY]),
        probeAfterIdleMs: dice.of([0, 100, 1_000]),
        keepAliveMs: dice.of([1_000, Number.POSITIVE_INFINITY]),
        maxLeaseMs: dice.of([700, Number.POSITIVE_INFINITY]),
        leakWarningMs: dice.of([300, Number.POSITIVE_INFINITY]),
      },
      { clock: this.#clock, random: dice.next },
    );
  }

  async run(steps: number): Promise<void> {
    await this.#learnKeys();
    for (let step = 0; step < steps; step += 1) {
      const operation = this.#dice.weighted(OPERATIONS);
      this.trace.push(`${step} @${this.#clock.now()} ${operation}`);
      await this.#do(operation);
      this.#check();
    }
    await this.#close();
  }

  /** Which opaque key is whose. Leaves an open for every key under way that nobody waits for. */
  async #learnKeys(): Promise<void> {
    for (const group of this.#groups) {
      const controller = new AbortController();
      watch(this.#pool.acquire(this.#books.targetOf(group), { signal: controller.signal }));
      for (const { key } of this.#pool.stats({ perKey: true }).perKey ?? []) {
        if (!this.#books.groupOfKey.has(key)) this.#books.groupOfKey.set(key, group);
      }
      controller.abort();
    }
    await runMicrotasks(this.#dice.between(0, 20));
    this.#isPrimed = true;
  }

  async #do(operation: Operation): Promise<void> {
    this.#act(operation);
    // The turn's own end is checked too: what is promised holds without any microtask.
    if (!this.#isClosing) this.#books.checkCounts(this.#pool.stats({ perKey: true }));
    this.#isSettled = operation === 'advance' || !this.#dice.chance(0.3);
    if (operation === 'advance') {
      await this.#clock.advance(this.#dice.of([1, 10, 50, 100, 300, 1_000, 3_000]));
    } else if (this.#isSettled) await this.#clock.settle();
    else await runMicrotasks(this.#dice.between(0, 12));
  }

  #act(operation: Operation): void {
    const dice = this.#dice;
    switch (operation) {
      case 'acquire':
        return this.#acquire();
      case 'use':
        return this.#use();
      case 'warm':
        return this.#warm();
      case 'abort':
        return this.#abort();
      case 'release':
        return this.#end((lease) => lease.release());
      case 'releaseTwice':
        return this.#ended.length > 0 && dice.chance(0.5)
          ? dice.of(this.#ended).release()
          : this.#end((lease) => {
              lease.release();
              lease.discard();
            });
      case 'discard':
        return this.#end((lease) => lease.discard());
      case 'retire':
        return this.#retire();
      case 'openGate':
        return void dice.maybeOf(this.#holding())?.let(dice.chance(0.7) ? 'ok' : 'fails');
      case 'lose':
        return dice.maybeOf(this.#connector.live)?.lost.abort(new Error('the peer is gone'));
      case 'wear':
        return dice.maybeOf(this.#connector.live)?.context.worn?.();
      case 'throttle':
        return dice.maybeOf(this.#connector.live)?.context.throttled?.(dice.of([0, 100, 1_000]));
      case 'advance':
        return undefined;
      default:
        return operation satisfies never;
    }
  }

  #acquire(isNested = false): void {
    const dice = this.#dice;
    const group = dice.of(this.#groups);
    const controller = dice.chance(0.4) ? new CountedController() : undefined;
    if (controller !== undefined) this.#controllers.push(controller);
    // One that foreign code asks for in the middle of another's turn has no place in the order.
    const order = isNested ? Number.NaN : this.#askedCount;
    this.#askedCount += 1;
    const promise = this.#pool.acquire(this.#books.targetOf(group), {
      signal: controller?.signal,
      ...(dice.chance(0.2) && { timeoutMs: dice.of([20, 100]) }),
    });
    this.trace.push(`  ${group.name}`);
    const asked = { group, outcome: watch(promise), controller, order };
    this.#asked.push(asked);
    this.#books.unsettled.push(asked);
    promise.then(
      (lease) => this.#grant(asked, lease),
      (error: unknown) => this.#refuse(error),
    );
  }

  /** Invariants I3 and I8, and the order of grants (P5). */
  #grant({ group, order }: Asked, lease: FakeLease): void {
    this.#granted += 1;
    const waitsLonger = this.#books.unsettled.find(
      (each) => each.group === group && each.order < order && each.outcome.state === 'pending',
    );
    if (waitsLonger !== undefined)
      this.#fail(`P5: ${group.name} ${order} overtakes ${waitsLonger.order}`);
    this.#held.push({ group, lease });
    // A lease may have ended before its borrower's turn came; then there is no client to see.
    if (lease.endReason !== undefined) return;
    const { session } = lease.client;
    if (this.#books.groupOfTarget.get(session.target) !== group) {
      this.#fail(`I8: ${group.name} got ${session.id}`);
    }
  }

  /** Whatever is refused is refused for a reason of the world's, never for a bug of the pool's. */
  #refuse(error: unknown): void {
    const isOurs = SessionPoolError.is(error) || String(error).includes('the caller gives up');
    if (!isOurs) this.#fail(`refused with ${String(error)}`);
  }

  #use(): void {
    const controller = new CountedController();
    this.#controllers.push(controller);
    const group = this.#dice.of(this.#groups);
    const work = this.#dice.of([
      () => 'done',
      () => Promise.reject(new Error('the work fails')),
      () => new Promise((resolve) => this.#clock.later(200, () => resolve('done'))),
    ]);
    const outcome = watch(
      this.#pool.use(this.#books.targetOf(group), work, { signal: controller.signal }),
    );
    if (this.#dice.chance(0.5)) this.#clock.later(100, () => controller.abort());
    this.trace.push(`  ${group.name} ${outcome.state}`);
  }

  #warm(): void {
    const dice = this.#dice;
    const group = dice.of(this.#groups);
    const count = dice.between(1, 4);
    const controller = dice.chance(0.4) ? new CountedController() : undefined;
    if (controller !== undefined) this.#controllers.push(controller);
    const target = this.#books.targetOf(group);
    const promise = this.#pool.warm(target, count, { signal: controller?.signal });
    this.trace.push(`  ${group.name} ${count}`);
    this.#books.warms.push({ group, outcome: watch(promise), controller });
    const retiresBefore = this.#retires;
    promise.then(
      ({ sessions, opened }) => {
        // What is retired meanwhile is opened anew.
        const maxOpened = count * (1 + this.#retires - retiresBefore);
        if (sessions <= group.maxSessions && opened <= maxOpened) return;
        this.#fail(`a warm of ${count} ${group.name} opened ${opened} to ${sessions}`);
      },
      (error: unknown) => this.#refuse(error),
    );
  }

  #abort(): void {
    const waiting = [...this.#books.unsettled, ...this.#books.warms].filter(
      ({ controller, outcome }) => controller !== undefined && outcome.state === 'pending',
    );
    this.#dice.maybeOf(waiting)?.controller?.abort(new Error('the caller gives up'));
  }

  #end(how: (lease: FakeLease) => void): void {
    const held = this.#dice.maybeOf(this.#held);
    if (held === undefined) return;
    this.#held.splice(this.#held.indexOf(held), 1);
    how(held.lease);
    this.#ended.push(held.lease);
  }

  #retire(): void {
    this.#retires += 1;
    const dice = this.#dice;
    const options = { leased: dice.chance(0.4) ? ('now' as const) : ('when-released' as const) };
    const { url } = dice.of(this.#groups).target();
    if (dice.chance(0.5)) this.#pool.retire({ url }, options);
    else this.#pool.retire(({ ageMs, leases }) => ageMs > 200 || leases > 1, options);
  }

  /** Foreign code that comes back into the pool in the middle of a turn. */
  #reenter(): void {
    const dice = this.#dice;
    if (!this.#isPrimed || !dice.chance(0.05)) return;
    this.trace.push('  re-enters');
    const what = dice.between(0, 4);
    if (what === 0) this.#acquire(true);
    else if (what === 4) this.#warm();
    else if (what === 1) this.#end((lease) => lease.release());
    else if (what === 2) this.#retire();
    else this.#abort();
  }

  #hear(event: PoolEvent): void {
    this.#books.hear(event);
    if (this.#dice.chance(0.02)) throw new Error('the sink throws');
  }

  #holding(): FakeSession[] {
    return this.#connector.sessions.filter(({ heldCalls }) => heldCalls.length > 0);
  }

  #check(): void {
    this.#books.check(this.#pool, this.#isSettled && !this.#isClosing);
    if (this.#trouble !== undefined) throw new Error(this.#trouble);
  }

  async #close(): Promise<void> {
    const dice = this.#dice;
    const drainTimeoutMs = dice.of([0, 0, 300, 1_000]);
    const controller = new CountedController();
    this.#controllers.push(controller);
    this.trace.push(`close, drain ${drainTimeoutMs}`);
    this.#isClosing = true;
    const startedAt = this.#clock.now();
    const closing = watch(this.#pool.close({ drainTimeoutMs, signal: controller.signal }));
    await this.#refusesAcquires();
    for (let step = 0; step < 6; step += 1) {
      const what = dice.between(0, 4);
      if (what === 0) this.#end((lease) => lease.release());
      else if (what === 1) await this.#clock.advance(50);
      else if (what === 2) watch(this.#pool.close({ drainTimeoutMs: 100 }));
      else if (what === 3 && dice.chance(0.3)) controller.abort();
      else void dice.maybeOf(this.#holding())?.let('ok');
      this.#check();
    }
    await this.#clock.advance(
      startedAt + drainTimeoutMs + CLOSE_TIMEOUT_MS + GRACE_MS - this.#clock.now(),
    );
    expect(closing.state).toBe('fulfilled');
    expect(closing.got.sessions).toBe(closing.got.closed + closing.got.abandoned);
    expect(controller.listenerCount).toBe(0);
    this.#check();
    await this.#expectNothingLeft();
  }

  async #refusesAcquires(): Promise<void> {
    const [group] = this.#groups;
    const refused = watch(this.#pool.acquire((group as Group).target()));
    await runMicrotasks(3);
    expect(refused.code).toBe('POOL_CLOSED');
  }

  /** Invariants I5, I6 and I7, once the last late session has had its time. */
  async #expectNothingLeft(): Promise<void> {
    // At the end, everything is looked at once more, what was over long ago as well.
    this.#books.unfinished = [...this.#connector.sessions];
    for (const session of this.#holding()) session.let('ok');
    await this.#clock.advance(2 * (CLOSE_TIMEOUT_MS + CONNECT_TIMEOUT_MS));
    this.#check();
    const stats = this.#pool.stats();
    expect(stats.sessions).toEqual({ opening: 0, probing: 0, idle: 0, leased: 0, closing: 0 });
    expect(stats.waiting).toBe(0);
    expect(stats.keys).toBe(0);
    expect(this.#clock.pendingCount).toBe(0);
    expect(this.#clock.signalListeners).toBe(0);
    for (const controller of this.#controllers) expect(controller.listenerCount).toBe(0);
    for (const { outcome } of this.#asked) expect(outcome.state).not.toBe('pending');
    expect(this.#books.warms).toEqual([]);
    const delivered = this.#connector.sessions.filter((each) => each.deliveredAt !== undefined);
    for (const session of delivered) {
      for (const name of ['clientClose', 'transportClose', 'sever'] as const) {
        expect([session.id, name, session.count(name)]).toEqual([session.id, name, 1]);
      }
      expect(session.liveLeases).toBe(0);
    }
    expect(stats.totals.closed + stats.totals.abandoned).toBe(delivered.length);
    expect(stats.totals.acquired).toBeGreaterThanOrEqual(this.#granted);
  }

  #fail(message: string): void {
    this.#trouble ??= message;
  }
}
