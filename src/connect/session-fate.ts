// The life and the end of one session, over all its leases: judges sends that failed, counts
// timeouts in a row, asks the server when a refusal leaves doubt, gives calls in flight a moment
// when the session is lost, and remembers after which losses work may run again. Sits beside the
// link, which knows the calls.

import type { Clock } from '../clock.ts';
import { dropFrames } from '../drop-frames.ts';
import { SessionLostError } from '../errors.ts';
import { judge, type Replay, type Verdict } from '../policy/failure.ts';
import { type Circumstances, observe } from './failure-of.ts';
import { Grace } from './grace.ts';
import { lostInFlight } from './session-loss.ts';

/** What a link may be told of the end of its session. */
export interface SessionFateOptions {
  readonly clock: Clock;
  /** The session is lent to one lease at a time. */
  readonly exclusive: boolean;
  /** The session should be lent no more. May be called again. */
  readonly onWorn?: () => void;
  /** The server asked to be left alone for so long. */
  readonly onThrottled?: (retryAfterMs: number) => void;
  /** The transport tells of its failures how far the request got. Default: no. */
  readonly isToldAll?: boolean;
  /** Every request names the session, though the transport has no id of it. Default: no. */
  readonly namesSession?: boolean;
  /** How long the server may take to say whether it knows the session. Default: 5,000. */
  readonly probeTimeoutMs?: number;
  /**
   * How long calls in flight may go on once the session is lost, while none of them hears anything;
   * in all, five times as long. See `grace.ts`. Default: 1,000.
   */
  readonly graceMs?: number;
}

/** What fate needs of the link. */
export interface FatedLink {
  /** Asks the server for a sign of life. */
  ping(signal: AbortSignal): Promise<void>;
  /** The server keeps no session: see `Handshake`. */
  isSessionless(): boolean;
  /** Calls in flight. */
  callCount(): number;
  /** Nothing goes on any more: everything in flight rejects with this. Called once. */
  end(gone: SessionLostError): void;
}

type SendFacts = Pick<Circumstances, 'during' | 'withSessionId'>;

/** Timeouts in a row that a session is kept through: a slow tool is not a dead session. */
const TIMEOUTS_KEPT = 1;
/** How a server refuses a request that it knows nothing of, in no words of the protocol. */
const STRANGE: ReadonlySet<number | undefined> = new Set([400, 404, 405]);
const PROBE_TIMEOUT_MS = 5_000;
const GRACE_MS = 1_000;

/** See the file header. */
export class SessionFate {
  readonly #options: SessionFateOptions;
  readonly #link: FatedLink;
  readonly #lost = new AbortController();
  /** Set once, when the session is lost or fenced. Nothing is sent from then on. */
  #gone: SessionLostError | undefined;
  /** Runs while the session is lost and calls are in flight. */
  #grace: Grace | undefined;
  /** Everything has ended; `#gone` says why. */
  #isOver = false;
  /** Local timeouts since the server last answered anything. */
  #timeouts = 0;
  /** The question under way; all who doubt meanwhile share it. */
  #asking: Promise<boolean> | undefined;
  /** What losses mean for `use`, by the error that told of them. Made with the first. */
  #replays: WeakMap<object, Replay> | undefined;

  constructor(link: FatedLink, options: SessionFateOptions) {
    this.#link = link;
    this.#options = options;
  }

  /** Aborts when the session is over for everybody, with the reason. Not when it is fenced. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Why nothing can be sent any more; `undefined` while it can. */
  get gone(): SessionLostError | undefined {
    return this.#gone;
  }

  /** Nothing goes on any more, and nothing is heard. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Nothing is sent any more, and what is in flight ends. Idempotent. */
  fence(reason: Error): void {
    this.#gone ??= lostInFlight('The session was taken back', reason);
    this.#end();
  }

  /** The session is gone, with whatever was in flight. Idempotent. */
  lose(cause: unknown): void {
    if (this.#gone === undefined) this.#remember(cause, 'once-if-reused');
    this.#gone ??= lostInFlight('The session was lost', cause);
    this.#loseNow();
  }

  /** The server said, not in answer to a call, that it knows the session no more. Idempotent. */
  forgotten(cause: unknown): void {
    this.#remember(cause, 'once');
    this.#doom(cause);
  }

  /**
   * A send failed: rejects with what that means. When it means a loss, `tell` hears so first: the
   * call that found out knows more of itself than the others know of theirs.
   */
  failed(error: unknown, facts: SendFacts, tell: (own: SessionLostError) => void): Promise<never> {
    if (this.#isOver) return Promise.reject(error);
    const { isToldAll = false, namesSession = false, onThrottled } = this.#options;
    const withSessionId = facts.withSessionId || namesSession;
    const seen = observe(error, { ...facts, withSessionId, isToldAll });
    const verdict = judge(seen);
    if (verdict.breaker.vote === 'throttle') onThrottled?.(verdict.breaker.retryAfterMs);
    switch (verdict.session) {
      case 'keep':
      case 'strike':
        // It may be another server by now: who comes next asks.
        if (this.#link.isSessionless() && STRANGE.has(seen.status)) this.#options.onWorn?.();
        return Promise.reject(error);
      case 'probe':
        return this.#isForgotten().then((isForgotten) => {
          throw isForgotten ? this.#lostBy(error, { ...verdict, session: 'lost' }, tell) : error;
        });
      case 'retire':
        // Where there is no session, a request that was cut off costs nobody but its caller.
        if (this.#link.isSessionless() && verdict.execution === 'unknown') {
          return Promise.reject(error);
        }
        return Promise.reject(this.#lostBy(error, verdict, tell));
      case 'lost':
        return Promise.reject(this.#lostBy(error, verdict, tell));
      default:
        return verdict.session satisfies never;
    }
  }

  /** The server has answered a request; it has left the table. */
  answered(): void {
    this.#timeouts = 0;
    this.callLeft();
  }

  /** A request was given up here, because no answer came in time. */
  timedOut(): void {
    this.#timeouts += 1;
    if (this.#timeouts > TIMEOUTS_KEPT) this.#options.onWorn?.();
  }

  /** A call has settled and left the table: the last one that a lost session waited for, maybe. */
  callLeft(): void {
    if (this.#grace === undefined) return;
    if (this.#link.callCount() === 0) this.#loseNow();
    else this.#grace.heard();
  }

  /** Whether work that failed because of `cause` may run again, if nothing of it was executed. */
  replayOf(cause: unknown): Replay {
    if (typeof cause !== 'object' || cause === null) return 'never';
    return this.#replays?.get(cause) ?? 'never';
  }

  #remember(cause: unknown, replay: Replay): void {
    if (replay === 'never' || typeof cause !== 'object' || cause === null) return;
    this.#replays ??= new WeakMap();
    this.#replays.set(cause, replay);
  }

  #lostBy(
    cause: unknown,
    { session, execution, replay }: Verdict,
    tell: (own: SessionLostError) => void,
  ): SessionLostError {
    this.#remember(cause, replay);
    const certain = execution === 'not-executed' ? 'not-executed' : 'unknown';
    const own = dropFrames(new SessionLostError('The session was lost', certain, { cause }));
    tell(own);
    // Nobody else is on an exclusive session; the others of a shared one may still be answered, and
    // without a session there is none that they could have lost with this one.
    const { exclusive } = this.#options;
    if (exclusive || (session === 'lost' && !this.#link.isSessionless())) this.#doom(cause);
    else this.#options.onWorn?.();
    this.callLeft();
    return own;
  }

  /** The session is lost. What is in flight has a moment to hear what became of it. */
  #doom(cause: unknown): void {
    if (this.#gone !== undefined) return;
    const { clock, graceMs = GRACE_MS, onWorn } = this.#options;
    this.#gone = lostInFlight('The session was lost', cause);
    if (this.#link.callCount() === 0 || graceMs === 0) return this.#loseNow();
    // Bound: this, or the last call.
    this.#grace = new Grace(clock, graceMs, () => this.#loseNow());
    onWorn?.();
  }

  #loseNow(): void {
    if (this.#isOver) return;
    this.#end();
    this.#lost.abort(this.#gone);
  }

  #end(): void {
    if (this.#isOver || this.#gone === undefined) return;
    // State first, callers second.
    this.#isOver = true;
    this.#grace?.stop();
    this.#grace = undefined;
    this.#link.end(this.#gone);
  }

  /** Asks the server whether it still knows the session. True: it says no, or is gone itself. */
  #isForgotten(): Promise<boolean> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<boolean> {
    const { clock, probeTimeoutMs = PROBE_TIMEOUT_MS } = this.#options;
    const controller = new AbortController();
    // Bound: this timer.
    const timer = clock.setTimeout(() => controller.abort(), probeTimeoutMs);
    try {
      if (this.#gone === undefined) await this.#link.ping(controller.signal);
    } catch {
      // The ping's own failure was judged on its way, and has ended the session if the server does
      // not know it. A server that says nothing does not agree.
    } finally {
      clock.clearTimeout(timer);
    }
    return this.#gone !== undefined;
  }
}
