// Counts and tells what happens to one key: one place where a fact becomes both a counter and an
// event. Called after the state is final; delivery is the outbox's.

import type { LeaseEndReason } from '../errors.ts';
import type { BreakerScope, Failure } from '../policy/failure.ts';
import type { CircuitOpenReason, PoolEvent, RetireReason, TeardownOutcome } from './events.ts';
import type { Totals } from './metrics.ts';
import type { Outbox } from './outbox.ts';

/** The reason of an `acquire-rejected` event. */
export type RejectReason = Extract<PoolEvent, { type: 'acquire-rejected' }>['reason'];

export class KeyReporter {
  readonly #totals: Totals;
  readonly #outbox: Outbox;
  readonly #of: { readonly key: string; readonly server: string };

  constructor(totals: Totals, outbox: Outbox, key: { label: string; server: string }) {
    this.#totals = totals;
    this.#outbox = outbox;
    this.#of = { key: key.label, server: key.server };
  }

  opened(durationMs: number): void {
    this.#totals.opened += 1;
    this.#outbox.emit({ type: 'session-opened', ...this.#of, durationMs });
  }

  openFailed(durationMs: number, failure: Failure): void {
    this.#totals.openFailed += 1;
    this.#outbox.emit({ type: 'session-open-failed', ...this.#of, durationMs, failure });
  }

  openedTooLate(): void {
    this.#totals.openedTooLate += 1;
  }

  probed(ok: boolean, durationMs: number): void {
    this.#totals.probed += 1;
    if (!ok) this.#totals.probeFailed += 1;
    this.#outbox.emit({ type: 'session-probed', ...this.#of, ok, durationMs });
  }

  retired(reason: RetireReason): void {
    if (reason === 'lost') this.#totals.lost += 1;
    if (reason === 'worn') this.#totals.worn += 1;
    if (reason === 'evicted') this.#totals.evicted += 1;
    this.#outbox.emit({ type: 'session-retired', ...this.#of, reason });
  }

  ended(reason: RetireReason, outcome: TeardownOutcome): void {
    const isAbandoned = outcome.result === 'abandoned';
    this.#totals[outcome.result] += 1;
    if (isUnterminated(outcome)) this.#totals.unterminated += 1;
    const what = { ...this.#of, reason, outcome };
    if (isAbandoned) this.#outbox.emit({ type: 'session-abandoned', ...what });
    else this.#outbox.emit({ type: 'session-closed', ...what });
  }

  granted(reused: boolean, waitedMs: number): void {
    this.#totals.acquired += 1;
    if (reused) this.#totals.reused += 1;
    // The hottest path: nothing is built when nobody listens.
    if (!this.#outbox.isOpen) return;
    this.#outbox.emit({ type: 'lease-granted', ...this.#of, reused, waitedMs });
  }

  leaseEnded(reason: LeaseEndReason, heldMs: number, detail?: string): void {
    if (reason === 'released') this.#totals.released += 1;
    if (reason === 'discarded') this.#totals.discarded += 1;
    if (reason === 'lease-overdue') this.#totals.overdue += 1;
    if (!this.#outbox.isOpen) return;
    const words = detail === undefined ? {} : { detail };
    this.#outbox.emit({ type: 'lease-ended', ...this.#of, reason, heldMs, ...words });
  }

  leaking(heldMs: number, acquiredAt: string): void {
    this.#totals.leaking += 1;
    this.#outbox.emit({ type: 'lease-leaking', ...this.#of, heldMs, acquiredAt });
  }

  circuitOpened(scope: BreakerScope, reason: CircuitOpenReason, retryAfterMs: number): void {
    this.#totals.circuitsOpened += 1;
    this.#outbox.emit({ type: 'circuit-opened', ...this.#of, scope, reason, retryAfterMs });
  }

  circuitHalfOpened(scope: BreakerScope): void {
    this.#outbox.emit({ type: 'circuit-half-opened', ...this.#of, scope });
  }

  circuitClosed(scope: BreakerScope): void {
    this.#outbox.emit({ type: 'circuit-closed', ...this.#of, scope });
  }

  rejected(reason: RejectReason, waitedMs: number): void {
    if (reason === 'timeout') this.#totals.timedOut += 1;
    if (reason === 'aborted') this.#totals.aborted += 1;
    if (reason === 'saturated') this.#totals.saturated += 1;
    if (reason === 'circuit-open') this.#totals.failedFast += 1;
    if (reason === 'pool-closed') this.#totals.refused += 1;
    this.#outbox.emit({ type: 'acquire-rejected', ...this.#of, reason, waitedMs });
  }
}

/** Whether the server was to be told that the session is over, and was not, or did not say yes. */
export const isUnterminated = ({ terminate }: TeardownOutcome): boolean =>
  terminate !== 'absent' && terminate !== 'done';
