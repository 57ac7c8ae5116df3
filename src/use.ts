// Runs a caller's work with a lease, and sees to it that the lease ends and that an abort is heard,
// whether the work listens or not.

import type { Lease } from './lease.ts';

export async function runWithLease<C, T>(
  lease: Lease<C>,
  work: (client: C, lease: Lease<C>) => T | PromiseLike<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal === undefined) {
    try {
      return await work(lease.client, lease);
    } finally {
      lease.release();
    }
  }
  let stopListening: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    const onAbort = (): void => {
      // Order: the lease ends first, so that the work's calls are cancelled by the time anybody hears.
      lease.release();
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    stopListening = () => signal.removeEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
  });
  try {
    // An aborted work may still reject when its calls are cancelled: the race has heard it.
    return await Promise.race([
      aborted,
      Promise.resolve(lease).then(() => work(lease.client, lease)),
    ]);
  } finally {
    stopListening();
    lease.release();
  }
}
