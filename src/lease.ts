// A lease: one borrower's hold on a session. Single use: it ends once, and ending it again changes
// nothing, so that a stale second release can never hand one session to two borrowers (Invariant
// I3).

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { type AcquireRequest, currentHeaders, headersOf } from './acquire-request.ts';
import type { LeaseContext } from './connect/connector.ts';
import { type LeaseEndReason, LeaseReleasedError } from './errors.ts';
import type { Loss } from './loss.ts';
import type { Session } from './session.ts';

/** What a lease needs of the one who lent it. */
export interface Lender<C> {
  readonly label: string;
  endLease(lease: Lease<C>, reason: LeaseEndReason, detail?: string): void;
}

/** Use `client`, then end the lease with `release()`, `discard()` or `await using`. */
export class Lease<C = Client> {
  /** @internal */ previous: Lease<C> | undefined = undefined;
  /** @internal */ next: Lease<C> | undefined = undefined;
  /** @internal */ list: object | undefined = undefined;
  /** @internal */ readonly session: Session<C>;
  /** @internal */ readonly request: AcquireRequest;
  /** @internal When it was granted. */ readonly grantedAt: number;
  /** @internal Whether it was reported as held for too long. */ wasReported = false;
  /** Whether the session had been lent before this lease. One opened by `warm` had not. */
  readonly reused: boolean;
  /**
   * @internal Whether the session was there before somebody wanted it: it may have gone unnoticed.
   */
  readonly wasAtHand: boolean;
  readonly #lender: Lender<C>;
  #client: C | undefined;
  /** Whether the client is this lease's own, so that its calls reject once the lease has ended. */
  #isOwnClient = false;
  #endReason: LeaseEndReason | undefined;
  /** What took the session away, where something did. */
  #loss: Loss | undefined;
  /** Made when somebody asks: a stack costs microseconds. */
  #endError: Error | undefined;
  /**
   * Made when somebody asks for the signal: most never do, and a controller costs a microsecond.
   */
  #controller: AbortController | undefined;

  /** @internal */
  constructor(lender: Lender<C>, session: Session<C>, request: AcquireRequest, now: number) {
    this.#lender = lender;
    this.session = session;
    this.request = request;
    this.grantedAt = now;
    this.reused = session.wasLent;
    // One that was opened for this lease became idle in the turn that grants it.
    this.wasAtHand = session.wasLent || session.idleSince < now;
  }

  static {
    // What `console.log` asks for. Not a member, for its name is no name that a declaration can
    // have.
    const show = function (this: Lease<unknown>): string {
      return `Lease ${JSON.stringify(this)}`;
    };
    Object.defineProperty(Lease.prototype, Symbol.for('nodejs.util.inspect.custom'), {
      value: show,
    });
  }

  /**
   * The client, for this lease only. After the lease has ended its calls reject with
   * `LEASE_RELEASED`; a client that a custom connector shares between leases can't tell, so there
   * this getter throws instead.
   * @throws LeaseReleasedError (`LEASE_RELEASED`) as said above.
   */
  get client(): C {
    const error = this.#isOwnClient ? undefined : this.#endedWith();
    if (error !== undefined) throw error;
    return this.#client as C;
  }

  /**
   * The `Mcp-Session-Id` of the session, where it has one, while the lease lives. A secret: don't
   * log it.
   */
  get sessionId(): string | undefined {
    return this.#endReason === undefined ? this.session.connection?.sessionId : undefined;
  }

  /**
   * Aborts when the session is lost or taken back under the lease; not when the lease is released.
   */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#isTakenAway()) this.#controller.abort(this.#endedWith());
    return this.#controller.signal;
  }

  /** Gives the session back. Calls in flight are cancelled. A no-op once ended. */
  release(): void {
    this.#lender.endLease(this, 'released');
  }

  /**
   * Ends the lease and takes the session down instead of reusing it. A no-op once ended.
   * @param reason Your words, for the `lease-ended` event and its log line.
   */
  discard(reason?: string): void {
    this.#lender.endLease(this, 'discarded', reason);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.release();
    return Promise.resolve();
  }

  /** What a logger gets to see: a lease holds credentials and a session id. */
  toJSON(): { readonly key: string; readonly reused: boolean; readonly ended: string | false } {
    return {
      key: this.#lender.label,
      reused: this.reused,
      ended: this.#endReason ?? false,
    };
  }

  /** @internal How it ended; `undefined` while it lives. */
  get endReason(): LeaseEndReason | undefined {
    return this.#endReason;
  }

  /** @internal The client that was lent, for giving it back. */
  get lentClient(): C | undefined {
    return this.#client;
  }

  /** @internal */
  attach(client: C, isOwn: boolean): void {
    this.#client = client;
    this.#isOwnClient = isOwn;
  }

  /**
   * @internal Marks it ended; `loss`: what took the session away. Returns whether it still lived.
   */
  end(reason: LeaseEndReason, loss: Loss | undefined): boolean {
    if (this.#endReason !== undefined) return false;
    this.#endReason = reason;
    this.#loss = loss;
    if (this.#isTakenAway()) this.#controller?.abort(this.#endedWith());
    return true;
  }

  /** @internal What a connection is told of this lease. */
  context(): LeaseContext {
    const { target, headers, onRequest, onNotification } = this.request;
    return {
      headers: () => currentHeaders(headersOf(target), headers),
      onRequest,
      onNotification,
      end: () => this.release(),
      endedWith: () => this.#endedWith(),
    };
  }

  #endedWith(): Error | undefined {
    if (this.#endReason === undefined) return undefined;
    const isLost = this.#endReason === 'session-lost' && this.#loss !== undefined;
    this.#endError ??= isLost
      ? this.#loss?.errorForLater()
      : new LeaseReleasedError(this.#lender.label, this.#endReason);
    return this.#endError;
  }

  #isTakenAway(): boolean {
    const reason = this.#endReason;
    return reason !== undefined && reason !== 'released' && reason !== 'discarded';
  }
}
