// What the sessions of one caller (a server and an identity) share: the server's era, what it said
// of itself, and the cache of its answers. Never across identities. Bounded: without a session only
// the era of a server is remembered, and that for a while.

import { createHash } from 'node:crypto';
import {
  type CacheEntry,
  type CacheKey,
  InMemoryResponseCacheStore,
  type PriorDiscovery,
  type ResponseCacheStore,
} from '@modelcontextprotocol/client';
import type { Clock } from '../clock.ts';

/**
 * How long a server counts as one of the handshake era without being asked. It never fails by that:
 * a server that was upgraded meanwhile shakes hands as before.
 */
const LEGACY_FOR_MS = 600_000;
const LEGACY_MAX = 10_000;
/** In the SDK's partitions: everybody's, as opposed to the client's own. */
const FOR_EVERYBODY = ',""]';

/** What one session holds of its server's memory. */
export interface ServerHold {
  /** What need not be asked again. */
  readonly prior: PriorDiscovery | undefined;
  /** For the clients of leases. */
  readonly cache: ResponseCacheStore;
  /** The server has shown what it is. */
  learned(verdict: PriorDiscovery): void;
  /** It may be another by now. */
  forget(): void;
  /** The session is over. With the last one the cache is dropped. Idempotent. */
  release(): void;
}

interface Server {
  holders: number;
  /** What it said of itself, when it is known to keep no sessions. */
  modern: PriorDiscovery | undefined;
  readonly cache: ResponseCacheStore;
}

/** See the file header. */
export class ServerMemory {
  readonly #store: ResponseCacheStore | undefined;
  /** By caller. An entry exists while it has holders. */
  readonly #servers = new Map<string, Server>();
  /** When a server was last seen to be of the handshake era, by caller. The oldest first. */
  readonly #legacyAt = new Map<string, number>();

  /** `store` takes the answers of all callers, apart. Default: one in memory for each. */
  constructor(store: ResponseCacheStore | undefined) {
    this.#store = store;
  }

  /** Callers that hold something at the moment. */
  get size(): number {
    return this.#servers.size;
  }

  /** Whether its server was of the handshake era not long ago. */
  isLegacy(caller: string, clock: Clock): boolean {
    return clock.now() - (this.#legacyAt.get(caller) ?? Number.NEGATIVE_INFINITY) < LEGACY_FOR_MS;
  }

  hold(caller: string, clock: Clock): ServerHold {
    const server = this.#servers.get(caller) ?? this.#create(caller);
    this.#servers.set(caller, server);
    server.holders += 1;
    let isHeld = true;
    const priorOf = (): PriorDiscovery | undefined => {
      return server.modern ?? (this.isLegacy(caller, clock) ? { kind: 'legacy' } : undefined);
    };
    return {
      get prior() {
        return priorOf();
      },
      cache: server.cache,
      learned: (verdict) => {
        server.modern = verdict.kind === 'modern' ? verdict : undefined;
        if (verdict.kind === 'modern') this.#legacyAt.delete(caller);
        else this.#remember(caller, clock);
      },
      forget: () => {
        server.modern = undefined;
        this.#legacyAt.delete(caller);
      },
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        server.holders -= 1;
        if (server.holders === 0) this.#servers.delete(caller);
      },
    };
  }

  #create(caller: string): Server {
    const store = this.#store ?? new InMemoryResponseCacheStore();
    return { holders: 0, modern: undefined, cache: new CallersCache(store, caller) };
  }

  #remember(caller: string, clock: Clock): void {
    // A known one keeps its date: who is asked again and again must be asked anew at some time.
    if (this.isLegacy(caller, clock)) return;
    this.#legacyAt.delete(caller);
    this.#legacyAt.set(caller, clock.now());
    const [oldest] = this.#legacyAt.keys();
    if (this.#legacyAt.size > LEGACY_MAX && oldest !== undefined) this.#legacyAt.delete(oldest);
  }
}

/**
 * One caller's part of a store. The SDK tells servers apart by the name that they give themselves,
 * which another server may give itself too, and one without a name gets a new one with each client:
 * here a server is the one that the caller reaches.
 */
class CallersCache implements ResponseCacheStore {
  readonly #store: ResponseCacheStore;
  /** A digest: who the caller is must not be read in a store of others. */
  readonly #caller: string;

  constructor(store: ResponseCacheStore, caller: string) {
    this.#store = store;
    this.#caller = createHash('sha256').update(caller).digest('base64url');
  }

  get(key: CacheKey): ReturnType<ResponseCacheStore['get']> {
    return this.#store.get(this.#own(key));
  }

  set(key: CacheKey, entry: Omit<CacheEntry, 'stamp'>): ReturnType<ResponseCacheStore['set']> {
    return this.#store.set(this.#own(key), entry);
  }

  delete(key: CacheKey): ReturnType<ResponseCacheStore['delete']> {
    return this.#store.delete(this.#own(key));
  }

  evict(): void {
    // Would evict the method for every caller. The SDK deletes single entries instead.
  }

  clear(): void {
    // A client that goes takes nothing from the others.
  }

  #own({ partition = '', ...key }: CacheKey): CacheKey {
    const scope = partition.endsWith(FOR_EVERYBODY) ? 'public' : 'private';
    return { ...key, partition: `${this.#caller} ${scope}` };
  }
}
