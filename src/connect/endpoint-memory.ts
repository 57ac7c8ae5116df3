// What is remembered of endpoints beyond their sessions: which of them need a notification stream.
// Bounded; the one looked at longest ago is forgotten first. Knows no session.

import { afterSilentDeath, needsStream, noNeed, type StreamNeed } from '../policy/stream-need.ts';

const ENDPOINTS_MAX = 1_000;

/** See the file header. */
export class EndpointMemory {
  /** Least recently used first. Endpoints that nothing is known of are not in it. */
  readonly #needs = new Map<string, StreamNeed>();

  /** Whether sessions of `endpoint` die idle unless they keep a stream. */
  needsStream(endpoint: string): boolean {
    const need = this.#needs.get(endpoint);
    if (need === undefined) return false;
    this.#remember(endpoint, need);
    return needsStream(need);
  }

  /** A session that had been silent was found dead at `now`. */
  silentDeath(endpoint: string, hadStream: boolean, now: number): void {
    this.#remember(endpoint, afterSilentDeath(this.#needs.get(endpoint) ?? noNeed, hadStream, now));
  }

  #remember(endpoint: string, need: StreamNeed): void {
    this.#needs.delete(endpoint);
    this.#needs.set(endpoint, need);
    const [oldest] = this.#needs.keys();
    if (this.#needs.size > ENDPOINTS_MAX && oldest !== undefined) this.#needs.delete(oldest);
  }
}
