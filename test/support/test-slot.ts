// Plain slots and waiters, for tests of policy.

import type { Linked } from '../../src/policy/intrusive-list.ts';
import type { Slot, SlotState } from '../../src/policy/ledger.ts';

export class TestSlot implements Slot<TestSlot> {
  previous: TestSlot | undefined = undefined;
  next: TestSlot | undefined = undefined;
  list: object | undefined = undefined;
  state: SlotState = 'opening';
  leaseCount = 0;
  idleSince = 0;
  heardAt = 0;
  expiresAt: number = Number.POSITIVE_INFINITY;
  condemned = false;
  canProbe = false;
  suspect = false;
  generation = 0;
}

export class TestWaiter implements Linked<TestWaiter> {
  previous: TestWaiter | undefined = undefined;
  next: TestWaiter | undefined = undefined;
  list: object | undefined = undefined;
}
