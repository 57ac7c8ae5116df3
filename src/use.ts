// Runs a caller's work with a lease, and sees to it that the lease ends and that an abort is heard,
// whether the work listens or not.

import type { AbortFanout } from './abort-fanout.ts';
import type { Lease } from './lease.ts';

export async function runWithLease<C, T>(
  lease: Lease<C>,
  work: (client: C, lease: Lease<C>) => T | PromiseLike<T>,
  signal: AbortSignal | undefined,
  aborts: AbortFanout,
): Promise<T> {
  let stopListening: () => void = () => undefined;
  try {
    if (signal === undefined) return await work(lease.client, lease);
    // It may have aborted between the grant and this turn: then the work must not begin.
    signal.throwIfAborted();
    const aborted = new Promise<never>((_resolve, reject) => {
      const onAbort = (): void => {
        // Order: the lease ends first, so that its calls are cancelled by the time anybody hears.
        lease.release();
        reject(signal.reason);
      };
      aborts.follow(signal, onAbort);
      stopListening = () => aborts.unfollow(signal, onAbort);
    });
    const working = (async () => work(lease.client, lease))();
    // Work that goes on after the abort may still reject: the race has taken that on.
    return await Promise.race([aborted, working]);
  } finally {
    stopListening();
    lease.release();
  }
}
