// A doubly linked list whose links live in the items themselves: append and remove at any place are
// O(1) and allocate nothing. Waiters leave the queue the moment they abort; sessions change lists
// on every lease. Pure.

import { InvariantError } from '../invariant.ts';

/** What an item carries to be a member of at most one list at a time. */
export interface Linked<T> {
  previous: T | undefined;
  next: T | undefined;
  /** The list the item is in. Changed by the list alone. */
  list: object | undefined;
}

export class IntrusiveList<T extends Linked<T>> {
  /** Number of members; equals the length of the chain from `first` to `last`. */
  size = 0;
  first: T | undefined = undefined;
  last: T | undefined = undefined;

  append(item: T): void {
    this.insertAfter(this.last, item);
  }

  /** Puts `item` behind `before`, which is a member; `undefined`: at the front. */
  insertAfter(before: T | undefined, item: T): void {
    if (item.list !== undefined) throw new InvariantError('an item is in one list at a time');
    const after = before === undefined ? this.first : before.next;
    item.list = this;
    item.previous = before;
    item.next = after;
    if (before === undefined) this.first = item;
    else before.next = item;
    if (after === undefined) this.last = item;
    else after.previous = item;
    this.size += 1;
  }

  /** Takes `item` out. Returns whether it was in this list. */
  remove(item: T): boolean {
    if (item.list !== this) return false;
    if (item.previous === undefined) this.first = item.next;
    else item.previous.next = item.next;
    if (item.next === undefined) this.last = item.previous;
    else item.next.previous = item.previous;
    item.previous = undefined;
    item.next = undefined;
    item.list = undefined;
    this.size -= 1;
    return true;
  }

  /** From first to last. The item at hand may be removed while iterating. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    let item = this.first;
    while (item !== undefined) {
      const { next } = item;
      yield item;
      item = next;
    }
  }
}
