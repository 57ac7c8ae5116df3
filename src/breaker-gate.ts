// What one key knows of the circuit breakers that may hold it back: whether it may open, and how
// its opens ended. Changes go through `breakers.ts`, which tells everybody whom they concern.

import type { Breakers } from './breakers.ts';
import { CircuitOpenError, OpenError, type OpenErrorDetails } from './errors.ts';
import type { TargetKey } from './key-maker.ts';
import type { CircuitOpenReason } from './observe/events.ts';
import type { KeyReporter } from './observe/key-reporter.ts';
import type { Breaker } from './policy/breaker.ts';
import type { BreakerScope, BreakerVerdict } from './policy/failure.ts';
import type { KeyId } from './policy/session-key.ts';

/** What a gate needs of the key it is for. */
export interface GatedKey {
  readonly key: TargetKey;
  readonly report: KeyReporter;
  /** A circuit has closed: the server works, so there is nothing left to back off from. */
  forgive(): void;
  /** A circuit has changed. */
  advance(): void;
}

/** One breaker, and whom it concerns. */
export interface Circuit {
  readonly scope: BreakerScope;
  readonly id: string;
  readonly breaker: Breaker;
  /** Of all keys it may hold back. */
  readonly gates: Map<KeyId, Gate>;
  /** The last failure that counted here, and whose it was. */
  lastFailure: { readonly details: OpenErrorDetails; readonly caller: string } | undefined;
  /** Tells of its end; set while it is not closed. */
  report: KeyReporter | undefined;
}

/** One open: the eras of the two breakers that let it through. */
export interface Attempt {
  readonly endpoint: number;
  readonly caller: number;
}

/** `random` is asked at most once. */
type Change = (breaker: Breaker, random: () => number) => void;

export class Gate {
  readonly key: GatedKey;
  /** The one that all callers of the endpoint share, and that of this caller. */
  readonly endpoint: Circuit;
  readonly caller: Circuit;
  readonly #breakers: Breakers;
  /** What those who wait together are refused with: a thousand stacks hold the loop for 8 ms. */
  #refusal: { at: number; until: number; error: CircuitOpenError } | undefined;

  constructor(breakers: Breakers, key: GatedKey, endpoint: Circuit, caller: Circuit) {
    this.#breakers = breakers;
    this.key = key;
    this.endpoint = endpoint;
    this.caller = caller;
  }

  /** How many opens may start now: all (`Infinity`), the one on trial, or none. */
  allowed(now: number): number {
    return Math.min(this.endpoint.breaker.allowed(now), this.caller.breaker.allowed(now));
  }

  /** When a trial may begin; `Infinity`: one is under way, or none is needed. */
  triedAt(now: number): number {
    const shut = this.#shut(now);
    const isTried = shut.some(({ state }) => state === 'half-open');
    return shut.length === 0 || isTried ? Number.POSITIVE_INFINITY : latestOf(shut);
  }

  /** An open starts, on trial where a circuit is not closed. `allowed` has let it. */
  begin(now: number, trialMs: number): Attempt {
    const eras = [this.endpoint, this.caller].map((circuit) => {
      let era = 0;
      this.#change(circuit, now, (breaker) => {
        era = breaker.begin(now, trialMs);
      });
      return era;
    });
    const [endpoint = 0, caller = 0] = eras;
    return { endpoint, caller };
  }

  /** An open has succeeded. */
  opened(attempt: Attempt, now: number): void {
    this.#change(this.endpoint, now, (breaker) => breaker.succeeded(attempt.endpoint));
    this.#change(this.caller, now, (breaker) => breaker.succeeded(attempt.caller));
  }

  /**
   * An open has failed. What is the caller's alone (refused credentials, a request to slow down)
   * shows that the endpoint answers; what is the endpoint's says nothing of the caller.
   */
  failed(attempt: Attempt, details: OpenErrorDetails, verdict: BreakerVerdict, now: number): void {
    const { endpoint, caller } = this;
    const failure = { details, caller: this.key.key.caller };
    if (verdict.vote === 'failure' && verdict.scope === 'endpoint') {
      endpoint.lastFailure = failure;
      this.#change(endpoint, now, (breaker, random) =>
        breaker.failed(attempt.endpoint, now, random(), details.elapsedMs),
      );
    } else if (verdict.vote === 'failure' || verdict.vote === 'throttle') {
      caller.lastFailure = failure;
      this.#change(endpoint, now, (breaker) => breaker.succeeded(attempt.endpoint));
      if (verdict.vote === 'throttle') this.throttled(verdict.retryAfterMs, now);
      else {
        this.#change(caller, now, (breaker, random) =>
          breaker.failed(attempt.caller, now, random(), details.elapsedMs),
        );
      }
    }
    this.gaveUp(attempt, now);
  }

  /** An open has ended without a word on what it was on trial for. A no-op where there was one. */
  gaveUp(attempt: Attempt, now: number): void {
    this.#change(this.endpoint, now, (breaker) => breaker.undecided(attempt.endpoint, now));
    this.#change(this.caller, now, (breaker) => breaker.undecided(attempt.caller, now));
  }

  /** A session at work could not reach the server. */
  unreached(now: number): void {
    this.#change(this.endpoint, now, (breaker, random) => breaker.failed(undefined, now, random()));
  }

  /** The server asks for a pause, in answer to an open or over a session at work. */
  throttled(retryAfterMs: number, now: number): void {
    const throttle: Change = (breaker, random) => breaker.throttled(retryAfterMs, now, random());
    this.#change(this.caller, now, throttle, 'throttled');
  }

  /** What a waiter is refused with. Only while nothing may open. */
  refusal(now: number): CircuitOpenError {
    const until = latestOf(this.#shut(now));
    const known = this.#refusal;
    if (known?.at === now && known.until === until) return known.error;
    const circuit = this.endpoint.breaker.allowed(now) === 0 ? this.endpoint : this.caller;
    const error = new CircuitOpenError({
      key: this.key.key.label,
      server: this.key.key.server,
      scope: circuit.scope,
      // A trial may outlast its time by a lag of the event loop.
      retryAfterMs: Math.max(1, Math.ceil(until - now)),
      cause: this.#causeOf(circuit),
    });
    this.#refusal = { at: now, until, error };
    return error;
  }

  /** A peer's words are for the caller they were said to: others learn the kind of the failure. */
  #causeOf({ lastFailure }: Circuit): OpenError | undefined {
    if (lastFailure === undefined) return undefined;
    const { details, caller } = lastFailure;
    const isOwn = caller === this.key.key.caller;
    return new OpenError(isOwn ? details : { ...details, cause: undefined });
  }

  #shut(now: number): Breaker[] {
    const breakers = [this.endpoint.breaker, this.caller.breaker];
    return breakers.filter((breaker) => breaker.allowed(now) === 0);
  }

  #change(circuit: Circuit, now: number, how: Change, reason?: CircuitOpenReason): void {
    this.#breakers.change(circuit, { by: this.key.report, now, how, reason });
  }
}

const latestOf = (breakers: readonly Breaker[]): number =>
  Math.max(...breakers.map(({ retryAt }) => retryAt));
