// The requests in flight on one session, over all its leases and the session itself: gives each an
// upstream id and finds it again by that id. Knows nothing of messages or transports.

import type { RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { Call } from './lane.ts';

/** What a request is called on the borrower's side. */
export type CallDetails = Pick<Call, 'lane' | 'localId' | 'method' | 'progressToken'>;

/** The in-flight table of one session. */
export class CallTable {
  /**
   * Counts up over all lanes and is never reset: an id may not be used twice within a session.
   * Starts at 1, for SDK 1 servers ignore the cancellation of request 0.
   */
  #nextId = 1;
  readonly #calls = new Map<number, Call>();

  get size(): number {
    return this.#calls.size;
  }

  /** Enters a request and gives it its upstream id. */
  add(details: CallDetails): Call {
    const id = this.#nextId;
    this.#nextId += 1;
    let resolve!: () => void;
    let reject!: (error: unknown) => void;
    const done = new Promise<void>((onDone, onFailed) => {
      resolve = onDone;
      reject = onFailed;
    });
    const { lane, localId, method, progressToken } = details;
    const call: Call = { id, lane, localId, method, progressToken, done, resolve, reject };
    this.#calls.set(id, call);
    return call;
  }

  /** The call a peer means by `id`. Peers may send a number back as a string. */
  find(id: RequestId | undefined): Call | undefined {
    return id === undefined ? undefined : this.#calls.get(Number(id));
  }

  /** Takes a call out. False: it was over already. */
  remove(call: Call): boolean {
    if (!this.#calls.delete(call.id)) return false;
    call.lane.forget(call.localId);
    return true;
  }

  /** Takes all calls out, oldest first. */
  drain(): readonly Call[] {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.lane.forget(call.localId);
    return calls;
  }

  /** What is in flight, oldest first. */
  list(): readonly Call[] {
    return [...this.#calls.values()];
  }
}
