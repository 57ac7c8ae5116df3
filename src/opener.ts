// Opens sessions for one key: an open outlives an impatient caller, a failed one is answered for by
// one waiter and backs off, and whatever arrives too late is taken down. Breakers are asked before
// and told after each.

import type { AcquireRequest } from './acquire-request.ts';
import type { Gate, GatedKey } from './breaker-gate.ts';
import type {
  ConnectContext,
  Connection,
  Connector,
  SessionHandlers,
  SessionSettings,
} from './connect/connector.ts';
import { CrashLoop } from './crash-loop.ts';
import { type DoubtingKey, doubtSiblings, wearOut } from './doubt.ts';
import { type CircuitOpenError, OpenError } from './errors.ts';
import { invariant, present } from './invariant.ts';
import { keepAliveAfter } from './keep-alive.ts';
import type { TargetKey } from './key-maker.ts';
import { Loss } from './loss.ts';
import type { KeyReporter } from './observe/key-reporter.ts';
import { DeadlineError, openSession } from './open-session.ts';
import { openBackoffMs } from './policy/backoff.ts';
import { failureOf } from './policy/failure.ts';
import type { KeyLimits } from './policy/key-limits.ts';
import { type Ledger, sessionCount } from './policy/ledger.ts';
import { expiryOf } from './policy/retirement.ts';
import { poolHandlers } from './pool-handlers.ts';
import type { PoolHost } from './pool-host.ts';
import { type QueueKey, refuse } from './queue.ts';
import { Session } from './session.ts';
import { headersOf, tellsOfServer, verdictOf } from './session-headers.ts';
import { sessionSettings } from './session-settings.ts';
import type { SessionTarget } from './target.ts';
import { Waiter } from './waiter.ts';

/** What opening needs of the key it opens for. */
export interface OpeningKey<C> extends DoubtingKey<C>, QueueKey<C> {
  readonly host: PoolHost<C>;
  readonly key: TargetKey;
  readonly limits: KeyLimits;
  readonly upkeep: { isDueAt(at: number): void };
  readonly ledger: Ledger<Session<C>, Waiter<C>>;
  readonly generation: number;
  readonly report: KeyReporter;
  /** A session has arrived. */
  ready(session: Session<C>, from: 'opening' | 'probing'): void;
  /** A connection says that its session is gone. */
  lost(session: Session<C>, cause: unknown): void;
}

/** Who a session is opened for and with: a waiter, or a call of `warm`. */
export interface Initiator {
  readonly request: AcquireRequest;
  /** It has come. */
  opened?(): void;
  /** It has not. Who hears of it here answers for it, and no waiter does. */
  openFailed?(error: OpenError): void;
}

export class Opener<C> implements GatedKey {
  /** The newest target asked for: its headers are what traffic without a lease carries. */
  newestTarget: SessionTarget | undefined;
  /** No open starts before this instant. */
  opensAfter = 0;
  /** The last failed open since one succeeded. */
  lastFailure: OpenError | undefined;
  /** Failed opens in a row. */
  #failures = 0;
  /** The waiter that the newest open was started for. */
  #searchedTo: Waiter<C> | undefined;
  readonly #crashLoop = new CrashLoop();
  readonly #key: OpeningKey<C>;
  /** The pool's own handlers, as the sessions of this key are given them. */
  readonly #handlers: SessionHandlers;
  /** `undefined`: breakers are switched off. */
  readonly #gate: Gate | undefined;

  constructor(key: OpeningKey<C>) {
    this.#key = key;
    this.#gate = key.host.breakers?.gateFor(this);
    const { server, identity, affinity } = key.key;
    this.#handlers = poolHandlers({
      ...key.host.options,
      source: { key: key.label, server, identity, affinity },
      report: (error) => key.host.troubles.report(key.label, error),
    });
  }

  get key(): TargetKey {
    return this.#key.key;
  }

  get report(): KeyReporter {
    return this.#key.report;
  }

  /** How many opens the breakers let start now: all (`Infinity`), one on trial, or none. */
  opensAllowed(now: number): number {
    return this.#gate?.allowed(now) ?? Number.POSITIVE_INFINITY;
  }

  /** What a waiter is refused with while no open may start. */
  refusal(now: number): CircuitOpenError {
    return present(this.#gate).refusal(now);
  }

  /** Somebody waits: if it is for a trial, the key is woken when one may begin. */
  awaitTrial(now: number): void {
    const at = this.#gate?.triedAt(now) ?? Number.POSITIVE_INFINITY;
    if (at !== Number.POSITIVE_INFINITY) this.#key.upkeep.isDueAt(at);
  }

  forgive(): void {
    this.opensAfter = 0;
    this.#failures = 0;
  }

  advance(): void {
    this.#key.advance();
  }

  /** Starts one open, with the target of the oldest waiter that no other open was started for. */
  start(now: number): void {
    this.startFor(this.#uncoveredWaiter(), now);
  }

  /** Starts one open for `initiator`. The caller has seen to it that there is room. */
  startFor(initiator: Initiator, now: number): void {
    const { host, ledger, generation } = this.#key;
    const session = new Session<C>(generation, now);
    const controller = new AbortController();
    session.pending = controller;
    const { maxSessionsPerKey } = this.#key.limits;
    invariant(sessionCount(ledger.counts) < maxSessionsPerKey, 'Invariant I1: the key has room');
    const { maxSessions } = host.options;
    invariant(sessionCount(host.counts) < maxSessions, 'Invariant I2: the pool has room');
    ledger.add(session);
    host.loose += 1;
    session.opensFor = initiator.request;
    session.attempt = this.#gate?.begin(now, host.options.connectTimeoutMs);
    const { target } = initiator.request;
    openSession({
      // A target that brings its own connector is opened by that one.
      connector: 'connect' in target ? (target.connect as Connector<C>) : host.connector,
      target,
      context: this.#contextOf(session, sessionSettings(this.#key, target)),
      controller,
      timeoutMs: host.options.connectTimeoutMs,
      clock: host.clock,
      onLate: (connection) => this.#takeDownLate(connection),
      onSettled: () => this.#loosen(),
    }).then(
      (connection) => this.#opened(session, initiator, connection),
      (error: unknown) => this.#failed(session, initiator, error),
    );
  }

  /** Ends an open that nobody wants any more; should its session still come, it is taken down. */
  giveUp(session: Session<C>): void {
    const { host, ledger, key } = this.#key;
    ledger.move(session, 'opening', 'gone', host.clock.now());
    session.pending?.abort(new Loss(key.server, 'pool-closed').error);
    session.pending = undefined;
    if (session.attempt !== undefined) this.#gate?.gaveUp(session.attempt, host.clock.now());
  }

  /** A method of its own, so that what the session keeps for life does not hold the caller. */
  #contextOf(session: Session<C>, settings: SessionSettings): Omit<ConnectContext, 'signal'> {
    return {
      ...this.#handlers,
      key: this.#key.label,
      settings,
      headers: headersOf(session, () => this.newestTarget),
      worn: () => wearOut(this.#key, session),
      throttled: (retryAfterMs) => this.#throttled(session, retryAfterMs),
      credentialsFailed: (error) => {
        session.callersError = error;
      },
    };
  }

  /** Calls go on: only opens are held back. */
  #throttled(session: Session<C>, retryAfterMs: number): void {
    // A connector may be anybody's: only a number is a time.
    const isTime = typeof retryAfterMs === 'number' && retryAfterMs >= 0;
    // With its last session, a key may have been dropped, and its circuits with it.
    if (session.state === 'gone' || !isTime) return;
    this.#gate?.throttled(retryAfterMs, this.#key.host.clock.now());
    this.#key.advance();
  }

  #uncoveredWaiter(): Waiter<C> {
    const { waiters } = this.#key.ledger;
    // From where the last search ended, if that one still waits: a search never walks twice over
    // the same waiters, however many opens are allowed at once.
    let waiter = this.#searchedTo?.list === waiters ? this.#searchedTo : waiters.first;
    while (waiter?.hasOpen === true) waiter = waiter.next;
    waiter ??= waiters.first;
    invariant(waiter !== undefined, 'Invariant I4: an open is started for a waiter');
    waiter.hasOpen = true;
    this.#searchedTo = waiter;
    return waiter;
  }

  #opened(session: Session<C>, initiator: Initiator, connection: Connection<C>): void {
    const { host, ledger, report } = this.#key;
    session.pending = undefined;
    session.opensFor = undefined;
    // The pool closed between the connector's end and this turn.
    if (session.state !== 'opening') return this.#takeDownLate(connection);
    session.connection = connection;
    session.canProbe = connection.probe !== undefined;
    const now = host.clock.now();
    const { lost } = connection;
    // Worn before it was ever lent, it would be opened again at once, without a back-off.
    if (lost?.aborted === true || session.retireReason === 'worn') {
      ledger.move(session, 'opening', 'gone', now);
      session.connection = undefined;
      const cause = lost?.aborted ? lost.reason : new Error('The session wore out as it opened');
      // Order: answered first, for foreign code in its teardown may have the key dropped.
      this.#answer(session, initiator, cause);
      return this.#takeDownLate(connection);
    }
    if (session.attempt !== undefined) this.#gate?.opened(session.attempt, now);
    session.expiresAt = expiryOf(now, this.#key.limits.maxLifetimeMs, host.random());
    const { keepAliveMs } = host.options;
    if (session.canProbe && keepAliveMs !== Number.POSITIVE_INFINITY) {
      session.keepAliveAfterMs = keepAliveAfter(keepAliveMs, host.random());
    }
    this.#watch(session, lost);
    this.#failures = 0;
    this.lastFailure = undefined;
    report.opened(now - session.openingAt);
    initiator.opened?.();
    this.#key.ready(session, 'opening');
  }

  #watch(session: Session<C>, lost: AbortSignal | undefined): void {
    if (lost === undefined) return;
    const onLost = (): void => {
      doubtSiblings(this.#key, session);
      if (tellsOfServer(lost.reason)) this.#gate?.unreached(this.#key.host.clock.now());
      this.#crashLoop.lost(this.#key, this, session, lost.reason);
      this.#key.lost(session, lost.reason);
    };
    lost.addEventListener('abort', onLost, { once: true });
    session.unwatch = () => lost.removeEventListener('abort', onLost);
  }

  #failed(session: Session<C>, initiator: Initiator, cause: unknown): void {
    if (session.state !== 'opening') return;
    this.#key.ledger.move(session, 'opening', 'gone', this.#key.host.clock.now());
    session.pending = undefined;
    this.#answer(session, initiator, cause);
  }

  #answer(session: Session<C>, initiator: Initiator, cause: unknown): void {
    const { host, label, ledger, report, key, upkeep } = this.#key;
    const now = host.clock.now();
    const elapsedMs = now - session.openingAt;
    const failure = failureOf(cause, cause instanceof DeadlineError);
    const { kind, status } = failure;
    const details = { key: label, server: key.server, kind, status, elapsedMs, cause };
    const error = new OpenError(details);
    // Order: before it backs off, for a circuit that closes by it takes all back-offs away.
    const { attempt } = session;
    if (attempt !== undefined) this.#gate?.failed(attempt, details, verdictOf(session, cause), now);
    // Opens that were under way together and failed together count as one.
    if (now >= this.opensAfter) this.#failures += 1;
    this.opensAfter = now + openBackoffMs(this.#failures, host.random());
    this.lastFailure = error;
    report.openFailed(elapsedMs, failure);
    // Refused credentials are the fault of the one who brought them; all else hits the oldest.
    const isTheirs = initiator.openFailed !== undefined || kind === 'unauthorized';
    const answerable = isTheirs ? initiator : ledger.waiters.first;
    initiator.openFailed?.(error);
    if (answerable instanceof Waiter) refuse(this.#key, answerable, error, 'open-failed');
    upkeep.isDueAt(this.opensAfter);
    this.#key.advance();
  }

  #takeDownLate(connection: Connection<C>): void {
    const { host, key, report } = this.#key;
    host.loose += 1;
    report.openedTooLate();
    const loss = new Loss(key.server, 'open-too-late');
    host.crew.tearDown(connection, loss, (outcome) => {
      report.ended('open-too-late', outcome);
      host.sessionEnded(outcome);
      this.#loosen();
    });
  }

  #loosen(): void {
    const { host } = this.#key;
    host.loose -= 1;
    host.turnEnded();
  }
}
