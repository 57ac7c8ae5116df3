// What a random walk knows of its pool beside `stats()`, and the invariants I1-I7 as checks over it.
// I8 and the order of grants are checked by the walk itself, where leases arrive.

import type { FakeClient, FakeSession, Gates, ManualClock } from 'mcp-session-pool/testing';
import type { PoolEvent } from '../../src/observe/events.ts';
import type { KeyStats, PoolStats } from '../../src/observe/metrics.ts';
import type { SessionPool } from '../../src/session-pool.ts';
import type { HttpTarget, SessionTarget } from '../../src/target.ts';
import type { CountedController } from './counted-signal.ts';
import type { FakeLease, Outcome } from './pool-fixture.ts';
import type { Dice } from './random.ts';

/** One key of the walk: how its targets look, and what is promised for it. */
export interface Group {
  readonly name: string;
  readonly target: () => HttpTarget;
  readonly leasesPerSession: number;
  readonly maxSessions: number;
  readonly isAffine: boolean;
}

export interface Asked {
  readonly group: Group;
  readonly outcome: Outcome<FakeLease>;
  readonly controller: CountedController | undefined;
  /** Place among all acquires. */
  readonly order: number;
}

/** One call of `warm`. */
export interface Warmed {
  readonly group: Group;
  readonly outcome: Outcome<unknown>;
  readonly controller: CountedController | undefined;
}

/** Bounds that the walk's pool was given. */
interface Limits {
  readonly maxSessions: number;
  readonly maxOpening: number;
  readonly maxWaiters: number;
  readonly closeTimeoutMs: number;
  readonly probeTimeoutMs: number;
}

const PEER_CALLS = ['fence', 'terminate', 'clientClose', 'transportClose', 'sever'] as const;
/** No key backs off for longer after a failed open. */
const MAX_BACKOFF_MS = 5_000;

/** Keys of every kind: plain, two identities of one server, other headers, affinity, shared. */
export function groupsOf(maxSessions: number, leasesPerSession: number): Group[] {
  const plain = { leasesPerSession, maxSessions, isAffine: false };
  const url = 'https://one.example/mcp';
  return [
    { name: 'plain', target: () => ({ url }), ...plain },
    { name: 'ada', target: () => ({ url, identity: 'ada' }), ...plain },
    { name: 'bob', target: () => ({ url, identity: 'bob' }), ...plain },
    { name: 'token', target: () => ({ url, headers: { authorization: 'x' } }), ...plain },
    {
      name: 'affine',
      target: () => ({ url, identity: 'ada', affinity: 'downstream' }),
      leasesPerSession: Number.POSITIVE_INFINITY,
      maxSessions: 1,
      isAffine: true,
    },
    {
      name: 'shared',
      target: () => ({ url: 'https://two.example/mcp', leasesPerSession: 3 }),
      leasesPerSession: 3,
      maxSessions,
      isAffine: false,
    },
  ];
}

/** What the next open fails with, if it fails. */
export function openErrorOf(dice: Dice): Error | undefined {
  const what = dice.weighted({ plain: 5, unauthorized: 1, throttled: 1 } as const);
  if (what === 'plain') return undefined;
  const refusal = what === 'unauthorized' ? { status: 401 } : { status: 429, retryAfterMs: 200 };
  return Object.assign(new Error('the peer refuses'), refusal);
}

/** What the next peer does, by chance. */
export function gatesOf(dice: Dice): Partial<Gates> {
  const answer = () =>
    dice.weighted({ ok: 12, fails: 2, throws: 2, slow: 2, held: 2, never: 1 } as const);
  return {
    open: answer(),
    probe: answer(),
    terminate: answer(),
    clientClose: answer(),
    transportClose: answer(),
    fence: dice.weighted({ ok: 9, throws: 1, 'throws-nothing': 1 } as const),
    sever: dice.weighted({ ok: 9, throws: 1 } as const),
    lend: dice.weighted({ ok: 14, throws: 1 } as const),
    giveBack: dice.weighted({ clean: 8, tainted: 1, throws: 1 } as const),
    slowMs: dice.of([30, 150, 350]),
  };
}

export class WalkBooks {
  readonly groupOfKey: Map<string, Group> = new Map<string, Group>();
  readonly groupOfTarget: WeakMap<SessionTarget, Group> = new WeakMap<SessionTarget, Group>();
  /** Sessions and acquires that can still change: what is over was checked when it ended. */
  unfinished: FakeSession[] = [];
  unsettled: Asked[] = [];
  warms: Warmed[] = [];
  /** What the events have told of circuits, by whom they hold back. */
  readonly #circuits = new Map<string, { state: 'open' | 'half-open'; retryAt: number }>();
  /** When an open of a key failed last, and how many did: from the events. */
  readonly #failedAt = new Map<string, number>();
  #openFailures = 0;
  readonly #clock: ManualClock;
  readonly #limits: Limits;

  constructor(clock: ManualClock, limits: Limits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  hear(event: PoolEvent): void {
    if ('scope' in event) this.#hearOfCircuit(event);
    if (event.type !== 'session-open-failed') return;
    this.#openFailures += 1;
    this.#failedAt.set(event.key, this.#clock.now());
  }

  #hearOfCircuit(event: Extract<PoolEvent, { scope: unknown }>): void {
    const group = this.groupOfKey.get(event.key);
    const who = event.scope === 'endpoint' ? event.server : String(group && callerOf(group));
    if (event.type === 'circuit-closed') this.#circuits.delete(who);
    else if (event.type === 'circuit-half-opened') {
      this.#circuits.set(who, { state: 'half-open', retryAt: Number.POSITIVE_INFINITY });
    } else {
      const retryAt = this.#clock.now() + event.retryAfterMs;
      this.#circuits.set(who, { state: 'open', retryAt });
    }
  }

  targetOf(group: Group): HttpTarget {
    const target = group.target();
    this.groupOfTarget.set(target, group);
    return target;
  }

  /** `isSettled`: no microtask is pending, and none of the pool's own timers of before. */
  check(pool: SessionPool<FakeClient>, isSettled: boolean): void {
    const stats = pool.stats({ perKey: true });
    this.checkCounts(stats);
    try {
      this.#checkNobodySleeps(stats);
    } catch (error) {
      const rows = stats.perKey?.map((row) => `${this.#groupOf(row).name} ${countsOf(row)}`);
      throw new Error(`${(error as Error).message}: ${rows?.join('; ')}`, { cause: error });
    }
    this.#checkSessions();
    this.#checkSignals(stats, isSettled);
    this.#checkWarms(stats, isSettled);
  }

  /** Invariants I1 and I2. */
  checkCounts(stats: PoolStats): void {
    const rows = stats.perKey ?? [];
    const sums = { opening: 0, probing: 0, idle: 0, leased: 0, closing: 0 };
    for (const row of rows) {
      const group = this.#groupOf(row);
      for (const state of Object.keys(sums) as (keyof typeof sums)[]) {
        if (row.sessions[state] < 0) fail(`I1: ${group.name} has ${row.sessions[state]} ${state}`);
        sums[state] += row.sessions[state];
      }
      if (totalOf(row) > group.maxSessions) fail(`I1: ${group.name} has ${totalOf(row)}`);
      if (row.sessions.opening > this.#limits.maxOpening) fail(`I1: ${group.name} opens too many`);
      if (row.waiting > this.#limits.maxWaiters)
        fail(`I2: ${group.name} has ${row.waiting} waiters`);
    }
    const total = Object.values(stats.sessions).reduce((sum, count) => sum + count, 0);
    if (total > this.#limits.maxSessions)
      fail(`I2: ${total} of ${this.#limits.maxSessions} sessions`);
    if (JSON.stringify(sums) !== JSON.stringify(pick(stats.sessions))) fail('I2: sums differ');
  }

  /** Invariant I4: nobody waits beside a session, beside room to open one, or beside an evictable one. */
  #checkNobodySleeps(stats: PoolStats): void {
    const { perKey = [], sessions, totals } = stats;
    // A failed open or a circuit whose event is still under way.
    if (totals.openFailed > this.#openFailures || !this.#knowsCircuits(stats)) return;
    const total = Object.values(sessions).reduce((sum, count) => sum + count, 0);
    let wanted = 0;
    for (const row of perKey) {
      if (row.waiting === 0) continue;
      const group = this.#groupOf(row);
      const { opening, probing, idle } = row.sessions;
      const missing = Math.ceil(row.waiting / group.leasesPerSession) - opening - probing;
      const circuit = this.#circuitOf(group);
      if (circuit === 'shut' && missing > 0 && row.sessions.leased === 0) {
        fail(`I4: ${group.name} waits beside an open circuit`);
      }
      const hasRoom = total < this.#limits.maxSessions && totalOf(row) < group.maxSessions;
      // A trial waits, too, until no more are being opened than may be.
      const mayOpen = hasRoom && opening < this.#limits.maxOpening;
      if (circuit === 'due' && missing > 0 && mayOpen && idle === 0) {
        fail(`I4: ${group.name} waits for a trial that is due`);
      }
      if (circuit !== 'closed') continue;
      if (missing <= 0 || this.#isBackingOff(row.key)) continue;
      if (idle > 0) fail(`I4: ${group.name} waits beside an idle session`);
      wanted += Math.max(
        0,
        Math.min(missing, group.maxSessions - totalOf(row), this.#limits.maxOpening - opening),
      );
    }
    if (wanted === 0) return;
    if (total < this.#limits.maxSessions) fail(`I4: ${wanted} wanted beside ${total} sessions`);
    const evictable = perKey.some((row) => row.sessions.idle > 0 && !this.#groupOf(row).isAffine);
    if (evictable && sessions.closing < wanted) fail('I4: a key sleeps beside an idle session');
  }

  #knowsCircuits({ circuits }: PoolStats): boolean {
    const states = Array.from(this.#circuits.values(), ({ state }) => state);
    const count = (wanted: string): number => states.filter((state) => state === wanted).length;
    return count('open') === circuits.open && count('half-open') === circuits.halfOpen;
  }

  /** `unsure`: a pause may have been made longer, of which no event tells. */
  #circuitOf(group: Group): 'closed' | 'shut' | 'due' | 'unsure' {
    const now = this.#clock.now();
    const endpoint = this.#circuits.get(new URL(group.target().url).origin);
    const caller = this.#circuits.get(callerOf(group));
    if (endpoint === undefined && caller === undefined) return 'closed';
    const isShut = [endpoint, caller].some(
      (each) => each?.state === 'half-open' || (each !== undefined && now < each.retryAt),
    );
    if (isShut) return 'shut';
    // Who waits for a trial is woken for it, to the millisecond.
    const isDue = endpoint !== undefined && endpoint.retryAt + 1 < now;
    return isDue && caller === undefined ? 'due' : 'unsure';
  }

  /** Whether the key may be waiting after a failed open, which only the events tell by key. */
  #isBackingOff(key: string): boolean {
    const failedAt = this.#failedAt.get(key);
    return failedAt !== undefined && this.#clock.now() - failedAt <= MAX_BACKOFF_MS;
  }

  /** Invariants I3 and I6. */
  #checkSessions(): void {
    for (const session of this.unfinished) {
      if (session.deliveredAt === undefined) continue;
      const group = this.groupOfTarget.get(session.target);
      if (session.liveLeases > (group?.leasesPerSession ?? 0)) {
        fail(`I3: ${session.id} has ${session.liveLeases} leases`);
      }
      let before = -1;
      for (const name of PEER_CALLS) {
        const calls = session.calls.filter((call) => call.name === name);
        if (calls.length > 1) fail(`I6: ${name} of ${session.id} called ${calls.length} times`);
        const [call] = calls;
        if (call === undefined) continue;
        if (call.order < before) fail(`I6: ${name} of ${session.id} called too early`);
        before = call.order;
      }
      const [from, to] = [session.at('fence'), session.at('sever') ?? this.#clock.now()];
      if (from !== undefined && to - from > this.#limits.closeTimeoutMs)
        fail(`I6: ${session.id} is late`);
    }
    this.unfinished = this.unfinished.filter((session) => session.count('sever') === 0);
  }

  /** Invariant I5: who waits has one listener and a timer that keeps the process alive. */
  #checkSignals({ waiting, sessions, unsettled }: PoolStats, isSettled: boolean): void {
    for (const { outcome, controller } of this.unsettled) {
      const count = controller?.listenerCount ?? 0;
      if (count > (outcome.state === 'pending' ? 1 : 0)) fail(`I5: ${count} listeners are left`);
    }
    this.unsettled = this.unsettled.filter(({ outcome }) => outcome.state === 'pending');
    const { opening, probing, closing } = sessions;
    const warming = this.warms.filter(({ outcome }) => outcome.state === 'pending').length;
    const isBusy = waiting + warming + opening + probing + closing + unsettled > 0;
    const { referencedCount } = this.#clock;
    if (warming > 0 && isSettled && referencedCount === 0) fail('I5: nothing wakes who warms');
    if (waiting > 0 && referencedCount === 0) fail('I5: nothing wakes those who wait');
    if (!isBusy && isSettled && referencedCount > 0 && !this.#isAsking()) {
      fail(`I7: ${referencedCount} timers keep an idle pool's process alive`);
    }
  }

  /** Whoever warms waits for something that comes, and leaves no listener. */
  #checkWarms({ perKey = [] }: PoolStats, isSettled: boolean): void {
    for (const { outcome, controller } of this.warms) {
      const count = controller?.listenerCount ?? 0;
      if (count > (outcome.state === 'pending' ? 1 : 0)) fail(`a warm leaves ${count} listeners`);
    }
    this.warms = this.warms.filter(({ outcome }) => outcome.state === 'pending');
    for (const { group } of isSettled ? this.warms : []) {
      const row = perKey.find((each) => this.#groupOf(each) === group);
      if (row === undefined) fail(`a warm of ${group.name} is forgotten`);
      const comes = row.sessions.opening + row.sessions.closing;
      if (comes === 0 && !this.#isBackingOff(row.key)) fail(`a warm of ${group.name} sleeps`);
    }
  }

  /** Whether a session may be probed while it is leased, which no count tells. */
  #isAsking(): boolean {
    const { probeTimeoutMs } = this.#limits;
    return this.unfinished.some(({ calls }) =>
      calls.some(({ name, at }) => name === 'probe' && this.#clock.now() - at <= probeTimeoutMs),
    );
  }

  #groupOf(row: KeyStats): Group {
    const group = this.groupOfKey.get(row.key);
    if (group === undefined) throw new Error('a key that nobody asked for');
    return group;
  }
}

function fail(message: string): never {
  throw new Error(message);
}

const countsOf = ({ sessions, waiting }: KeyStats): string =>
  Object.entries({ ...sessions, waiting })
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${state}`)
    .join(', ');

/** Keys of one server and one identity share a circuit. */
const callerOf = ({ name }: Group): string => (name === 'affine' ? 'ada' : name);

const totalOf = ({ sessions }: Pick<KeyStats, 'sessions'>): number =>
  Object.values(sessions).reduce((sum, count) => sum + count, 0);

const pick = ({ opening, probing, idle, leased, closing }: PoolStats['sessions']): object => ({
  opening,
  probing,
  idle,
  leased,
  closing,
});
