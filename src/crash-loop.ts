// Holds back the opens of a key whose server's process ends by itself before it was of any use. Its
// open had gone well, so neither the back-off of failed opens nor a breaker knows of it, and the
// process would be started anew as fast as callers ask.

import { OpenError } from './errors.ts';
import type { TargetKey } from './key-maker.ts';
import { openBackoffMs } from './policy/backoff.ts';
import { failureOf } from './policy/failure.ts';
import type { PoolHost } from './pool-host.ts';
import type { Session } from './session.ts';

/** What is held back. */
export interface HeldKey<C> {
  readonly key: TargetKey;
  readonly host: Pick<PoolHost<C>, 'clock' | 'random'>;
  readonly upkeep: { isDueAt(at: number): void };
}

/** What says so. */
interface HeldOpener {
  opensAfter: number;
  lastFailure: OpenError | undefined;
}

/** A crash so long after the one before begins a new row. */
const ROW_MS = 60_000;

/** See the file header. */
export class CrashLoop {
  /** In a row. */
  #crashes = 0;
  #lastAt: number = Number.NEGATIVE_INFINITY;

  /** `session` was lost with `cause`. Order: before it is taken down, for that ends its leases. */
  lost<C>(
    { key, host, upkeep }: HeldKey<C>,
    opener: HeldOpener,
    session: Session<C>,
    cause: unknown,
  ): void {
    const { kind, status } = failureOf(cause, false);
    if (kind !== 'process') return;
    // It was of use to whoever had the lease before, or has given it back.
    const isProven = session.leases.first?.reused ?? session.wasLent;
    const now = host.clock.now();
    if (isProven || now - this.#lastAt > ROW_MS) this.#crashes = 0;
    this.#lastAt = now;
    if (isProven) return;
    this.#crashes += 1;
    const { label, server } = key;
    const elapsedMs = now - session.openingAt;
    // For those who wait in vain meanwhile.
    opener.lastFailure = new OpenError({ key: label, server, kind, status, elapsedMs, cause });
    const until = now + openBackoffMs(this.#crashes, host.random());
    opener.opensAfter = Math.max(opener.opensAfter, until);
    upkeep.isDueAt(opener.opensAfter);
  }
}
