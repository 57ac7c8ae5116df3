// What time does to one key: waiters whose wait is over, sessions that have been idle or alive for
// too long, leases held for too long. Looks only when something can be due.

import { AcquireTimeoutError } from './errors.ts';
import { type KeptAliveKey, keepAliveAt } from './keep-alive.ts';
import type { Lease } from './lease.ts';
import type { RetireReason } from './observe/events.ts';
import type { Opener } from './opener.ts';
import type { KeyLimits } from './policy/key-limits.ts';
import { retirementOf } from './policy/retirement.ts';
import { type QueueKey, refuse } from './queue.ts';
import type { Session } from './session.ts';
import type { Waiter } from './waiter.ts';

/** What upkeep needs of the key it keeps. */
export interface KeptKey<C> extends QueueKey<C>, KeptAliveKey<C> {
  readonly generation: number;
  readonly limits: KeyLimits;
  takeDown(session: Session<C>, reason: RetireReason): void;
  endLease(lease: Lease<C>, reason: 'lease-overdue'): void;
}

/** Ages need not be seen to the millisecond: keys wake together, once a second at most. */
const COARSEST_GRID_MS = 1_000;

export class Upkeep<C> {
  /** Never after the first instant at which something of the key is due. */
  dueAt: number = Number.POSITIVE_INFINITY;
  readonly #key: KeptKey<C>;
  readonly #opener: Opener<C>;
  /** Age limits are looked at on multiples of this, so that keys share their wake-ups. */
  readonly #gridMs: number;
  /** How long a lease may be held before somebody looks; `Infinity`: nobody does. */
  readonly #leaseLimitMs: number;

  constructor(key: KeptKey<C>, opener: Opener<C>) {
    const { maxLeaseMs, leakWarningMs, keepAliveMs } = key.host.options;
    const { idleTimeoutMs, maxLifetimeMs } = key.limits;
    this.#key = key;
    this.#opener = opener;
    this.#leaseLimitMs = Math.min(maxLeaseMs, leakWarningMs);
    const shortest = Math.min(idleTimeoutMs, maxLifetimeMs, keepAliveMs, this.#leaseLimitMs);
    this.#gridMs = Math.max(1, Math.min(COARSEST_GRID_MS, shortest / 20));
  }

  /** Something is due at `at`, to the millisecond. */
  isDueAt(at: number): void {
    if (at >= this.dueAt) return;
    this.dueAt = at;
    this.#key.host.isDueAt(at);
  }

  /** A session has become idle. */
  sawIdle(session: Session<C>): void {
    const { idleTimeoutMs } = this.#key.limits;
    const goesAt = Math.min(session.idleSince + idleTimeoutMs, session.expiresAt);
    const at = session.isInLine ? goesAt : Math.min(goesAt, keepAliveAt(session));
    // The common case costs one comparison: something is due before.
    if (at < this.dueAt) this.isDueAt(this.#onGrid(at));
  }

  /** A lease has been granted. */
  sawLease(now: number): void {
    const at = now + this.#leaseLimitMs;
    if (at < this.dueAt) this.isDueAt(this.#onGrid(at));
  }

  /** Does what is due and works out when the next thing is. */
  tick(now: number): void {
    if (now < this.dueAt) return;
    this.dueAt = Number.POSITIVE_INFINITY;
    const key = this.#key;
    for (const waiter of key.ledger.waiters) {
      if (waiter.dueAt <= now) refuse(key, waiter, this.#timeoutError(waiter, now), 'timeout');
    }
    for (const session of key.ledger.sessions) this.#inspect(session, now);
    key.advance();
    this.#findNext(now);
  }

  #timeoutError(waiter: Waiter<C>, now: number): AcquireTimeoutError {
    const { key, label, ledger } = this.#key;
    const { opensAfter, lastFailure } = this.#opener;
    const { counts } = ledger;
    const isOpening = counts.opening > 0 || now < opensAfter;
    return new AcquireTimeoutError({
      key: label,
      server: key.server,
      phase: counts.probing > 0 ? 'probe' : isOpening ? 'open' : 'wait',
      elapsedMs: now - waiter.since,
      counts: { ...counts },
      cause: lastFailure,
    });
  }

  #inspect(session: Session<C>, now: number): void {
    if (session.state === 'idle') {
      const reason = retirementOf(session, this.#key, now);
      if (reason !== undefined) this.#key.takeDown(session, reason);
      else if (now >= keepAliveAt(session)) this.#key.host.keepAlive.join(this.#key, session);
    } else if (session.state === 'leased') {
      this.#inspectLeases(session, now);
    }
  }

  #inspectLeases(session: Session<C>, now: number): void {
    const { maxLeaseMs, leakWarningMs } = this.#key.host.options;
    for (const lease of session.leases) {
      const heldMs = now - lease.grantedAt;
      if (heldMs >= leakWarningMs && !lease.wasReported) {
        lease.wasReported = true;
        this.#key.report.leaking(heldMs, lease.request.stack ?? '');
      }
      if (heldMs >= maxLeaseMs) this.#key.endLease(lease, 'lease-overdue');
    }
  }

  #findNext(now: number): void {
    const { ledger } = this.#key;
    const { opensAfter } = this.#opener;
    for (const waiter of ledger.waiters) this.isDueAt(waiter.dueAt);
    // Backing off: waiters want the next open then, and an empty key is dropped then.
    if (opensAfter > now) this.isDueAt(opensAfter);
    for (const session of ledger.sessions) {
      if (session.state === 'idle') this.sawIdle(session);
      if (session.state !== 'leased') continue;
      for (const lease of session.leases) this.#sawHeld(lease.grantedAt, lease.wasReported);
    }
  }

  #sawHeld(grantedAt: number, wasReported: boolean): void {
    const { maxLeaseMs, leakWarningMs } = this.#key.host.options;
    const limitMs = wasReported ? maxLeaseMs : Math.min(maxLeaseMs, leakWarningMs);
    if (limitMs !== Number.POSITIVE_INFINITY) this.isDueAt(this.#onGrid(grantedAt + limitMs));
  }

  #onGrid(at: number): number {
    return Math.ceil(at / this.#gridMs) * this.#gridMs;
  }
}
