// A list whose links live in its items: order, removal anywhere, membership in one list at a time.

import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../src/invariant.ts';
import { IntrusiveList, type Linked } from '../../src/policy/intrusive-list.ts';
import { Dice } from '../support/random.ts';

class Item implements Linked<Item> {
  previous: Item | undefined = undefined;
  next: Item | undefined = undefined;
  list: object | undefined = undefined;
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

const itemsOf = (names: string): Item[] => names.split('').map((name) => new Item(name));

/** The names from front to back, and checked that back to front they are the same. */
function namesIn(list: IntrusiveList<Item>): string {
  const forth = [...list].map(({ name }) => name);
  const back: string[] = [];
  for (let item = list.last; item !== undefined; item = item.previous) back.unshift(item.name);
  expect(back).toEqual(forth);
  expect(list.size).toBe(forth.length);
  return forth.join('');
}

describe('an intrusive list', () => {
  test.each([
    { name: 'first', remove: 'a', left: 'bcd' },
    { name: 'last', remove: 'd', left: 'abc' },
    { name: 'middle', remove: 'b', left: 'acd' },
    { name: 'all but one', remove: 'abd', left: 'c' },
    { name: 'all', remove: 'cadb', left: '' },
    { name: 'none', remove: '', left: 'abcd' },
  ])('keeps the order of the others when the $name goes', ({ remove, left }) => {
    const list = new IntrusiveList<Item>();
    const items = itemsOf('abcd');
    for (const item of items) list.append(item);
    for (const name of remove) {
      expect(list.remove(items.find((item) => item.name === name) as Item)).toBe(true);
    }
    expect(namesIn(list)).toBe(left);
  });

  test.each([
    { behind: undefined, order: 'xabc' },
    { behind: 'a', order: 'axbc' },
    { behind: 'c', order: 'abcx' },
  ])('takes an item in behind $behind', ({ behind, order }) => {
    const list = new IntrusiveList<Item>();
    const items = itemsOf('abc');
    for (const item of items) list.append(item);
    list.insertAfter(
      items.find((item) => item.name === behind),
      new Item('x'),
    );
    expect(namesIn(list)).toBe(order);
    expect([list.first?.name, list.last?.name]).toEqual([order[0], order.at(-1)]);
  });

  test('takes its first item in at the front', () => {
    const list = new IntrusiveList<Item>();
    list.insertAfter(undefined, new Item('x'));
    expect([namesIn(list), list.first, list.last]).toEqual(['x', list.last, list.first]);
  });

  test('says no to removing what is not in it, and stays as it is', () => {
    const [list, other] = [new IntrusiveList<Item>(), new IntrusiveList<Item>()];
    const [item, stranger] = itemsOf('ab') as [Item, Item];
    list.append(item);
    other.append(stranger);
    expect(list.remove(stranger)).toBe(false);
    expect(list.remove(new Item('c'))).toBe(false);
    expect(namesIn(list) + namesIn(other)).toBe('ab');
    expect(list.remove(item)).toBe(true);
    expect(list.remove(item)).toBe(false);
    expect(list.first).toBeUndefined();
    expect(list.last).toBeUndefined();
  });

  test('takes no item that is in a list already', () => {
    const [list, other] = [new IntrusiveList<Item>(), new IntrusiveList<Item>()];
    const item = new Item('a');
    list.append(item);
    expect(() => list.append(item)).toThrow(InvariantError);
    expect(() => other.append(item)).toThrow(InvariantError);
    expect(namesIn(list)).toBe('a');
  });

  test('lets the item at hand be removed while it is iterated', () => {
    const list = new IntrusiveList<Item>();
    for (const item of itemsOf('abcd')) list.append(item);
    const seen: string[] = [];
    for (const item of list) {
      seen.push(item.name);
      list.remove(item);
    }
    expect(seen).toEqual(['a', 'b', 'c', 'd']);
    expect(namesIn(list)).toBe('');
  });

  test('equals an array under random appends and removals', () => {
    const dice = new Dice(7);
    const list = new IntrusiveList<Item>();
    const model: Item[] = [];
    for (let step = 0; step < 2_000; step += 1) {
      const gone = dice.chance(0.5) ? dice.maybeOf(model) : undefined;
      if (gone === undefined) {
        const item = new Item(String.fromCharCode(97 + (step % 26)));
        list.append(item);
        model.push(item);
      } else {
        expect(list.remove(gone)).toBe(true);
        model.splice(model.indexOf(gone), 1);
      }
      expect(list.size).toBe(model.length);
      expect(list.first).toBe(model[0]);
      expect(list.last).toBe(model.at(-1));
    }
    expect(namesIn(list)).toBe(model.map(({ name }) => name).join(''));
  });
});
