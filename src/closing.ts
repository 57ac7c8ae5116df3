// The end of a pool: drain, take back, close. One promise, settled within `drainTimeoutMs` +
// `closeTimeoutMs` whatever anybody does (P1).

import { checkSignal } from './acquire-request.ts';
import type { Clock, Timer } from './clock.ts';
import { checkKnown } from './known-members.ts';
import type { TeardownOutcome } from './observe/events.ts';
import { isUnterminated } from './observe/key-reporter.ts';
import { checkTimeout } from './options.ts';
import type { Pacer } from './pacer.ts';
import type { Session } from './session.ts';

/** Options of `close`. */
export interface CloseOptions {
  /**
   * How long leases may go on, from the call. Minimum 0. Default: 0, they are taken back at once.
   */
  readonly drainTimeoutMs?: number | undefined;
  /** Ends the drain early. */
  readonly signal?: AbortSignal | undefined;
}

/** @throws TypeError or RangeError naming the option. */
export function checkCloseOptions(options: CloseOptions): void {
  checkKnown('close option', options, new Set(['drainTimeoutMs', 'signal']));
  const { drainTimeoutMs, signal } = options;
  if (drainTimeoutMs !== undefined) checkTimeout('drainTimeoutMs', drainTimeoutMs, 0);
  checkSignal(signal);
}

/** What `close` did. `sessions` is `closed` + `abandoned`. */
export interface CloseReport {
  readonly sessions: number;
  readonly closed: number;
  /** Sessions whose client or transport had not settled its close at the deadline. */
  readonly abandoned: number;
  /**
   * Sessions whose server was not told, or refused, or did not answer. Counted in the above too.
   */
  readonly unterminated: number;
  readonly durationMs: number;
}

/** What closing needs of a key. */
export interface ClosingKey<C> {
  readonly host: { readonly crew: { readonly pacer: Pacer } };
  takeDown(session: Session<C>, reason: 'pool-closed'): void;
  advance(): void;
}

/** Takes a session of a closing pool down when it is its turn. */
export function takeDownPaced<C>(key: ClosingKey<C>, session: Session<C>): void {
  key.host.crew.pacer.run(() => {
    if (session.state === 'closing' || session.state === 'gone') return;
    key.takeDown(session, 'pool-closed');
    key.advance();
  });
}

/** What is being closed. */
export interface Closable {
  readonly clock: Clock;
  readonly closeTimeoutMs: number;
  /** Sessions that hold a slot; those leased among them. */
  readonly sessionCount: () => number;
  readonly leasedCount: () => number;
  /** What holds no slot but is waited for: connectors and late sessions that have not settled. */
  readonly looseCount: () => number;
  readonly takeBackAll: () => void;
  readonly onFinish: (report: CloseReport) => void;
}

/** What ends at the very deadline shall still be in the report. */
const GRACE_MS = 10;

export class Closing {
  readonly promise: Promise<CloseReport>;
  readonly #pool: Closable;
  readonly #startedAt: number;
  readonly #counts = { closed: 0, abandoned: 0, unterminated: 0 };
  #resolve: (report: CloseReport) => void = () => undefined;
  #isDraining = true;
  #isFinished = false;
  /** Nobody is waited for any more who holds no slot. */
  #isGraceOver = false;
  /** When the drain ends at the latest. */
  #drainEndsAt = Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;
  /** Listeners on callers' signals, to be removed when the drain ends. */
  readonly #unlisten: (() => void)[] = [];

  constructor(pool: Closable) {
    this.#pool = pool;
    this.#startedAt = pool.clock.now();
    this.promise = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** One call of `close`: the shortest drain of all calls counts. */
  drain(options: CloseOptions): void {
    if (!this.#isDraining) return;
    const { clock } = this.#pool;
    const { drainTimeoutMs = 0, signal } = options;
    const endsAt = clock.now() + drainTimeoutMs;
    if (drainTimeoutMs === 0 || signal?.aborted === true) return this.#endDrain();
    if (endsAt < this.#drainEndsAt) {
      this.#drainEndsAt = endsAt;
      this.#setTimer(() => this.#endDrain(), drainTimeoutMs);
    }
    if (signal === undefined) return;
    const onAbort = (): void => this.#endDrain();
    signal.addEventListener('abort', onAbort, { once: true });
    this.#unlisten.push(() => signal.removeEventListener('abort', onAbort));
  }

  /** A session that was taken down has ended. */
  sessionEnded(outcome: TeardownOutcome): void {
    this.#counts[outcome.result] += 1;
    if (isUnterminated(outcome)) this.#counts.unterminated += 1;
  }

  /** Called after every turn: goes on when there is nothing left to wait for. */
  check(): void {
    if (this.#isFinished) return;
    if (this.#isDraining && this.#pool.leasedCount() === 0) this.#endDrain();
    if (this.#isDraining || this.#isFinished || this.#pool.sessionCount() > 0) return;
    if (this.#pool.looseCount() > 0 && !this.#isGraceOver) return;
    this.#finish();
  }

  #endDrain(): void {
    if (!this.#isDraining) return;
    this.#isDraining = false;
    for (const unlisten of this.#unlisten) unlisten();
    this.#setTimer(() => {
      this.#isGraceOver = true;
      this.check();
    }, this.#pool.closeTimeoutMs + GRACE_MS);
    this.#pool.takeBackAll();
    this.check();
  }

  #finish(): void {
    this.#isFinished = true;
    if (this.#timer !== undefined) this.#pool.clock.clearTimeout(this.#timer);
    const { closed, abandoned, unterminated } = this.#counts;
    const durationMs = this.#pool.clock.now() - this.#startedAt;
    const report = { sessions: closed + abandoned, closed, abandoned, unterminated, durationMs };
    this.#resolve(report);
    this.#pool.onFinish(report);
  }

  #setTimer(run: () => void, delayMs: number): void {
    const { clock } = this.#pool;
    if (this.#timer !== undefined) clock.clearTimeout(this.#timer);
    this.#timer = clock.setTimeout(run, delayMs);
  }
}
