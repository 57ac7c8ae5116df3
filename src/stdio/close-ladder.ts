// Ends a group of processes: end of input, then SIGTERM, then SIGKILL, each when the one before has
// had its time. Over as soon as the operating system says that no process of the group is left.

import type { Clock, Timer } from '../clock.ts';
import type { ProcessGroup } from './process-group.ts';

/** Shares of `closeTimeoutMs`. The last one leaves time for the system to clear away. */
const TERMINATE_AT = 0.2;
const KILL_AT = 0.6;
/** At most, each: what the SDK's client waits. */
const TERMINATE_AFTER_MS = 2_000;
const KILL_AFTER_MS = 2_000;
/**
 * What a server started is no child of ours, so its end has to be asked for. First and longest wait
 * between two looks.
 */
const LOOK_AFTER_MS = 2;
const LOOK_EVERY_MS = 25;
/** Before the first thorough look; doubles with each. */
const THOROUGH_AFTER_MS = 100;

/** What a ladder needs of the group. */
export type ClosedGroup = Pick<ProcessGroup, 'hasExited' | 'look' | 'terminate' | 'kill'>;

/** See the file header. */
export class CloseLadder {
  readonly #group: ClosedGroup;
  readonly #clock: Clock;
  readonly #onEmpty: () => void;
  #timers: Timer[] = [];
  /** Runs while the server has ended and others of its group have not. */
  #looking: Timer | undefined;
  #lookAfterMs = LOOK_AFTER_MS;
  #thoroughAt = 0;
  #thoroughAfterMs = THOROUGH_AFTER_MS;
  #isOver = false;

  /** `onEmpty`: called once, when nobody is left. */
  constructor(group: ClosedGroup, clock: Clock, onEmpty: () => void) {
    this.#group = group;
    this.#clock = clock;
    this.#onEmpty = onEmpty;
  }

  /** Begins, right after the end of input. Bound: whoever waits, who then stops it. */
  climb(closeTimeoutMs: number): void {
    const clock = this.#clock;
    this.#thoroughAt = clock.now() + this.#thoroughAfterMs;
    this.look();
    if (this.#isOver) return;
    const terminateAfterMs = Math.min(closeTimeoutMs * TERMINATE_AT, TERMINATE_AFTER_MS);
    const killAfterMs = Math.min(closeTimeoutMs * (KILL_AT - TERMINATE_AT), KILL_AFTER_MS);
    this.#timers = [
      clock.setTimeout(() => this.#group.terminate(), terminateAfterMs),
      clock.setTimeout(() => this.#group.kill(), terminateAfterMs + killAfterMs),
    ];
  }

  /** Looks whether it is over: to be called when the server's own process has ended. */
  look(): void {
    if (this.#isOver || this.#looking !== undefined) return;
    if (this.#group.look(this.#isThorough())) {
      this.stop();
      this.#onEmpty();
    } else if (this.#group.hasExited) {
      this.#looking = this.#clock.setTimeout(() => {
        this.#looking = undefined;
        this.look();
      }, this.#lookAfterMs);
      this.#lookAfterMs = Math.min(this.#lookAfterMs * 2, LOOK_EVERY_MS);
    }
  }

  /** Waits for nothing any more. Idempotent. */
  stop(): void {
    this.#isOver = true;
    for (const timer of this.#timers) this.#clock.clearTimeout(timer);
    if (this.#looking !== undefined) this.#clock.clearTimeout(this.#looking);
    this.#timers = [];
    this.#looking = undefined;
  }

  #isThorough(): boolean {
    const now = this.#clock.now();
    if (now < this.#thoroughAt) return false;
    this.#thoroughAfterMs *= 2;
    this.#thoroughAt = now + this.#thoroughAfterMs;
    return true;
  }
}
