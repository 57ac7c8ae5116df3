// The groups of processes that one connector has started and that have not ended. Should our own
// process exit with some of them left, whatever the reason, they are killed: the last resort.

import type { ProcessGroup } from './process-group.ts';

/** See the file header. */
export class LiveGroups {
  readonly #groups = new Set<ProcessGroup>();
  /** Listens while there is any. Synchronous: there is no later. */
  readonly #onExit = (): void => {
    for (const group of this.#groups) group.kill(true);
  };

  add(group: ProcessGroup): void {
    if (this.#groups.size === 0) {
      allowListeners(1);
      process.on('exit', this.#onExit);
    }
    this.#groups.add(group);
  }

  /** Idempotent. */
  delete(group: ProcessGroup): void {
    if (!this.#groups.delete(group) || this.#groups.size > 0) return;
    process.off('exit', this.#onExit);
    allowListeners(-1);
  }
}

/** A process may have many pools: their listeners are no leak that Node should warn of. */
function allowListeners(more: number): void {
  const allowed = process.getMaxListeners();
  // 0: any number.
  if (allowed > 0) process.setMaxListeners(allowed + more);
}
