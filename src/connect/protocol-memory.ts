// Which HTTP protocol servers were found to speak. An endpoint is most likely to speak what it
// spoke before, and one never seen what its origin's others speak. Bounded; what was looked at
// longest ago is forgotten first. Knows no session.

import type { HttpProtocol } from '../policy/transport-choice.ts';

/** Endpoints and origins. */
const ENTRIES_MAX = 2_000;

/** See the file header. Without user info and query, which may hold credentials. */
export class ProtocolMemory {
  /** By endpoint, and by origin: least recently used first. */
  readonly #spoken = new Map<string, HttpProtocol>();

  /** Whether it was found out for `url` itself. */
  knows(url: URL): boolean {
    return this.#recall(endpointOf(url)) !== undefined;
  }

  /** What `url` speaks, most likely; `undefined`: nobody knows. */
  guess(url: URL): HttpProtocol | undefined {
    return this.#recall(endpointOf(url)) ?? this.#recall(url.origin);
  }

  learn(url: URL, protocol: HttpProtocol): void {
    this.#remember(url.origin, protocol);
    this.#remember(endpointOf(url), protocol);
  }

  /** It speaks neither, as it seems, and says nothing of its origin's others. */
  forget(url: URL): void {
    this.#spoken.delete(endpointOf(url));
    this.#spoken.delete(url.origin);
  }

  #recall(key: string): HttpProtocol | undefined {
    const protocol = this.#spoken.get(key);
    if (protocol !== undefined) this.#remember(key, protocol);
    return protocol;
  }

  #remember(key: string, protocol: HttpProtocol): void {
    this.#spoken.delete(key);
    this.#spoken.set(key, protocol);
    const [oldest] = this.#spoken.keys();
    if (this.#spoken.size > ENTRIES_MAX && oldest !== undefined) this.#spoken.delete(oldest);
  }
}

/** Longer than an origin by a path at least, so that neither is taken for the other. */
const endpointOf = (url: URL): string => `${url.origin}${url.pathname}`;
