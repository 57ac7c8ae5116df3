// The queue of one key: who asks joins it, and leaves it once, granted or refused (Invariant I5).

import type { AcquireRequest } from './acquire-request.ts';
import { PoolSaturatedError } from './errors.ts';
import type { Lease } from './lease.ts';
import type { KeyReporter, RejectReason } from './observe/key-reporter.ts';
import type { Ledger } from './policy/ledger.ts';
import type { PoolHost } from './pool-host.ts';
import type { Session } from './session.ts';
import { Waiter } from './waiter.ts';

/** What the queue needs of the key whose it is. */
export interface QueueKey<C> {
  readonly host: PoolHost<C>;
  readonly label: string;
  readonly key: { readonly server: string };
  readonly ledger: Ledger<Session<C>, Waiter<C>>;
  readonly report: KeyReporter;
  /** A waiter has joined. */
  joined(waiter: Waiter<C>): void;
  advance(): void;
}

/** Joins the queue. Rejects with `POOL_SATURATED` when it is full. */
export function join<C>(key: QueueKey<C>, request: AcquireRequest, now: number): Promise<Lease<C>> {
  const { maxWaitersPerKey } = key.host.options;
  if (key.ledger.waiters.size >= maxWaitersPerKey) {
    key.report.rejected('saturated', 0);
    const where = `for ${key.key.server} (key ${key.label})`;
    return Promise.reject(new PoolSaturatedError('maxWaitersPerKey', maxWaitersPerKey, where));
  }
  return new Promise((resolve, reject) => {
    const waiter = new Waiter<C>(request, now, resolve, reject);
    const { signal } = request;
    if (signal !== undefined) {
      waiter.listen(key.host.aborts, signal, () => {
        refuse(key, waiter, signal.reason, 'aborted');
        key.advance();
      });
    }
    key.ledger.enqueue(waiter);
    key.joined(waiter);
  });
}

/** Takes `waiter` out of the queue and rejects it. A no-op when it waits no longer. */
export function refuse<C>(
  key: QueueKey<C>,
  waiter: Waiter<C>,
  error: unknown,
  reason: RejectReason,
): void {
  if (!key.ledger.dequeue(waiter)) return;
  waiter.reject(error);
  key.report.rejected(reason, key.host.clock.now() - waiter.since);
}
