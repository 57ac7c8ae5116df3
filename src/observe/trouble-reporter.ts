// Counts and tells what goes wrong out of band: what a transport reports on its own, what a lease's
// handlers throw. A peer can cause any number of these, so they are all counted and few are told.

import type { Clock } from '../clock.ts';
import { failureOf } from '../policy/failure.ts';
import type { Totals } from './metrics.ts';
import type { Outbox } from './outbox.ts';

/** At most one event in this time. */
const EVENT_EVERY_MS = 1_000;

export class TroubleReporter {
  readonly #clock: Clock;
  readonly #totals: Totals;
  readonly #outbox: Outbox;
  /** The server of a key's label. */
  readonly #serverOf: (key: string) => string;
  #toldAt = Number.NEGATIVE_INFINITY;
  /** `totals.troubles` when the last event was told. */
  #toldCount = 0;

  constructor(parts: {
    readonly clock: Clock;
    readonly totals: Totals;
    readonly outbox: Outbox;
    readonly serverOf: (key: string) => string;
  }) {
    this.#clock = parts.clock;
    this.#totals = parts.totals;
    this.#outbox = parts.outbox;
    this.#serverOf = parts.serverOf;
  }

  report(key: string, error: unknown): void {
    this.#totals.troubles += 1;
    const now = this.#clock.now();
    if (!this.#outbox.isOpen || now - this.#toldAt < EVENT_EVERY_MS) return;
    const count = this.#totals.troubles - this.#toldCount;
    this.#toldAt = now;
    this.#toldCount = this.#totals.troubles;
    const [server, failure] = [this.#serverOf(key), failureOf(error, false)];
    this.#outbox.emit({ type: 'session-trouble', key, server, failure, count });
  }
}
