// The one decision of a key, as a table: books and time in, next step out.

import { describe, expect, test } from 'vitest';
import { Ledger, noCounts } from '../../src/policy/ledger.ts';
import {
  type KeyView,
  lendingStep,
  nextStep,
  type Step,
  wantedOpens,
} from '../../src/policy/next-step.ts';
import { TestSlot, TestWaiter } from '../support/test-slot.ts';

const NOW = 100_000;

interface Books {
  readonly name: string;
  readonly waiting?: number;
  readonly opening?: number;
  readonly probing?: number;
  readonly leased?: number;
  readonly leasedFacts?: Partial<Pick<TestSlot, 'condemned' | 'generation'>>;
  readonly closing?: number;
  /** Idle sessions, longest idle first. */
  readonly idle?: readonly Partial<
    Pick<
      TestSlot,
      'idleSince' | 'heardAt' | 'expiresAt' | 'condemned' | 'canProbe' | 'generation' | 'suspect'
    >
  >[];
  /** A shared session with room. */
  readonly spare?: number;
  readonly closed?: boolean;
  readonly leasesPerSession?: number;
  readonly maxSessionsPerKey?: number;
  readonly maxOpeningPerKey?: number;
  readonly opensAfter?: number;
  readonly roomInPool?: number;
  readonly generation?: number;
  readonly probeAfterIdleMs?: number;
  /** What the breakers let through. Default: all. */
  readonly allowed?: number;
}

function viewOf(books: Books): KeyView {
  const ledger = new Ledger<TestSlot, TestWaiter>(noCounts());
  const leasesPerSession = books.leasesPerSession ?? 1;
  const add = (): TestSlot => {
    const slot = new TestSlot();
    ledger.add(slot);
    return slot;
  };
  const lend = (slot: TestSlot, leases: number): void => {
    ledger.move(slot, 'opening', 'idle', NOW);
    for (let count = 0; count < leases; count += 1) ledger.lease(slot, leasesPerSession, NOW);
  };
  for (const facts of books.idle ?? []) {
    const slot = add();
    ledger.move(slot, 'opening', 'idle', facts.idleSince ?? NOW);
    Object.assign(slot, facts);
    slot.heardAt = facts.heardAt ?? slot.idleSince;
  }
  for (let count = 0; count < (books.spare ?? 0); count += 1) lend(add(), 1);
  for (let count = 0; count < (books.leased ?? 0); count += 1) {
    const slot = add();
    lend(slot, leasesPerSession);
    Object.assign(slot, books.leasedFacts);
  }
  for (let count = 0; count < (books.opening ?? 0); count += 1) add();
  for (let count = 0; count < (books.probing ?? 0); count += 1) {
    const slot = add();
    ledger.move(slot, 'opening', 'idle', NOW);
    ledger.move(slot, 'idle', 'probing', NOW);
  }
  for (let count = 0; count < (books.closing ?? 0); count += 1) {
    ledger.move(add(), 'opening', 'closing', NOW);
  }
  for (let count = 0; count < (books.waiting ?? 0); count += 1) ledger.enqueue(new TestWaiter());
  return {
    ledger,
    closed: books.closed ?? false,
    generation: books.generation ?? 0,
    opensAfter: books.opensAfter ?? 0,
    opensAllowed: () => books.allowed ?? Number.POSITIVE_INFINITY,
    roomInPool: books.roomInPool ?? 100,
    limits: {
      leasesPerSession,
      maxSessionsPerKey: books.maxSessionsPerKey ?? 10,
      maxOpeningPerKey: books.maxOpeningPerKey ?? 4,
      probeAfterIdleMs: books.probeAfterIdleMs ?? 60_000,
      idleTimeoutMs: 300_000,
      maxLifetimeMs: 1_800_000,
    },
  };
}

const LONG_AGO = NOW - 60_001;

const steps: readonly (Books & { readonly step: Step | undefined })[] = [
  { name: 'nothing to do', step: undefined },
  { name: 'a waiter and no session', waiting: 1, step: 'open' },
  { name: 'a waiter and an idle session', waiting: 1, idle: [{}], step: 'grant-idle' },
  { name: 'nobody waits for an idle session', idle: [{}], step: undefined },
  {
    name: 'a waiter and an idle session that may be gone',
    waiting: 1,
    idle: [{ canProbe: true, suspect: true }],
    step: 'probe',
  },
  {
    name: 'nobody waits for an idle session that may be gone',
    idle: [{ canProbe: true, suspect: true }],
    step: undefined,
  },
  {
    name: 'a waiter and a shared session with room',
    waiting: 1,
    spare: 1,
    idle: [{}],
    leasesPerSession: 2,
    step: 'grant-spare',
  },
  { name: 'a waiter whose open is under way', waiting: 1, opening: 1, step: undefined },
  {
    name: 'a waiter beside an open, and a session comes back',
    waiting: 1,
    opening: 1,
    idle: [{}],
    step: 'grant-idle',
  },
  { name: 'two waiters, one open under way', waiting: 2, opening: 1, step: 'open' },
  {
    name: 'two waiters, one shared open under way',
    waiting: 2,
    opening: 1,
    leasesPerSession: 2,
    step: undefined,
  },
  {
    name: 'three waiters, one shared open under way',
    waiting: 3,
    opening: 1,
    leasesPerSession: 2,
    step: 'open',
  },
  { name: 'a waiter whose probe is under way', waiting: 1, probing: 1, step: undefined },
  { name: 'all slots leased', waiting: 1, leased: 2, maxSessionsPerKey: 2, step: undefined },
  {
    name: 'a closing session holds the last slot',
    waiting: 1,
    closing: 1,
    maxSessionsPerKey: 1,
    step: undefined,
  },
  { name: 'as many opens under way as may be', waiting: 9, opening: 4, step: undefined },
  { name: 'no room in the pool', waiting: 1, roomInPool: 0, step: undefined },
  { name: 'backing off', waiting: 1, opensAfter: NOW + 1, step: undefined },
  { name: 'the backoff is over', waiting: 1, opensAfter: NOW, step: 'open' },
  {
    name: 'backing off beside an idle session',
    waiting: 1,
    opensAfter: NOW + 1,
    idle: [{}],
    step: 'grant-idle',
  },
  {
    name: 'an idle session that can be probed, idle for as long as allowed',
    waiting: 1,
    idle: [{ idleSince: LONG_AGO + 1, canProbe: true }],
    step: 'grant-idle',
  },
  {
    name: 'the same, idle for longer',
    waiting: 1,
    idle: [{ idleSince: LONG_AGO, canProbe: true }],
    step: 'probe',
  },
  {
    name: 'the same, but it cannot be probed',
    waiting: 1,
    idle: [{ idleSince: LONG_AGO }],
    step: 'grant-idle',
  },
  {
    name: 'a probe would serve nobody: an open does already',
    waiting: 1,
    opening: 1,
    idle: [{ idleSince: LONG_AGO, canProbe: true }],
    step: undefined,
  },
  {
    name: 'a second waiter beside a probe',
    waiting: 2,
    probing: 1,
    idle: [{ idleSince: LONG_AGO, canProbe: true }],
    step: 'probe',
  },
  {
    name: 'probe always, and just probed',
    waiting: 1,
    probeAfterIdleMs: 0,
    idle: [{ idleSince: NOW, canProbe: true }],
    step: 'grant-idle',
  },
  {
    name: 'probe always, idle for a moment',
    waiting: 1,
    probeAfterIdleMs: 0,
    idle: [{ idleSince: NOW - 1, canProbe: true }],
    step: 'probe',
  },
  {
    name: 'the newest idle session is lent, not the oldest',
    waiting: 1,
    idle: [{ condemned: true }, {}],
    step: 'grant-idle',
  },
  {
    name: 'the newest is stale',
    waiting: 1,
    idle: [{}, { generation: -1 }],
    step: 'retire-newest',
  },
  {
    name: 'the newest is condemned',
    waiting: 1,
    idle: [{ condemned: true }],
    step: 'retire-newest',
  },
  { name: 'the newest is too old', waiting: 1, idle: [{ expiresAt: NOW }], step: 'retire-newest' },
  {
    name: 'nobody waits, the oldest is stale',
    idle: [{ generation: -1 }, {}],
    step: 'retire-oldest',
  },
  {
    name: 'nobody waits, the oldest is idle for too long',
    idle: [{ idleSince: NOW - 300_000 }, {}],
    step: 'retire-oldest',
  },
  {
    name: 'all leased, and an idle one of an old generation',
    generation: 1,
    idle: [{}],
    step: 'retire-oldest',
  },
  { name: 'one may open on trial', waiting: 3, allowed: 1, step: 'open' },
  {
    name: 'a trial waits for no back-off: all have waited for it',
    waiting: 1,
    allowed: 1,
    opensAfter: NOW + 1,
    step: 'open',
  },
  { name: 'none may open, and none is there', waiting: 1, allowed: 0, step: 'fail-fast' },
  {
    name: 'none may open, and one is backing off as well',
    waiting: 1,
    allowed: 0,
    opensAfter: NOW + 1,
    step: 'fail-fast',
  },
  {
    name: 'none may open, but a lease will end',
    waiting: 5,
    allowed: 0,
    leased: 1,
    step: undefined,
  },
  {
    name: 'none may open, and the only session at work goes when its lease ends',
    waiting: 1,
    allowed: 0,
    leased: 1,
    leasedFacts: { condemned: true },
    step: 'fail-fast',
  },
  {
    name: 'none may open, and the only session at work is stale',
    waiting: 1,
    allowed: 0,
    leased: 1,
    leasedFacts: { generation: -1 },
    step: 'fail-fast',
  },
  { name: 'none may open, but one does', waiting: 1, allowed: 0, opening: 1, step: undefined },
  {
    name: 'none may open, and one does for another',
    waiting: 2,
    allowed: 0,
    opening: 1,
    step: 'fail-fast',
  },
  { name: 'none may open, but one is probed', waiting: 1, allowed: 0, probing: 1, step: undefined },
  {
    name: 'none may open, and one is closing',
    waiting: 1,
    allowed: 0,
    closing: 1,
    step: 'fail-fast',
  },
  {
    name: 'none may open beside an idle session',
    waiting: 1,
    allowed: 0,
    idle: [{}],
    step: 'grant-idle',
  },
  {
    name: 'none may open beside a session with room',
    waiting: 1,
    allowed: 0,
    spare: 1,
    leasesPerSession: 2,
    step: 'grant-spare',
  },
  {
    name: 'none may open beside an idle session that may be gone',
    waiting: 1,
    allowed: 0,
    idle: [{ canProbe: true, suspect: true }],
    step: 'probe',
  },
  {
    name: 'none may open, nor is there room',
    waiting: 1,
    allowed: 0,
    roomInPool: 0,
    step: 'fail-fast',
  },
  { name: 'none may open, and nobody waits', allowed: 0, step: undefined },
  { name: 'closed, with waiters', closed: true, waiting: 1, idle: [{}], step: 'refuse' },
  { name: 'closed, without', closed: true, idle: [{}], step: undefined },
];

describe('nextStep', () => {
  test.each(steps)('$name: $step', ({ step, ...books }) => {
    expect(nextStep(viewOf(books), NOW)).toBe(step);
  });

  test('is deterministic and changes nothing (I9)', () => {
    for (const books of steps) {
      const view = viewOf(books);
      const before = JSON.stringify(view.ledger.counts);
      expect(nextStep(view, NOW)).toBe(nextStep(view, NOW));
      expect(JSON.stringify(view.ledger.counts)).toBe(before);
    }
  });

  test('names a lending step only where one lends at once', () => {
    expect(lendingStep(viewOf({ name: 'empty' }), NOW)).toBeUndefined();
  });
});

const wants: readonly (Books & { readonly opens: number })[] = [
  { name: 'nobody waits', opens: 0 },
  { name: 'one waits', waiting: 1, opens: 1 },
  { name: 'three wait', waiting: 3, opens: 3 },
  { name: 'more wait than may open at once', waiting: 9, opens: 4 },
  { name: 'some are opening', waiting: 9, opening: 3, opens: 1 },
  { name: 'more wait than the key may have', waiting: 9, maxSessionsPerKey: 2, opens: 2 },
  { name: 'closing sessions hold their slots', waiting: 9, closing: 9, opens: 1 },
  { name: 'shared sessions serve several', waiting: 5, leasesPerSession: 2, opens: 3 },
  {
    name: 'without limit, one session serves all',
    waiting: 500,
    leasesPerSession: Number.MAX_SAFE_INTEGER,
    opens: 1,
  },
  {
    name: 'and is on its way',
    waiting: 500,
    opening: 1,
    leasesPerSession: Number.MAX_SAFE_INTEGER,
    opens: 0,
  },
  { name: 'the pool is full: the wish stays', waiting: 1, roomInPool: 0, opens: 1 },
  { name: 'backing off', waiting: 1, opensAfter: NOW + 1, opens: 0 },
  { name: 'closed', waiting: 1, closed: true, opens: 0 },
  { name: 'one may open on trial', waiting: 9, allowed: 1, opens: 1 },
  { name: 'one may, back-off or not', waiting: 9, allowed: 1, opensAfter: NOW + 1, opens: 1 },
  { name: 'none may open', waiting: 9, allowed: 0, opens: 0 },
  { name: 'over its cap already', waiting: 1, leased: 3, maxSessionsPerKey: 2, opens: 0 },
];

describe('wantedOpens', () => {
  test.each(wants)('$name: $opens', ({ opens, ...books }) => {
    expect(wantedOpens(viewOf(books), NOW)).toBe(opens);
  });
});
