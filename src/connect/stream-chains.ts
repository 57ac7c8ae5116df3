// Which event stream follows which. A chain is what a transport reads as one stream: the
// notification stream, or the stream of one call, with all GETs that resume it. Each chain has a
// governor, and its GETs wait here until that lets them go. It sends nothing itself.

import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { AbortFanout } from '../abort-fanout.ts';
import type { Clock, Timer } from '../clock.ts';
import {
  afterFailure,
  afterFollowUp,
  afterStart,
  afterStream,
  freshGovernor,
  type ReconnectGovernor,
  reconnectWaitMs,
} from '../policy/reconnect-governor.ts';
import type { StreamEnd } from './fenced-request.ts';

/**
 * Chains remembered by event id, each under its latest. With more, the oldest is forgotten and its
 * next GET counts as one of the notification stream: slower, never faster.
 */
const RESUMABLE_MAX = 64;

/** One chain. Changed by `StreamChains` alone. */
export interface Chain {
  governor: ReconnectGovernor;
  /** The call that the stream serves. Undefined: the notification stream. */
  readonly requestId: RequestId | undefined;
  /** The event id to resume it from; the key that it is remembered under. */
  resumesFrom: string | undefined;
  /** Its call was cancelled: it must not be resumed. */
  isCancelled: boolean;
}

interface WaitingGet {
  readonly chain: Chain;
  readonly go: () => void;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: () => void;
  timer: Timer;
}

/** The chains of one fence, and the GETs that wait for their turn. */
export class StreamChains {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #aborts: AbortFanout;
  /** Serves every GET that resumes no chain we know of. */
  readonly #notifications: Chain = newChain(undefined);
  readonly #resumable = new Map<string, Chain>();
  readonly #waiting = new Set<WaitingGet>();

  constructor(clock: Clock, random: () => number, aborts: AbortFanout) {
    this.#clock = clock;
    this.#random = random;
    this.#aborts = aborts;
  }

  /** The chain that a GET with this `Last-Event-ID` goes on with. */
  chainOf(lastEventId: string | null): Chain {
    const chain = lastEventId === null ? undefined : this.#resumable.get(lastEventId);
    return chain ?? this.#notifications;
  }

  /**
   * Runs `go` as soon as the chain's governor allows: now, or later. Never, if `signal` aborts, the
   * chain's call is cancelled or the fence is armed before. The wait keeps no process alive.
   */
  admit(chain: Chain, signal: AbortSignal | undefined, go: () => void): void {
    if (this.#mayGo(chain)) {
      go();
      return;
    }
    const get: WaitingGet = {
      chain,
      go,
      signal,
      onAbort: () => this.#drop(get),
      timer: this.#startTimer(chain, () => this.#retry(get)),
    };
    this.#aborts.follow(signal, get.onAbort);
    this.#waiting.add(get);
  }

  /** The peer answered a GET of `chain` without a stream, or could not be reached. */
  failed(chain: Chain): void {
    chain.governor = afterFailure(chain.governor, this.#clock.now(), this.#random());
  }

  /** The peer answered with a redirect, or asked for authorization: another GET follows at once. */
  redirected(chain: Chain): void {
    chain.governor = afterFollowUp(chain.governor, this.#clock.now(), this.#random());
  }

  /** A GET stream of `chain` was ended by its peer. */
  ended(chain: Chain, end: StreamEnd): void {
    chain.governor = afterStream(chain.governor, end, this.#clock.now(), this.#random());
    if (end.lastEventId !== undefined) this.#remember(chain, end.lastEventId);
  }

  /** The stream that answered the POST of a call was ended by its peer; the call may resume it. */
  callStreamEnded(requestId: RequestId, end: StreamEnd): void {
    if (end.lastEventId === undefined) return;
    // The first resumption is how the protocol wants it, so nothing has flapped yet.
    this.ended(newChain(requestId), { ...end, broughtMessage: true });
  }

  /** No GET resumes the streams of this call any more. */
  cancelCall(requestId: RequestId): void {
    for (const chain of this.#resumable.values()) {
      if (chain.requestId === requestId) chain.isCancelled = true;
    }
    for (const get of this.#waiting) {
      if (get.chain.requestId === requestId) this.#drop(get);
    }
  }

  /** Forgets every chain and lets down every GET that waits. */
  clear(): void {
    for (const get of this.#waiting) this.#drop(get);
    this.#resumable.clear();
  }

  #mayGo(chain: Chain): boolean {
    const now = this.#clock.now();
    if (reconnectWaitMs(chain.governor, now) > 0) return false;
    chain.governor = afterStart(chain.governor, now);
    return true;
  }

  /** Asks again, because the chain may have flapped, or let another GET go, in the meantime. */
  #retry(get: WaitingGet): void {
    if (this.#mayGo(get.chain)) {
      this.#drop(get);
      get.go();
    } else {
      get.timer = this.#startTimer(get.chain, () => this.#retry(get));
    }
  }

  #startTimer(chain: Chain, run: () => void): Timer {
    const waitMs = reconnectWaitMs(chain.governor, this.#clock.now());
    // Rounded up: a timer that fires a fraction too early would have to be set once more.
    const timer = this.#clock.setTimeout(run, Math.ceil(waitMs));
    timer.unref();
    return timer;
  }

  #drop(get: WaitingGet): void {
    this.#clock.clearTimeout(get.timer);
    this.#aborts.unfollow(get.signal, get.onAbort);
    this.#waiting.delete(get);
  }

  #remember(chain: Chain, lastEventId: string): void {
    if (chain.resumesFrom !== undefined && this.#resumable.get(chain.resumesFrom) === chain) {
      this.#resumable.delete(chain.resumesFrom);
    }
    chain.resumesFrom = lastEventId;
    // Deleted first, so that it becomes the youngest.
    this.#resumable.delete(lastEventId);
    this.#resumable.set(lastEventId, chain);
    const [oldest] = this.#resumable.keys();
    if (this.#resumable.size > RESUMABLE_MAX && oldest !== undefined) {
      this.#resumable.delete(oldest);
    }
  }
}

function newChain(requestId: RequestId | undefined): Chain {
  return { governor: freshGovernor, requestId, resumesFrom: undefined, isCancelled: false };
}
