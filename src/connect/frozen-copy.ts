// A deep copy that nobody can change, of plain JSON: for what all leases of a session may look at.

/** Copies `value` and freezes the copy, all the way down. */
export function frozenCopy<T extends object>(value: T): Readonly<T> {
  return freeze(structuredClone(value));
}

function freeze<T extends object>(value: T): T {
  for (const each of Object.values(value)) {
    if (typeof each === 'object' && each !== null) freeze(each);
  }
  return Object.freeze(value);
}
