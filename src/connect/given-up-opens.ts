// The opens of one connector that were given up and are still being ended, by key. Their slots are
// free already, so whoever opens next for the key waits for what they hold: a process, say. Knows
// nothing of what is opened.

import { againstSignal } from '../against-signal.ts';

/** See the file header. */
export class GivenUpOpens {
  /** An entry exists while it has members. */
  readonly #byKey = new Map<string, Set<Promise<unknown>>>();

  /** Counts from the abort of `signal` until `opening` settles, if it has not by then. */
  watch(key: string, opening: Promise<unknown>, signal: AbortSignal): void {
    const onAbort = (): void => {
      this.#of(key).add(opening);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const onSettled = (): void => {
      signal.removeEventListener('abort', onAbort);
      const opens = this.#byKey.get(key);
      if (opens?.delete(opening) === true && opens.size === 0) this.#byKey.delete(key);
    };
    opening.then(onSettled, onSettled);
  }

  /** Settles when none of `key` is left. Bound: `signal`, with whose reason it rejects. */
  async ended(key: string, signal: AbortSignal): Promise<void> {
    for (;;) {
      const opens = this.#byKey.get(key);
      if (opens === undefined) return;
      await againstSignal(signal, Promise.allSettled(opens));
    }
  }

  #of(key: string): Set<Promise<unknown>> {
    const opens = this.#byKey.get(key) ?? new Set();
    this.#byKey.set(key, opens);
    return opens;
  }
}
