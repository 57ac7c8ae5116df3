// One waiting acquire. Settles exactly once (Invariant I5), and when it does, leaves no listener.

import type { AbortFanout } from './abort-fanout.ts';
import type { AcquireRequest } from './acquire-request.ts';
import { InvariantError } from './invariant.ts';
import type { Lease } from './lease.ts';

export class Waiter<C> {
  previous: Waiter<C> | undefined = undefined;
  next: Waiter<C> | undefined = undefined;
  list: object | undefined = undefined;
  /** Whether an open was started for it. */
  hasOpen = false;
  readonly request: AcquireRequest;
  /** When the acquire was called. */
  readonly since: number;
  /** When its time is over. */
  readonly dueAt: number;
  readonly #resolve: (lease: Lease<C>) => void;
  readonly #reject: (error: unknown) => void;
  #stopListening: (() => void) | undefined;
  #isSettled = false;

  constructor(
    request: AcquireRequest,
    since: number,
    resolve: (lease: Lease<C>) => void,
    reject: (error: unknown) => void,
  ) {
    this.request = request;
    this.since = since;
    this.dueAt = since + request.timeoutMs;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Calls `onAbort` when the caller aborts the wait. */
  listen(aborts: AbortFanout, signal: AbortSignal, onAbort: () => void): void {
    aborts.follow(signal, onAbort);
    this.#stopListening = () => aborts.unfollow(signal, onAbort);
  }

  resolve(lease: Lease<C>): void {
    this.#settle();
    this.#resolve(lease);
  }

  reject(error: unknown): void {
    this.#settle();
    this.#reject(error);
  }

  #settle(): void {
    if (this.#isSettled) throw new InvariantError('Invariant I5: an acquire settles once');
    this.#isSettled = true;
    this.#stopListening?.();
  }
}
