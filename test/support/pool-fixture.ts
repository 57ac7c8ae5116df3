// A pool on a manual clock over a gated connector, with its events: what most tests of the heart
// start from.

import {
  type FakeClient,
  type GatedConnector,
  type Gates,
  gatedConnector,
  ManualClock,
} from 'mcp-session-pool/testing';
import type { Lease } from '../../src/lease.ts';
import type { PoolEvent } from '../../src/observe/events.ts';
import type { SessionPoolOptions } from '../../src/options.ts';
import { SessionPool } from '../../src/session-pool.ts';
import type { HttpTarget, SessionTarget } from '../../src/target.ts';

export type FakeLease = Lease<FakeClient>;

export interface PoolFixture {
  readonly pool: SessionPool<FakeClient>;
  readonly clock: ManualClock;
  readonly connector: GatedConnector;
  readonly events: PoolEvent[];
  /** Opens one session of `target` and leaves it idle. */
  warm(target?: SessionTarget): Promise<void>;
  /** Acquires and lets everything settle: for acquires that need no time. */
  lease(target?: SessionTarget): Promise<FakeLease>;
}

export const TARGET: HttpTarget = { url: 'https://one.example/mcp' };

export const targetOf = (name: string, more: Partial<HttpTarget> = {}): HttpTarget => ({
  url: `https://${name}.example/mcp`,
  ...more,
});

export function makePool(
  options: SessionPoolOptions<FakeClient> & { gates?: Partial<Gates>; clock?: ManualClock } = {},
  random: () => number = () => 0.5,
): PoolFixture {
  const { gates = {}, clock = new ManualClock(), ...rest } = options;
  const connector = gatedConnector({ clock });
  connector.gates = gates;
  const events: PoolEvent[] = [];
  const pool = new SessionPool<FakeClient>(
    { connector: connector.connect, onEvent: (event) => events.push(event), ...rest },
    { clock, random },
  );
  const lease = async (target: SessionTarget = TARGET): Promise<FakeLease> => {
    const pending = pool.acquire(target);
    await clock.settle();
    return pending;
  };
  const warm = async (target: SessionTarget = TARGET): Promise<void> => {
    (await lease(target)).release();
  };
  return { pool, clock, connector, events, warm, lease };
}

/** What a promise has come to, without waiting for it. */
export class Outcome<T> {
  state: 'pending' | 'fulfilled' | 'rejected' = 'pending';
  value: T | undefined = undefined;
  error: unknown = undefined;
  /** Which of all outcomes settled first: smaller is earlier. */
  order: number = Number.POSITIVE_INFINITY;
  static #settledCount = 0;

  constructor(promise: Promise<T>) {
    promise.then(
      (value) => {
        this.#settle('fulfilled');
        this.value = value;
      },
      (error: unknown) => {
        this.#settle('rejected');
        this.error = error;
      },
    );
  }

  /** The value of a promise that has fulfilled. */
  get got(): T {
    if (this.state !== 'fulfilled') {
      throw new Error(`expected a fulfilled promise, this one is ${this.state}`, {
        cause: this.error,
      });
    }
    return this.value as T;
  }

  /** The `code` of the error it rejected with. */
  get code(): unknown {
    return (this.error as { code?: unknown } | undefined)?.code;
  }

  #settle(state: 'fulfilled' | 'rejected'): void {
    this.state = state;
    Outcome.#settledCount += 1;
    this.order = Outcome.#settledCount;
  }
}

export const watch = <T>(promise: Promise<T>): Outcome<T> => new Outcome(promise);
