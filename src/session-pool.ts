// The facade: from a target to its key, from the key to its sub-pool; what is pool-wide (caps, the
// one timer, closing) and nothing of what goes on inside a key.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { AbortFanout } from './abort-fanout.ts';
import { type AcquireOptions, acquireRequest } from './acquire-request.ts';
import { Breakers } from './breakers.ts';
import { type Clock, systemClock } from './clock.ts';
import { type CloseOptions, type CloseReport, Closing, checkCloseOptions } from './closing.ts';
import type { Connector } from './connect/connector.ts';
import { createDefaultConnector } from './connect/default-connector.ts';
import { PoolClosedError, PoolSaturatedError } from './errors.ts';
import { KeepAlive } from './keep-alive.ts';
import { KeyMaker, type TargetKey } from './key-maker.ts';
import type { Lease } from './lease.ts';
import { KeyReporter } from './observe/key-reporter.ts';
import { defaultLogger } from './observe/log.ts';
import { noTotals, type PoolStats } from './observe/metrics.ts';
import { Outbox } from './observe/outbox.ts';
import { TroubleReporter } from './observe/trouble-reporter.ts';
import { resolveOptions, type SessionPoolOptions } from './options.ts';
import { noCounts, sessionCount } from './policy/ledger.ts';
import type { KeyId } from './policy/session-key.ts';
import type { PoolHost } from './pool-host.ts';
import { PoolRoom } from './pool-room.ts';
import { poolStats } from './pool-stats.ts';
import { PoolTimer } from './pool-timer.ts';
import { checkRetireFilter, planRetire, type RetireFilter, type RetireOptions } from './retire.ts';
import { SubPool } from './sub-pool.ts';
import type { SessionTarget } from './target.ts';
import { TeardownCrew } from './teardown-crew.ts';
import { type UseOptions, useLease } from './use.ts';
import { type WarmOptions, type WarmReport, warmRequest } from './warm.ts';

/** What a test puts in place of time and chance. */
export interface SessionPoolEnvironment {
  /** Default: the process's own. */
  readonly clock?: Clock;
  /** In [0, 1). Default: `Math.random`. */
  readonly random?: () => number;
}

/**
 * Keeps MCP client sessions warm and lends them out, keyed by server and caller. Closes each
 * session within one deadline, whatever the peer does.
 *
 * @example
 * ```ts
 * const pool = new SessionPool({ clientInfo: { name: 'my-gateway', version: '1.0.0' } });
 * const target = { url: 'https://tools.example/mcp', identity: user.id };
 * const { tools } = await pool.use(target, (client) => client.listTools());
 * await pool.close();
 * ```
 */
export class SessionPool<C = Client> {
  readonly #host: PoolHost<C>;
  readonly #keyMaker: KeyMaker;
  readonly #subPools = new Map<KeyId, SubPool<C>>();
  readonly #timer: PoolTimer;
  #closing: Closing | undefined;

  /**
   * @param options All optional; see `SessionPoolOptions`.
   * @param environment Time and chance, for tests.
   * @throws TypeError for an unknown option or a value of the wrong type, RangeError for one out of
   * bounds.
   */
  constructor(options: SessionPoolOptions<C> = {}, environment: SessionPoolEnvironment = {}) {
    const resolved = resolveOptions(options);
    const { clock = systemClock, random = Math.random } = environment;
    const logger = resolved.logger ?? defaultLogger(process.env['MCP_SESSION_POOL_LOG']);
    const counts = noCounts();
    const totals = noTotals();
    const outbox = new Outbox(clock, resolved.onEvent, logger);
    const serverOf = (label: string): string => this.#serverOf(label);
    const troubles = new TroubleReporter({ clock, totals, outbox, serverOf });
    this.#keyMaker = new KeyMaker(resolved);
    this.#timer = new PoolTimer(clock, (now) => this.#tick(now));
    this.#host = {
      clock,
      random,
      options: resolved,
      // The built-in ones make SDK clients, which is what `C` is unless a connector says else.
      connector:
        resolved.connector ??
        (createDefaultConnector({
          dispatcher: resolved.dispatcher,
          connectTimeoutMs: resolved.connectTimeoutMs,
          onStreamSlowed: (key, waitMs) =>
            outbox.emit({ type: 'stream-slowed', key, server: serverOf(key), waitMs }),
        }) as Connector<never>),
      counts,
      totals,
      aborts: new AbortFanout(),
      outbox,
      troubles,
      crew: new TeardownCrew(clock, resolved.closeTimeoutMs),
      breakers: Breakers.of(resolved, random, (at) => this.#timer.lower(at)),
      room: new PoolRoom(resolved.maxSessions, counts, () => this.#subPools.values()),
      keepAlive: new KeepAlive((at) => this.#timer.lower(at)),
      loose: 0,
      warming: 0,
      isDueAt: (at) => this.#timer.lower(at),
      turnEnded: (subPool) => this.#turnEnded(subPool as SubPool<C> | undefined),
      sessionEnded: (outcome) => this.#closing?.sessionEnded(outcome),
    };
  }

  /**
   * Lends a session for `target`. The wait is bounded by `timeoutMs` or `acquireTimeoutMs`, from
   * this call; whoever asked first for a key is served first.
   *
   * @throws (rejects) `POOL_CLOSED`, `POOL_SATURATED`, `ACQUIRE_TIMEOUT`, `OPEN_FAILED`,
   * `CIRCUIT_OPEN`, `IDENTITY_REQUIRED`; TypeError or RangeError for bad input; the signal's reason
   * when aborted.
   */
  acquire(target: SessionTarget, options?: AcquireOptions): Promise<Lease<C>> {
    try {
      if (this.#closing !== undefined) {
        this.#host.totals.refused += 1;
        throw new PoolClosedError();
      }
      const request = acquireRequest(target, options, this.#host.options);
      const key = this.#keyMaker.keyOf(target);
      if (request.signal?.aborted === true) {
        this.#reporter(key).rejected('aborted', 0);
        return Promise.reject(request.signal.reason);
      }
      return this.#subPool(key).acquire(request);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Runs `work` with a lease and ends the lease, however `work` ends. What `work` throws passes
   * through untouched. When `options.signal` aborts, rejects at once with its reason: calls in
   * flight are cancelled and the lease ends, whether `work` notices or not.
   *
   * `work` runs a second time, once, when its session was lost and nothing that it sent can have
   * been executed; see `UseOptions.replay`.
   *
   * @throws (rejects) as `acquire`.
   */
  use<T>(
    target: SessionTarget,
    work: (client: C, lease: Lease<C>) => T | PromiseLike<T>,
    options?: UseOptions,
  ): Promise<T> {
    const acquire = (own: AcquireOptions | undefined): Promise<Lease<C>> =>
      this.acquire(target, own);
    return useLease({ acquire, aborts: this.#host.aborts }, work, options);
  }

  /**
   * Opens sessions for `target` ahead of use, until its key has `count` of them: those that are
   * open, lent ones included, and those being opened count. Integer, minimum 1. Resolves when they
   * are open, or as many as `maxSessionsPerKey` and `maxSessions` have room for: nothing gives way
   * to them, and waiters come first. At most `maxOpeningPerKey` are opened at once; after a failed
   * open it waits as acquires do. They idle as others do, and their first lease is not `reused`.
   *
   * @throws (rejects) `OPEN_FAILED` when an open of its own fails, `CIRCUIT_OPEN` when none may
   * start: what is open stays. `POOL_CLOSED`, `POOL_SATURATED`, `IDENTITY_REQUIRED`; TypeError or
   * RangeError for bad input; the signal's reason when aborted.
   */
  warm(target: SessionTarget, count: number, options?: WarmOptions): Promise<WarmReport> {
    try {
      if (this.#closing !== undefined) throw new PoolClosedError();
      const request = warmRequest(target, count, options, this.#host.options);
      const key = this.#keyMaker.keyOf(target);
      if (request.signal?.aborted === true) return Promise.reject(request.signal.reason);
      return this.#subPool(key).warm(request, count);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Marks matching sessions stale: idle ones are closed now, leased ones when released, or now as
   * well with `{ leased: 'now' }`. For rotated credentials, a user who logged out, a downstream
   * session that ended. Without a filter: all. The pool stays open.
   *
   * @returns How many sessions were marked.
   * @throws TypeError for a malformed filter.
   */
  retire(filter?: RetireFilter, options: RetireOptions = {}): number {
    checkRetireFilter(filter, options);
    const now = this.#host.clock.now();
    const scope = { filter, leasedNow: options.leased === 'now', now, keyMaker: this.#keyMaker };
    const plans = Array.from(this.#subPools.values(), (subPool) => planRetire(subPool, scope));
    return plans.reduce((count, carryOut) => count + carryOut(), 0);
  }

  /** Counts as of now, as plain data. `perKey` adds a row per key. */
  stats(options: { readonly perKey?: boolean | undefined } = {}): PoolStats {
    return poolStats(this.#host, this.#subPools, options);
  }

  /**
   * Closes the pool: waiters are rejected and idle sessions closed now, leased ones when released
   * or when the drain ends. Settles within `drainTimeoutMs` + `closeTimeoutMs`, from this call, and
   * never rejects but for malformed options. Calling it again gives the same promise, and can only
   * shorten the drain.
   */
  close(options: CloseOptions = {}): Promise<CloseReport> {
    try {
      checkCloseOptions(options);
    } catch (error) {
      return Promise.reject(error);
    }
    const closing = this.#closing ?? this.#startClosing(options.drainTimeoutMs ?? 0);
    closing.drain(options);
    closing.check();
    return closing.promise;
  }

  /** Closes the pool at once: `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #subPool(key: TargetKey): SubPool<C> {
    let subPool = this.#subPools.get(key.id);
    if (subPool === undefined) {
      const { maxKeys } = this.#host.options;
      if (this.#subPools.size >= maxKeys) {
        this.#reporter(key).rejected('saturated', 0);
        throw new PoolSaturatedError('maxKeys', maxKeys, 'in this pool');
      }
      subPool = new SubPool(this.#host, key);
      this.#subPools.set(key.id, subPool);
    }
    return subPool;
  }

  #serverOf(label: string): string {
    for (const { key } of this.#subPools.values()) if (key.label === label) return key.server;
    return 'unknown';
  }

  #reporter(key: TargetKey): KeyReporter {
    return new KeyReporter(this.#host.totals, this.#host.outbox, key);
  }

  #turnEnded(subPool: SubPool<C> | undefined): void {
    // By identity: one that was dropped may still be told of a change, when its key is made anew.
    if (subPool?.isEmpty === true && this.#subPools.get(subPool.key.id) === subPool) {
      this.#subPools.delete(subPool.key.id);
      this.#host.breakers?.leave(subPool.key);
    }
    this.#host.breakers?.settle();
    this.#host.room.serve();
    const { waiting, opening, probing, closing } = this.#host.counts;
    this.#timer.reference(waiting + opening + probing + closing + this.#host.warming > 0);
    this.#closing?.check();
  }

  #tick(now: number): number {
    let dueAt = Number.POSITIVE_INFINITY;
    for (const subPool of [...this.#subPools.values()]) {
      subPool.upkeep.tick(now);
      dueAt = Math.min(dueAt, subPool.upkeep.dueAt);
    }
    this.#host.keepAlive.serve(now);
    this.#host.breakers?.tick(now);
    return Math.min(dueAt, this.#host.breakers?.dueAt ?? dueAt);
  }

  #startClosing(drainTimeoutMs: number): Closing {
    const { clock, counts, options, outbox } = this.#host;
    const closing = new Closing({
      clock,
      closeTimeoutMs: options.closeTimeoutMs,
      sessionCount: () => sessionCount(counts),
      leasedCount: () => counts.leased,
      looseCount: () => this.#host.loose,
      takeBackAll: () => {
        this.#host.crew.startFinalDeadline();
        for (const subPool of [...this.#subPools.values()]) subPool.takeBackAll();
      },
      onFinish: (report) => {
        this.#timer.stop();
        outbox.emit({ type: 'pool-closed', ...report, unsettled: this.#host.loose });
        // A process may end right after its pool: what happened must not be lost with it.
        outbox.flush();
      },
    });
    this.#closing = closing;
    this.#host.keepAlive.stop();
    outbox.emit({ type: 'pool-closing', sessions: sessionCount(counts), drainTimeoutMs });
    // With a drain, the last deadline begins at its end: who is released in it has all the time.
    if (drainTimeoutMs === 0) this.#host.crew.startFinalDeadline();
    // One error for all who wait: 20,000 stacks would hold the event loop for 150 ms.
    const error = new PoolClosedError();
    for (const subPool of [...this.#subPools.values()]) subPool.close(error);
    return closing;
  }
}
