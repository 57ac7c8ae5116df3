// The circuit breakers of a pool: one per endpoint and one per caller there (endpoint + identity),
// each shared by all keys it may hold back. Keeps those that know something, for a while, and
// tells keys of changes after the turn that made them (`settle`).

import { type Circuit, Gate, type GatedKey } from './breaker-gate.ts';
import type { TargetKey } from './key-maker.ts';
import type { CircuitOpenReason } from './observe/events.ts';
import type { KeyReporter } from './observe/key-reporter.ts';
import type { CircuitCounts } from './observe/metrics.ts';
import { Breaker, type BreakerRules, type BreakerState } from './policy/breaker.ts';
import type { BreakerScope } from './policy/failure.ts';

/** What breakers need of their pool. */
interface BreakersHost {
  readonly rules: BreakerRules;
  /** How many circuits of a scope are kept that no key is held back by. */
  readonly maxDeserted: number;
  readonly random: () => number;
  isDueAt(at: number): void;
}

/** One change of a circuit. */
interface Changing {
  /** Of the key that causes it. */
  readonly by: KeyReporter;
  readonly now: number;
  readonly how: (breaker: Breaker, random: () => number) => void;
  readonly reason?: CircuitOpenReason | undefined;
}

/** What is known need not be forgotten to the millisecond. */
const GRID_MS = 1_000;
const CALLER = 'endpoint+identity';

export class Breakers {
  /** When there is something to forget; `Infinity`: nothing. */
  dueAt: number = Number.POSITIVE_INFINITY;
  /** Circuits that are not closed. */
  readonly counts: CircuitCounts = { open: 0, halfOpen: 0 };
  readonly #host: BreakersHost;
  /** Every circuit that concerns a key, or knows something. */
  readonly #circuits: Readonly<Record<BreakerScope, Map<string, Circuit>>> = {
    endpoint: new Map(),
    [CALLER]: new Map(),
  };
  /** Those of them that concern no key, in the order in which they were deserted. */
  readonly #deserted: Readonly<Record<BreakerScope, Set<Circuit>>> = {
    endpoint: new Set(),
    [CALLER]: new Set(),
  };
  /** Changed in this turn: their keys have not heard of it yet. */
  readonly #changed = new Set<Circuit>();
  #isSettling = false;

  /** The breakers that a pool's options ask for, if any. */
  static of(
    { breaker, maxKeys }: { readonly breaker: BreakerRules | false; readonly maxKeys: number },
    random: () => number,
    isDueAt: (at: number) => void,
  ): Breakers | undefined {
    if (breaker === false) return undefined;
    return new Breakers({ rules: breaker, random, maxDeserted: maxKeys, isDueAt });
  }

  constructor(host: BreakersHost) {
    this.#host = host;
  }

  /** How many circuits are kept. */
  get size(): number {
    return this.#circuits.endpoint.size + this.#circuits[CALLER].size;
  }

  /** The gate of a new key. `leave` when the key is dropped. */
  gateFor(key: GatedKey): Gate {
    const endpoint = this.#circuit('endpoint', key.key.endpoint);
    const caller = this.#circuit(CALLER, key.key.caller);
    const gate = new Gate(this, key, endpoint, caller);
    for (const circuit of [endpoint, caller]) {
      circuit.gates.set(key.key.id, gate);
      this.#deserted[circuit.scope].delete(circuit);
    }
    return gate;
  }

  /** A key is dropped. What its circuits know is kept for a while, but not without bound. */
  leave({ id, endpoint, caller }: TargetKey): void {
    const [shared, own] = [this.#circuit('endpoint', endpoint), this.#circuit(CALLER, caller)];
    for (const circuit of [shared, own]) {
      circuit.gates.delete(id);
      if (circuit.gates.size > 0) continue;
      const deserted = this.#deserted[circuit.scope];
      if (circuit.breaker.forgottenAt === Number.NEGATIVE_INFINITY) this.#drop(circuit);
      else deserted.add(circuit);
      const [oldest] = deserted;
      // Bound: callers may come with any number of identities.
      if (oldest && deserted.size > this.#host.maxDeserted) this.#drop(oldest);
    }
  }

  /** Makes one change, counts and tells it. */
  change(circuit: Circuit, { by, now, how, reason = 'failures' }: Changing): void {
    const { breaker, scope } = circuit;
    const before = breaker.state;
    how(breaker, this.#host.random);
    if (breaker.forgottenAt !== Number.NEGATIVE_INFINITY) this.#remindAt(breaker.forgottenAt);
    const after = breaker.state;
    if (after === before) return;
    this.#count(before, -1);
    this.#count(after, 1);
    this.#changed.add(circuit);
    if (after === 'closed') return this.#closed(circuit, by);
    circuit.report = by;
    if (after === 'half-open') by.circuitHalfOpened(scope);
    else by.circuitOpened(scope, reason, breaker.retryAt - now);
  }

  /** Has the keys of circuits that changed go on. Called after every turn. */
  settle(): void {
    if (this.#changed.size === 0 || this.#isSettling) return;
    this.#isSettling = true;
    // Bound: a key that is told begins one trial at the most, and each circuit has one at a time.
    for (const circuit of this.#changed) {
      this.#changed.delete(circuit);
      for (const gate of [...circuit.gates.values()]) gate.key.advance();
    }
    this.#isSettling = false;
  }

  /** Forgets what is too old. Called when the pool's timer fires. */
  tick(now: number): void {
    if (now < this.dueAt) return;
    this.dueAt = Number.POSITIVE_INFINITY;
    for (const circuits of Object.values(this.#circuits)) {
      for (const circuit of circuits.values()) this.#forget(circuit, now);
    }
  }

  #circuit(scope: BreakerScope, id: string): Circuit {
    const known = this.#circuits[scope].get(id);
    if (known !== undefined) return known;
    const circuit: Circuit = {
      scope,
      id,
      breaker: new Breaker(this.#host.rules),
      gates: new Map(),
      lastFailure: undefined,
      report: undefined,
    };
    this.#circuits[scope].set(id, circuit);
    return circuit;
  }

  #closed(circuit: Circuit, by: KeyReporter): void {
    by.circuitClosed(circuit.scope);
    circuit.lastFailure = undefined;
    circuit.report = undefined;
    for (const gate of circuit.gates.values()) gate.key.forgive();
  }

  #forget(circuit: Circuit, now: number): void {
    const { breaker, gates, report } = circuit;
    const { forgottenAt } = breaker;
    if (forgottenAt === Number.NEGATIVE_INFINITY) return;
    if (now < forgottenAt) return this.#remindAt(forgottenAt);
    if (gates.size === 0) return this.#drop(circuit);
    circuit.lastFailure = undefined;
    if (report === undefined) breaker.forget();
    else this.change(circuit, { by: report, now, how: () => breaker.forget() });
  }

  #drop(circuit: Circuit): void {
    const { scope, id, breaker, report } = circuit;
    this.#count(breaker.state, -1);
    this.#circuits[scope].delete(id);
    this.#deserted[scope].delete(circuit);
    this.#changed.delete(circuit);
    report?.circuitClosed(scope);
  }

  #remindAt(at: number): void {
    const onGrid = Math.ceil(at / GRID_MS) * GRID_MS;
    if (onGrid >= this.dueAt) return;
    this.dueAt = onGrid;
    this.#host.isDueAt(onGrid);
  }

  #count(state: BreakerState, by: 1 | -1): void {
    if (state === 'open') this.counts.open += by;
    else if (state === 'half-open') this.counts.halfOpen += by;
  }
}
