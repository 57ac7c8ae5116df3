// What a key does for who wants sessions ahead of use, as a table: books and a plan in, what to do
// out.

import { describe, expect, test } from 'vitest';
import { Ledger, noCounts, type SlotState } from '../../src/policy/ledger.ts';
import type { KeyView } from '../../src/policy/next-step.ts';
import { usableOf, type WarmStep, warmStep } from '../../src/policy/warm-step.ts';
import { TestSlot, type TestWaiter } from '../support/test-slot.ts';

const NOW = 100_000;

type OpenState = Exclude<SlotState, 'gone'>;

interface Books extends Partial<Record<OpenState, number>> {
  readonly name: string;
  /** Slots of an earlier generation, and condemned ones, by state. */
  readonly stale?: readonly OpenState[];
  readonly condemned?: readonly OpenState[];
  readonly goal: number;
  readonly startsLeft?: number;
  readonly maxSessionsPerKey?: number;
  readonly maxOpeningPerKey?: number;
  readonly roomInPool?: number;
  readonly opensAllowed?: number;
  readonly opensAfter?: number;
  readonly step: WarmStep;
}

const WAYS: Record<OpenState, readonly SlotState[]> = {
  opening: [],
  idle: ['idle'],
  probing: ['idle', 'probing'],
  leased: ['idle', 'leased'],
  closing: ['closing'],
};
const STATES = Object.keys(WAYS) as OpenState[];

function viewOf(books: Books): KeyView {
  const ledger = new Ledger<TestSlot, TestWaiter>(noCounts());
  const add = (state: OpenState): TestSlot => {
    const slot = new TestSlot();
    slot.generation = 1;
    ledger.add(slot);
    for (const to of WAYS[state]) ledger.move(slot, slot.state, to, NOW);
    return slot;
  };
  for (const state of STATES) {
    for (let count = 0; count < (books[state] ?? 0); count += 1) add(state);
  }
  for (const state of books.stale ?? []) add(state).generation = 0;
  for (const state of books.condemned ?? []) ledger.condemn(add(state));
  return {
    ledger,
    closed: false,
    generation: 1,
    opensAfter: books.opensAfter ?? 0,
    opensAllowed: () => books.opensAllowed ?? Number.POSITIVE_INFINITY,
    roomInPool: books.roomInPool ?? 100,
    limits: {
      leasesPerSession: 1,
      maxSessionsPerKey: books.maxSessionsPerKey ?? 10,
      maxOpeningPerKey: books.maxOpeningPerKey ?? 4,
      probeAfterIdleMs: 60_000,
      idleTimeoutMs: 300_000,
      maxLifetimeMs: 1_800_000,
    },
  };
}

const tables: readonly Books[] = [
  { name: 'nothing is there', goal: 3, step: 3 },
  { name: 'more is wanted than may open at once', goal: 9, step: 4 },
  { name: 'some are opening', goal: 9, opening: 3, step: 1 },
  { name: 'as many open as may at once', goal: 9, opening: 4, step: 'wait' },
  { name: 'some are there', goal: 3, idle: 1, leased: 1, step: 1 },
  { name: 'enough are idle', goal: 2, idle: 2, step: 'done' },
  { name: 'enough are leased', goal: 2, leased: 3, step: 'done' },
  { name: 'enough are there, one probed', goal: 2, idle: 1, probing: 1, step: 'done' },
  { name: 'enough are there, others still open', goal: 1, idle: 1, opening: 2, step: 'done' },
  { name: 'enough come', goal: 2, idle: 1, opening: 1, step: 'wait' },
  {
    name: 'enough come, and its starts are used up',
    goal: 2,
    opening: 2,
    startsLeft: 0,
    step: 'wait',
  },
  {
    name: 'its starts are used up, and nothing comes',
    goal: 2,
    idle: 1,
    startsLeft: 0,
    step: 'done',
  },
  {
    name: 'its starts are used up, and too little comes',
    goal: 3,
    opening: 1,
    startsLeft: 0,
    step: 'wait',
  },
  { name: 'it has fewer starts than are missing', goal: 3, startsLeft: 2, step: 2 },
  { name: 'the key backs off', goal: 1, opensAfter: NOW + 1, step: 'wait' },
  { name: 'a circuit is open', goal: 2, idle: 1, opensAllowed: 0, step: 'refused' },
  { name: 'a circuit is open, and one comes', goal: 2, opening: 1, opensAllowed: 0, step: 'wait' },
  {
    name: 'a circuit is open, and enough are there',
    goal: 1,
    idle: 1,
    opensAllowed: 0,
    step: 'done',
  },
  { name: 'a trial may begin', goal: 3, opensAllowed: 1, opensAfter: NOW + 1, step: 1 },
  { name: 'the back-off is over', goal: 1, opensAfter: NOW, step: 1 },
  { name: 'the key has room for one', goal: 5, idle: 3, maxSessionsPerKey: 4, step: 1 },
  { name: 'the pool has room for one', goal: 3, roomInPool: 1, step: 1 },
  { name: 'the pool is full', goal: 3, idle: 1, roomInPool: 0, step: 'done' },
  { name: 'the pool is overfull', goal: 3, idle: 1, roomInPool: -1, step: 'done' },
  { name: 'the pool is full, and one comes', goal: 3, opening: 1, roomInPool: 0, step: 'wait' },
  {
    name: 'the key is full of closing ones',
    goal: 1,
    closing: 2,
    maxSessionsPerKey: 2,
    step: 'wait',
  },
  { name: 'one closes, and there is room', goal: 2, closing: 1, step: 2 },
  { name: 'what is idle is stale', goal: 2, stale: ['idle', 'idle'], step: 2 },
  { name: 'what is leased is condemned', goal: 1, condemned: ['leased'], step: 1 },
  { name: 'what opens is stale', goal: 1, stale: ['opening'], step: 1 },
  {
    name: 'what opens is stale, and no start is left',
    goal: 1,
    stale: ['opening'],
    startsLeft: 0,
    step: 'wait',
  },
  { name: 'one of two is stale', goal: 2, idle: 1, stale: ['leased'], step: 1 },
];

describe('a key that is warmed', () => {
  test.each(tables)('when $name: $step', ({ step, goal, startsLeft = goal, ...books }) => {
    expect(warmStep(viewOf({ step, goal, ...books }), { goal, startsLeft }, NOW)).toBe(step);
  });

  test('counts what will be lent again', () => {
    const books: Books = { name: '', goal: 1, step: 'done', idle: 1, probing: 1, leased: 2 };
    const stale: OpenState[] = ['idle', 'opening', 'leased'];
    const view = viewOf({ ...books, opening: 3, closing: 4, stale, condemned: ['leased'] });
    expect(usableOf(view)).toEqual({ open: 4, opening: 3 });
  });
});
