// What all teardowns of a pool share: the pace, the permits to terminate, the present deadline.

import type { Clock } from './clock.ts';
import type { Connection } from './connect/connector.ts';
import type { Loss } from './loss.ts';
import type { TeardownOutcome } from './observe/events.ts';
import { Pacer } from './pacer.ts';
import { Teardown } from './teardown.ts';
import { TeardownDeadline } from './teardown-deadline.ts';

/** DELETEs in flight at once, over all sessions of a pool. */
const MAX_TERMINATING = 256;

/** Teardowns that begin within this part of their time share a deadline. */
const SHARED_PART = 0.01;

/** Longer than a turn takes, shorter than any drain matters. */
const SAME_TURN_MS = 50;

export class TeardownCrew {
  readonly clock: Clock;
  readonly pacer: Pacer;
  /** Peers that settled after their teardown had stopped waiting. */
  lateSettlements = 0;
  readonly #closeTimeoutMs: number;
  /** Teardowns that hold a permit. Never above `MAX_TERMINATING`. */
  #terminating = 0;
  /** Teardowns that want a permit, oldest first. */
  readonly #wantTerminate = new Set<Teardown>();
  /**
   * A permit that comes back at once, from a DELETE that throws, is handed out by the same loop.
   */
  #isHandingOut = false;
  /** The newest deadline: teardowns that begin together share it. */
  #deadline: TeardownDeadline | undefined;
  /** When the pool's close is over; `undefined` before it. */
  #finalAt: number | undefined;

  constructor(clock: Clock, closeTimeoutMs: number) {
    this.clock = clock;
    this.pacer = new Pacer(clock);
    this.#closeTimeoutMs = closeTimeoutMs;
  }

  /**
   * Takes one session down within `closeTimeoutMs`, from now. `onFinish` is called exactly once,
   * also in this turn if all rungs settle in it.
   */
  tearDown(
    connection: Connection<unknown>,
    loss: Loss,
    onFinish: (outcome: TeardownOutcome) => void,
  ): void {
    const deadline = this.#presentDeadline();
    new Teardown(this, connection, { loss, deadline, onFinish }).start();
  }

  requestTerminate(teardown: Teardown): void {
    this.#wantTerminate.add(teardown);
    this.#handOutPermits();
  }

  withdrawTerminate(teardown: Teardown): void {
    this.#wantTerminate.delete(teardown);
  }

  returnPermit(): void {
    this.#terminating -= 1;
    this.#handOutPermits();
  }

  /** The pool closes: from now on all teardowns share one deadline, however late they begin. */
  startFinalDeadline(): void {
    const finalAt = this.clock.now() + this.#closeTimeoutMs;
    // Without a drain, the close and the end of the drain are one turn, and have one deadline.
    if (this.#finalAt !== undefined && finalAt - this.#finalAt < SAME_TURN_MS) return;
    this.#finalAt = finalAt;
    this.#deadline = undefined;
  }

  countLateSettlement(): void {
    this.lateSettlements += 1;
  }

  #handOutPermits(): void {
    if (this.#isHandingOut) return;
    this.#isHandingOut = true;
    for (const teardown of this.#wantTerminate) {
      if (this.#terminating >= MAX_TERMINATING) break;
      this.#wantTerminate.delete(teardown);
      this.#terminating += 1;
      teardown.permit();
    }
    this.#isHandingOut = false;
  }

  #presentDeadline(): TeardownDeadline {
    const now = this.clock.now();
    if (this.#deadline?.isOpenAt(now) !== true) {
      const isFinal = this.#finalAt !== undefined;
      const timeoutMs = Math.max(1, (this.#finalAt ?? now + this.#closeTimeoutMs) - now);
      const sharedForMs = isFinal ? timeoutMs : timeoutMs * SHARED_PART;
      this.#deadline = new TeardownDeadline(this.clock, this.pacer, { timeoutMs, sharedForMs });
    }
    return this.#deadline;
  }
}
