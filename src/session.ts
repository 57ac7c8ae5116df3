// One pooled session: the ledger's facts about it, its connection once open, and its live leases.
// A record: `sub-pool.ts` makes every change.

import type { AcquireRequest } from './acquire-request.ts';
import type { Attempt } from './breaker-gate.ts';
import type { Connection } from './connect/connector.ts';
import type { Lease } from './lease.ts';
import type { RetireReason } from './observe/events.ts';
import { IntrusiveList } from './policy/intrusive-list.ts';
import type { Slot, SlotState } from './policy/ledger.ts';

export class Session<C> implements Slot<Session<C>> {
  state: SlotState = 'opening';
  leaseCount = 0;
  idleSince = 0;
  heardAt = 0;
  /** Unheard for so long, it is asked in the background. Set once, when it opened. */
  keepAliveAfterMs: number = Number.POSITIVE_INFINITY;
  /** Waits for its turn to be asked in the background: no upkeep is due for that. */
  isInLine = false;
  expiresAt: number = Number.POSITIVE_INFINITY;
  condemned = false;
  /** Why it goes when its last lease ends; set with `condemned`. */
  retireReason: RetireReason | undefined = undefined;
  canProbe = false;
  suspect = false;
  previous: Session<C> | undefined = undefined;
  next: Session<C> | undefined = undefined;
  list: object | undefined = undefined;
  readonly generation: number;
  /** While it opens: who it is opened for. */
  opensFor: AcquireRequest | undefined = undefined;
  /** What its breakers know its open by; unset where they are switched off. */
  attempt: Attempt | undefined = undefined;
  /** What the caller's own headers function threw last, or its credentials failed with. */
  callersError: unknown = undefined;
  /** Answers of that function that are waited for. */
  headersAwaited = 0;
  /** When its open began. */
  readonly openingAt: number;
  /** Set when its open succeeded, let go when it is gone. */
  connection: Connection<C> | undefined = undefined;
  /** Whether it was lent before: tells reuse from first use. */
  wasLent = false;
  /** @internal Its live leases; as many as `leaseCount`. */
  readonly leases: IntrusiveList<Lease<C>> = new IntrusiveList<Lease<C>>();
  /** Ends its open or its probe, whichever is under way; it may be probed while leased. */
  pending: AbortController | undefined = undefined;
  /** Stops watching the connection for loss. */
  unwatch: (() => void) | undefined = undefined;

  constructor(generation: number, openingAt: number) {
    this.generation = generation;
    this.openingAt = openingAt;
  }
}
