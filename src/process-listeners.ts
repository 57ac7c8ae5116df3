// What the pools of one process listen to on `process`. There may be any number of pools, which to
// Node looks like a leak, so each listener brings the room that it takes.

/** Listens to `events` until the returned function is called. That is idempotent. */
export function listenToProcess<E extends string>(
  events: readonly E[],
  listener: (event: E) => void,
): () => void {
  allowListeners(1);
  for (const event of events) process.on(event, listener as () => void);
  let isListening = true;
  return () => {
    if (!isListening) return;
    isListening = false;
    for (const event of events) process.off(event, listener as () => void);
    allowListeners(-1);
  };
}

function allowListeners(more: number): void {
  const allowed = process.getMaxListeners();
  // 0: any number.
  if (allowed > 0) process.setMaxListeners(allowed + more);
}
