// What the pools of one process listen to on `process`. There may be any number of pools, which to
// Node looks like a leak, so each listener brings the room that it takes.

import type { EventEmitter } from 'node:events';

/** The types of `process` know the listeners of its own events only one by one. */
const emitter: EventEmitter = process;

/** Listens to `events` until the returned function is called. That is idempotent. */
export function listenToProcess<E extends string>(
  events: readonly E[],
  listener: (event: E) => void,
): () => void {
  allowListeners(1);
  for (const event of events) emitter.on(event, listener);
  let isListening = true;
  return () => {
    if (!isListening) return;
    isListening = false;
    for (const event of events) emitter.off(event, listener);
    allowListeners(-1);
  };
}

function allowListeners(more: number): void {
  const allowed = emitter.getMaxListeners();
  // 0: any number.
  if (allowed > 0) emitter.setMaxListeners(allowed + more);
}
