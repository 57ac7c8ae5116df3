// One waiting acquire. Settles exactly once (Invariant I5), and when it does, leaves no listener.

import type { AcquireRequest } from './acquire-request.ts';
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
  readonly #onAbort: (() => void) | undefined;

  constructor(details: {
    readonly request: AcquireRequest;
    readonly since: number;
    readonly resolve: (lease: Lease<C>) => void;
    readonly reject: (error: unknown) => void;
    readonly onAbort: (waiter: Waiter<C>) => void;
  }) {
    const { request, since, resolve, reject, onAbort } = details;
    this.request = request;
    this.since = since;
    this.dueAt = since + request.timeoutMs;
    this.#resolve = resolve;
    this.#reject = reject;
    if (request.signal !== undefined) {
      this.#onAbort = () => onAbort(this);
      request.signal.addEventListener('abort', this.#onAbort, { once: true });
    }
  }

  resolve(lease: Lease<C>): void {
    this.#forgetSignal();
    this.#resolve(lease);
  }

  reject(error: unknown): void {
    this.#forgetSignal();
    this.#reject(error);
  }

  #forgetSignal(): void {
    if (this.#onAbort !== undefined) {
      this.request.signal?.removeEventListener('abort', this.#onAbort);
    }
  }
}
