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
  /** The newest deadline: teardowns that begin together share it. */
  #deadline: TeardownDeadline | undefined;

  constructor(clock: Clock, closeTimeoutMs: number) {
    this.clock = clock;
    this.pacer = new Pacer(clock);
    this.#closeTimeoutMs = closeTimeoutMs;
  }

  /**
   * Takes one session down within `closeTimeoutMs`, from now. `onFinish` is called exactly once, also
   * in this turn if all rungs settle in it.
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

  countLateSettlement(): void {
    this.lateSettlements += 1;
  }

  #handOutPermits(): void {
    for (const teardown of this.#wantTerminate) {
      if (this.#terminating >= MAX_TERMINATING) return;
      this.#wantTerminate.delete(teardown);
      this.#terminating += 1;
      teardown.permit();
    }
  }

  #presentDeadline(): TeardownDeadline {
    const now = this.clock.now();
    if (this.#deadline === undefined || !this.#deadline.isOpenAt(now)) {
      this.#deadline = new TeardownDeadline(this.clock, this.pacer, this.#closeTimeoutMs);
    }
    return this.#deadline;
  }
}
