// Delivers events to the sink and the logger: after the turn that caused them, in order, and so
// that whatever an observer does can neither delay nor change the pool (Invariant I10).

import type { Clock } from '../clock.ts';
import type { EventSink, PoolEvent } from './events.ts';
import { type Logger, type ServerLine, writeEvent, writeServerLine } from './log.ts';

export class Outbox {
  /** Whether anybody listens. When not, callers skip building events. */
  readonly isOpen: boolean;
  /** Calls of an observer that threw or rejected. */
  failures = 0;
  readonly #clock: Clock;
  readonly #sink: EventSink | undefined;
  readonly #logger: Logger | undefined;
  #events: PoolEvent[] = [];
  #isFlushing = false;

  constructor(clock: Clock, sink: EventSink | undefined, logger: Logger | undefined) {
    this.#clock = clock;
    this.#sink = sink;
    this.#logger = logger;
    this.isOpen = sink !== undefined || logger !== undefined;
  }

  get hasLogger(): boolean {
    return this.#logger !== undefined;
  }

  /** Straight to the logger: a server's own words are no event. */
  logServerLine(line: ServerLine): void {
    this.#tell(() => this.#logger && writeServerLine(this.#logger, line));
  }

  emit(event: PoolEvent): void {
    if (!this.isOpen) return;
    this.#events.push(event);
    if (this.#events.length === 1) this.#clock.yield(() => this.flush());
  }

  /** Delivers what is queued now; what an observer causes meanwhile comes after it. */
  flush(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    const events = this.#events;
    this.#events = [];
    for (const event of events) {
      this.#tell(() => this.#sink?.(event));
      this.#tell(() => this.#logger && writeEvent(this.#logger, event));
    }
    this.#isFlushing = false;
  }

  #tell(observe: () => unknown): void {
    try {
      const answer = observe();
      // A sink may be an async function whatever its type says: its rejection must not escape.
      if (answer instanceof Promise) answer.catch(() => this.#countFailure());
    } catch {
      this.#countFailure();
    }
  }

  #countFailure(): void {
    this.failures += 1;
  }
}
