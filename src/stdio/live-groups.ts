// The groups of processes that one connector has started and that have not ended. Should our own
// process end with some of them left, whatever the reason, they are killed: the last resort.

import { listenToProcess } from '../process-listeners.ts';
import type { ProcessGroup } from './process-group.ts';

/** Those that have groups, of all connectors of this process. */
const all = new Set<LiveGroups>();

/** See the file header. */
export class LiveGroups {
  readonly #groups = new Set<ProcessGroup>();
  /** Listens while there is any. */
  #stopListening: () => void = () => {};

  add(group: ProcessGroup): void {
    if (this.#groups.size === 0) {
      all.add(this);
      this.#stopListening = listenToProcess(['exit'], () => this.killAll());
    }
    this.#groups.add(group);
  }

  /** Idempotent. */
  delete(group: ProcessGroup): void {
    if (!this.#groups.delete(group) || this.#groups.size > 0) return;
    all.delete(this);
    this.#stopListening();
  }

  /** Synchronous: there is no later. */
  killAll(): void {
    for (const group of this.#groups) group.kill(true);
  }
}

/** As `exit` does, for who ends our process by a signal: then there is no `exit`. */
export function killLiveGroups(): void {
  for (const groups of all) groups.killAll();
}
