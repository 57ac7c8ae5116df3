// Invariants: statements about our own bookkeeping that hold whatever callers and peers do. A
// violation is a bug of this library, so it is thrown as `InvariantError` and never caught inside.

/** A bug in this library: its own bookkeeping contradicts itself. Please report it. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';

  constructor(message: string) {
    super(`bug: ${message}`);
  }
}

/**
 * Throws `InvariantError` unless `condition` holds. Checks stay on in production: they are cheap.
 */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** `value`, which is there: who asks has looked. */
export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new InvariantError('Invariant I4: a step names what is there');
  return value;
}
