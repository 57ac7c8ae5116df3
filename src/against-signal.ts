// A promise raced against an abort signal. The one place in `connect/` and `http/` where a wait on
// a peer is cut short, so that no listener stays behind on a signal that lives longer.

/**
 * Settles as `work` does, or rejects with the signal's reason as soon as it aborts, whatever `work`
 * does. What `work` does later is absorbed. Leaves no listener on `signal`.
 */
export async function againstSignal<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  let detach = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    detach = () => signal.removeEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    detach();
  }
}
