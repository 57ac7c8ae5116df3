// The books of one key: every legal and every illegal move, and counts that equal counting.

import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../src/invariant.ts';
import {
  type Counts,
  LEGAL,
  Ledger,
  noCounts,
  type SlotState,
  sessionCount,
} from '../../src/policy/ledger.ts';
import { TestSlot, TestWaiter } from '../support/test-slot.ts';

const STATES = Object.keys(LEGAL) as SlotState[];
/** A way from `opening` to each state. */
const WAYS: Record<SlotState, SlotState[]> = {
  opening: [],
  idle: ['idle'],
  probing: ['idle', 'probing'],
  leased: ['idle', 'leased'],
  closing: ['closing'],
  gone: ['gone'],
};

function bring(ledger: Ledger<TestSlot, TestWaiter>, to: SlotState): TestSlot {
  const slot = new TestSlot();
  ledger.add(slot);
  for (const state of WAYS[to]) ledger.move(slot, slot.state, state, 0);
  return slot;
}

const makeLedger = (totals: Counts = noCounts()): Ledger<TestSlot, TestWaiter> =>
  new Ledger(totals);

const moves = STATES.flatMap((from) => STATES.map((to) => ({ from, to })));

describe('the ledger', () => {
  test('knows exactly the transitions of design section 4', () => {
    expect(LEGAL).toEqual({
      opening: ['idle', 'closing', 'gone'],
      idle: ['probing', 'leased', 'closing'],
      probing: ['idle', 'closing'],
      leased: ['idle', 'closing'],
      closing: ['gone'],
      gone: [],
    });
  });

  test.each(moves.filter(({ from, to }) => LEGAL[from].includes(to)))(
    'moves a slot from $from to $to and counts it there',
    ({ from, to }) => {
      const totals = noCounts();
      const ledger = makeLedger(totals);
      const slot = bring(ledger, from);
      ledger.move(slot, from, to, 5);
      const expected = { ...noCounts(), ...(to === 'gone' ? {} : { [to]: 1 }) };
      expect(slot.state).toBe(to);
      expect(ledger.counts).toEqual(expected);
      expect(totals).toEqual(expected);
      expect(ledger.sessions.has(slot)).toBe(to !== 'gone');
      expect(ledger.idle.size).toBe(to === 'idle' ? 1 : 0);
    },
  );

  test.each(moves.filter(({ from, to }) => !LEGAL[from].includes(to)))(
    'refuses to move a slot from $from to $to, and changes nothing',
    ({ from, to }) => {
      const ledger = makeLedger();
      const slot = bring(ledger, from);
      const before = { ...ledger.counts };
      expect(() => ledger.move(slot, from, to, 0)).toThrow(InvariantError);
      expect(slot.state).toBe(from);
      expect(ledger.counts).toEqual(before);
    },
  );

  test('refuses a move from a state that the slot is not in', () => {
    const ledger = makeLedger();
    const slot = bring(ledger, 'idle');
    expect(() => ledger.move(slot, 'probing', 'closing', 0)).toThrow(/bug: .*idle/);
  });

  test('takes in slots that are opening, and no others', () => {
    const slot = new TestSlot();
    slot.state = 'idle';
    expect(() => makeLedger().add(slot)).toThrow(InvariantError);
  });

  test('lends from idle, keeps room on offer, and takes a full session off it', () => {
    const ledger = makeLedger();
    const slot = bring(ledger, 'idle');
    ledger.lease(slot, 2, 0);
    expect([slot.state, slot.leaseCount, ledger.spare.first]).toEqual(['leased', 1, slot]);
    ledger.lease(slot, 2, 0);
    expect([slot.leaseCount, ledger.spare.size]).toEqual([2, 0]);
    ledger.unlease(slot, 2);
    expect([slot.leaseCount, ledger.spare.first]).toEqual([1, slot]);
  });

  test('lends no session beyond its leases, and takes back no lease twice (I3)', () => {
    const ledger = makeLedger();
    const slot = bring(ledger, 'idle');
    ledger.lease(slot, 1, 0);
    expect(() => ledger.lease(slot, 1, 0)).toThrow(/I3/);
    ledger.unlease(slot, 1);
    expect(() => ledger.unlease(slot, 1)).toThrow(/I3/);
  });

  test.each(STATES.filter((state) => state !== 'idle' && state !== 'leased'))(
    'lends no session that is %s',
    (state) => {
      const ledger = makeLedger();
      expect(() => ledger.lease(bring(ledger, state), 1, 0)).toThrow(/I3/);
    },
  );

  test('offers no room on a condemned session', () => {
    const ledger = makeLedger();
    const slot = bring(ledger, 'idle');
    ledger.lease(slot, 3, 0);
    ledger.lease(slot, 3, 0);
    ledger.condemn(slot);
    expect(ledger.spare.size).toBe(0);
    ledger.unlease(slot, 3);
    expect(ledger.spare.size).toBe(0);
  });

  test('keeps idle sessions in the order of their return, with the instant of it', () => {
    const ledger = makeLedger();
    const [first, second] = [bring(ledger, 'idle'), bring(ledger, 'idle')];
    ledger.lease(first, 1, 0);
    ledger.unlease(first, 1);
    ledger.move(first, 'leased', 'idle', 70);
    expect([...ledger.idle]).toEqual([second, first]);
    expect(first.idleSince).toBe(70);
  });

  test.each([
    { idleSince: 5, order: [10, 20, 30], place: 0 },
    { idleSince: 10, order: [10, 20, 30], place: 1 },
    { idleSince: 25, order: [10, 20, 30], place: 2 },
    { idleSince: 99, order: [10, 20, 30], place: 3 },
    { idleSince: 1, order: [], place: 0 },
  ])('backdates to $idleSince among $order', ({ idleSince, order, place }) => {
    const ledger = makeLedger();
    for (const since of order) ledger.move(bring(ledger, 'opening'), 'opening', 'idle', since);
    const slot = bring(ledger, 'opening');
    ledger.move(slot, 'opening', 'idle', 100);
    ledger.backdate(slot, idleSince);
    expect([...ledger.idle].indexOf(slot)).toBe(place);
    expect([slot.idleSince, slot.heardAt]).toEqual([idleSince, 100]);
    expect(ledger.idle.size).toBe(order.length + 1);
  });

  test('backdates idle slots only', () => {
    const ledger = makeLedger();
    expect(() => ledger.backdate(bring(ledger, 'leased'), 0)).toThrow(InvariantError);
  });

  test('adds up in the counts of the whole pool', () => {
    const totals = noCounts();
    const [one, two] = [makeLedger(totals), makeLedger(totals)];
    bring(one, 'idle');
    bring(two, 'closing');
    const waiter = new TestWaiter();
    two.enqueue(waiter);
    expect(totals).toEqual({ ...noCounts(), idle: 1, closing: 1, waiting: 1 });
    expect(sessionCount(totals)).toBe(2);
    expect([two.dequeue(waiter), two.dequeue(waiter)]).toEqual([true, false]);
    expect(totals.waiting).toBe(0);
  });
});
