// Which HTTP protocol servers were found to speak. An endpoint is most likely to speak what it
// spoke before, and one never seen what its origin's others speak. What a session has shown is
// changed by another session alone: who is refused must not lead others astray. Bounded; what was
// looked at longest ago is forgotten first. Knows no session.

import type { HttpProtocol } from '../policy/transport-choice.ts';

/** Endpoints and origins. */
const ENTRIES_MAX = 2_000;

interface Verdict {
  readonly protocol: HttpProtocol;
  /** A session was opened over it. */
  readonly isProven: boolean;
}

/** See the file header. Without user info and query, which may hold credentials. */
export class ProtocolMemory {
  /** By endpoint, and by origin: least recently used first. */
  readonly #verdicts = new Map<string, Verdict>();

  /** Whether it was found out, or is supposed, for `url` itself. */
  knows(url: URL): boolean {
    return this.#recall(endpointOf(url)) !== undefined;
  }

  /** What `url` speaks, most likely; `undefined`: nobody knows. */
  guess(url: URL): HttpProtocol | undefined {
    return this.#recall(endpointOf(url)) ?? this.#recall(url.origin);
  }

  /** A session was opened over `protocol`. */
  learn(url: URL, protocol: HttpProtocol): void {
    for (const key of keysOf(url)) this.#remember(key, { protocol, isProven: true });
  }

  /** The other protocol was refused. Counts until something is learned, or it is dismissed. */
  suppose(url: URL, protocol: HttpProtocol): void {
    for (const key of keysOf(url)) {
      if (!this.#isProven(key)) this.#remember(key, { protocol, isProven: false });
    }
  }

  /** It was refused as well: what was supposed says nothing any more, of its origin neither. */
  dismiss(url: URL): void {
    for (const key of keysOf(url)) if (!this.#isProven(key)) this.#verdicts.delete(key);
  }

  #isProven(key: string): boolean {
    return this.#verdicts.get(key)?.isProven === true;
  }

  #recall(key: string): HttpProtocol | undefined {
    const verdict = this.#verdicts.get(key);
    if (verdict !== undefined) this.#remember(key, verdict);
    return verdict?.protocol;
  }

  #remember(key: string, verdict: Verdict): void {
    this.#verdicts.delete(key);
    this.#verdicts.set(key, verdict);
    const [oldest] = this.#verdicts.keys();
    if (this.#verdicts.size > ENTRIES_MAX && oldest !== undefined) this.#verdicts.delete(oldest);
  }
}

const keysOf = (url: URL): readonly string[] => [url.origin, endpointOf(url)];

/** Longer than an origin by a path at least, so that neither is taken for the other. */
const endpointOf = (url: URL): string => `${url.origin}${url.pathname}`;
