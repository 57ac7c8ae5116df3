// The pools that are compared. Each borrows in its own idiom, with no adapter in the measured path,
// and is set up as its documentation has it, with room for the scenario; none probes or validates.

import { SessionPool } from 'mcp-session-pool';

export interface Contender {
  /** Takes a resource of the key and gives it back, `times` over, one after the other. */
  borrow(times: number, plan: Plan): Promise<void>;
  /** Takes one, for those who hold or wait. */
  take(key: number): PromiseLike<unknown>;
  give(key: number, taken: unknown): void;
}

export interface Plan {
  /** The key of each borrowing. */
  keyAt(index: number): number;
  /** Whether a borrower lets the others run while it holds the resource. */
  readonly yields: boolean;
}

export interface Room {
  readonly keys: number;
  readonly resourcesPerKey: number;
  readonly waiters: number;
}

/** Long enough never to strike, so that only the keeping of the deadline is paid for. */
const ACQUIRE_TIMEOUT_MS = 120_000;
const IDLE_TIMEOUT_MS = 300_000;

/** What a borrower that lets the others run waits for. */
const aTurn = Promise.resolve();

/** A resource of the same shape for everyone. */
const newResource = () => ({ close: async (): Promise<void> => {} });
type Resource = ReturnType<typeof newResource>;

/** In the order of the table. The pools of others are loaded only by the child that runs them. */
export const contenders: Record<string, (room: Room) => Promise<Contender>> = {
  floor: async (room) => floor(room),
  'mcp-session-pool': async (room) => ours(room, newTarget),
  'mcp-session-pool, target kept': async (room) => ours(room, keptTarget(room)),
  'generic-pool': (room) => genericPool(room, { acquireTimeoutMillis: ACQUIRE_TIMEOUT_MS }),
  'generic-pool, no timeout': (room) => genericPool(room, {}),
  'lightning-pool': (room) => lightningPool(room, { acquireTimeoutMillis: ACQUIRE_TIMEOUT_MS }),
  'lightning-pool, no timeout': (room) => lightningPool(room, {}),
  tarn: (room) => tarn(room),
};

interface Shelf {
  readonly idle: Resource[];
  readonly waiting: ((resource: Resource) => void)[];
}

/** What no pool can beat: a stack of resources and a queue of promises per key, no bookkeeping. */
function floor(room: Room): Contender {
  const shelfOf = perKey<Shelf>(room, () => ({
    idle: Array.from({ length: room.resourcesPerKey }, newResource),
    waiting: [],
  }));
  const take = (shelf: Shelf): Promise<Resource> => {
    const resource = shelf.idle.pop();
    if (resource) return Promise.resolve(resource);
    return new Promise((resolve) => shelf.waiting.push(resolve));
  };
  const give = (shelf: Shelf, resource: Resource): void => {
    const next = shelf.waiting.shift();
    if (next) next(resource);
    else shelf.idle.push(resource);
  };
  return {
    borrow: async (times, plan) => {
      for (let index = 0; index < times; index += 1) {
        const shelf = shelfOf(plan.keyAt(index));
        const resource = await take(shelf);
        if (plan.yields) await aTurn;
        give(shelf, resource);
      }
    },
    take: (key) => take(shelfOf(key)),
    give: (key, taken) => give(shelfOf(key), taken as Resource),
  };
}

interface Target {
  readonly url: string;
  readonly identity: string;
}

const urls = Array.from({ length: 1_000 }, (_, key) => `http://127.0.0.1:1/server-${key}/mcp`);

/** As a gateway does it: a target made for each request. */
const newTarget = (key: number): Target => ({ url: urls[key]!, identity: 'bench' });

/** As a program with fixed servers does it. */
function keptTarget(room: Room): (key: number) => Target {
  const kept = Array.from({ length: room.keys }, (_, key) => newTarget(key));
  return (key) => kept[key]!;
}

function ours(room: Room, targetOf: (key: number) => Target): Contender {
  const pool = new SessionPool<Resource>({
    connector: async () => ({ client: newResource(), transport: newResource() }),
    maxSessionsPerKey: room.resourcesPerKey,
    maxSessions: room.resourcesPerKey * room.keys,
    maxOpeningPerKey: room.resourcesPerKey,
    maxWaitersPerKey: Math.max(room.waiters, room.resourcesPerKey),
    acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
    idleTimeoutMs: IDLE_TIMEOUT_MS,
  });
  return {
    borrow: async (times, plan) => {
      for (let index = 0; index < times; index += 1) {
        const lease = await pool.acquire(targetOf(plan.keyAt(index)));
        if (plan.yields) await aTurn;
        lease.release();
      }
    },
    take: (key) => pool.acquire(targetOf(key)),
    give: (_key, taken) => (taken as { release(): void }).release(),
  };
}

/** Others have no keys: one pool each, found by key, as their users do it. */
function perKey<P>(room: Room, build: () => P): (key: number) => P {
  if (room.keys === 1) {
    const only = build();
    return () => only;
  }
  const pools = new Map(urls.slice(0, room.keys).map((url) => [url, build()]));
  return (key) => pools.get(urls[key]!)!;
}

async function genericPool(room: Room, options: object): Promise<Contender> {
  const { createPool } = await import('generic-pool');
  const factory = { create: async () => newResource(), destroy: async () => {} };
  const settings = { max: room.resourcesPerKey, idleTimeoutMillis: IDLE_TIMEOUT_MS, ...options };
  return ofPools(perKey(room, () => createPool(factory, settings)));
}

async function lightningPool(room: Room, options: object): Promise<Contender> {
  const { createPool } = await import('lightning-pool');
  const factory = { create: async () => newResource(), destroy: async () => {} };
  const maxQueue = Math.max(room.waiters, room.resourcesPerKey) + 1;
  const settings = { max: room.resourcesPerKey, maxQueue, idleTimeoutMillis: IDLE_TIMEOUT_MS };
  return ofPools(perKey(room, () => createPool(factory, { ...settings, ...options })));
}

interface PoolOfResources {
  acquire(): PromiseLike<Resource>;
  release(resource: Resource): unknown;
}

function ofPools(poolOf: (key: number) => PoolOfResources): Contender {
  return {
    borrow: async (times, plan) => {
      for (let index = 0; index < times; index += 1) {
        const pool = poolOf(plan.keyAt(index));
        const resource = await pool.acquire();
        if (plan.yields) await aTurn;
        void pool.release(resource);
      }
    },
    take: (key) => poolOf(key).acquire(),
    give: (key, taken) => void poolOf(key).release(taken as Resource),
  };
}

/** Keeps a timer for each acquire; there is no way to have it without one. */
async function tarn(room: Room): Promise<Contender> {
  const { Pool } = await import('tarn');
  const settings = {
    create: async () => newResource(),
    destroy: async () => {},
    min: 0,
    max: room.resourcesPerKey,
    acquireTimeoutMillis: ACQUIRE_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
  };
  const poolOf = perKey(room, () => new Pool<Resource>(settings));
  return {
    borrow: async (times, plan) => {
      for (let index = 0; index < times; index += 1) {
        const pool = poolOf(plan.keyAt(index));
        const resource = await pool.acquire().promise;
        if (plan.yields) await aTurn;
        pool.release(resource);
      }
    },
    take: (key) => poolOf(key).acquire().promise,
    give: (key, taken) => void poolOf(key).release(taken as Resource),
  };
}
