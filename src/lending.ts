// Grants leases on the sessions of one key and takes them back. The only place where a lease begins
// or ends, so that the ledger's lease counts can't drift (Invariant I3).

import type { AcquireRequest } from './acquire-request.ts';
import { type LeaseEndReason, OpenError } from './errors.ts';
import { invariant, present } from './invariant.ts';
import { Lease, type Lender } from './lease.ts';
import type { Loss } from './loss.ts';
import type { RetireReason } from './observe/events.ts';
import type { KeyReporter } from './observe/key-reporter.ts';
import { failureOf } from './policy/failure.ts';
import type { KeyLimits } from './policy/key-limits.ts';
import type { Ledger } from './policy/ledger.ts';
import type { Step } from './policy/next-step.ts';
import type { Session } from './session.ts';
import type { Waiter } from './waiter.ts';

/** What lending needs of the key it lends for. */
export interface LendingKey<C> extends Lender<C> {
  readonly key: { readonly server: string; readonly affinity: string | undefined };
  readonly ledger: Ledger<Session<C>, Waiter<C>>;
  readonly limits: KeyLimits;
  readonly generation: number;
  readonly closed: boolean;
  readonly report: KeyReporter;
  readonly upkeep: { sawLease(now: number): void };
  condemn(session: Session<C>, reason: RetireReason): void;
}

export type GrantStep = Extract<Step, 'grant-spare' | 'grant-idle'>;

/** How a session's end is told to the leases it is taken from. */
const LEASE_END: Partial<Record<RetireReason, LeaseEndReason>> = {
  lost: 'session-lost',
  retired: 'retired',
  'pool-closed': 'pool-closed',
};

/** Lends the session that `step` names to who has waited since `since`, and tells of it. */
export function lend<C>(
  key: LendingKey<C>,
  step: GrantStep,
  request: AcquireRequest,
  { since, now }: { readonly since: number; readonly now: number },
): Lease<C> | OpenError {
  const { spare, idle } = key.ledger;
  const session = present(step === 'grant-spare' ? spare.last : idle.last);
  const lease = grant(key, session, request, now);
  if (!(lease instanceof OpenError)) {
    key.report.granted(lease.reused, now - since);
    key.upkeep.sawLease(now);
    return lease;
  }
  key.report.rejected('open-failed', now - since);
  if (session.state === 'leased') key.condemn(session, 'lend-failed');
  return lease;
}

/**
 * Lends `session`. When its connection has no client to give, returns the error for the caller; the
 * session then has no new lease, and must go.
 */
function grant<C>(
  key: LendingKey<C>,
  session: Session<C>,
  request: AcquireRequest,
  now: number,
): Lease<C> | OpenError {
  const { connection } = session;
  invariant(key.ledger.sessions.has(session), 'Invariant I8: a session is lent for its own key');
  const lease = new Lease(key, session, request, now);
  key.ledger.lease(session, key.limits.leasesPerSession, now);
  session.leases.append(lease);
  try {
    if (connection?.lend === undefined) lease.attach(connection?.client as C, false);
    else lease.attach(connection.lend(lease.context()), true);
  } catch (cause) {
    lease.end('discarded', undefined);
    // The foreign code may have had the session taken down, and the lease with it.
    if (session.leases.remove(lease)) key.ledger.unlease(session, key.limits.leasesPerSession);
    const { kind, status } = failureOf(cause, false);
    const {
      label,
      key: { server },
    } = key;
    return new OpenError({ key: label, server, kind, status, elapsedMs: 0, cause });
  }
  session.wasLent = true;
  return lease;
}

/**
 * Ends a lease for its borrower. Returns why its session must go (`undefined`: it may stay), or
 * `'ended-before'` when there was nothing left to end.
 */
export function endLease<C>(
  key: LendingKey<C>,
  lease: Lease<C>,
  end: { readonly reason: LeaseEndReason; readonly detail: string | undefined },
  now: number,
): RetireReason | 'ended-before' | undefined {
  const { reason, detail } = end;
  if (!lease.end(reason, undefined)) return 'ended-before';
  const { session } = lease;
  // Order: foreign code first, while the books are as they were. It may take the session down.
  const isTainted = giveBack(lease);
  key.report.leaseEnded(reason, now - lease.grantedAt, detail);
  if (!session.leases.remove(lease)) return 'ended-before';
  key.ledger.unlease(session, key.limits.leasesPerSession);
  if (reason === 'discarded') return 'discarded';
  if (session.retireReason !== undefined) return session.retireReason;
  if (key.closed) return 'pool-closed';
  if (session.generation < key.generation) return 'retired';
  // A shared or affine session goes on for its other borrowers, who share its state on purpose.
  const isExclusive = key.limits.leasesPerSession === 1 && key.key.affinity === undefined;
  if (!isExclusive) return undefined;
  // What an overdue borrower left running on the session can't be told.
  if (reason === 'lease-overdue') return 'lease-overdue';
  return isTainted ? 'tainted' : undefined;
}

/** Takes all leases off a session that is taken down, in the books; `endTaken` tells them. */
export function takeBackLeases<C>(key: LendingKey<C>, session: Session<C>): readonly Lease<C>[] {
  const leases = [...session.leases];
  for (const lease of leases) {
    session.leases.remove(lease);
    key.ledger.unlease(session, key.limits.leasesPerSession);
  }
  return leases;
}

/** Ends leases whose session is taken down. Their listeners may come back in: books first. */
export function endTaken<C>(
  key: LendingKey<C>,
  leases: readonly Lease<C>[],
  loss: Loss,
  now: number,
): void {
  const reason = LEASE_END[loss.reason] ?? 'session-lost';
  for (const lease of leases) {
    if (lease.end(reason, loss)) key.report.leaseEnded(reason, now - lease.grantedAt);
  }
}

/** Whether the lease left something behind that the next one would see. */
function giveBack<C>(lease: Lease<C>): boolean {
  const { connection } = lease.session;
  const client = lease.lentClient;
  if (connection?.giveBack === undefined || client === undefined) return false;
  try {
    return connection.giveBack(client) === 'tainted';
  } catch {
    // It could not be cleaned up, so it is not clean: the session goes, and says so as 'tainted'.
    return true;
  }
}
