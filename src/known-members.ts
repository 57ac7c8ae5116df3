// Refuses names that mean nothing: a typo in an option must not be a silent default.

/**
 * @param what What `given` is, for the message: "option", "target member".
 * @throws TypeError unless `given` is an object all of whose members are known.
 */
export function checkKnown(what: string, given: unknown, known: ReadonlySet<string>): void {
  if (typeof given !== 'object' || given === null) {
    throw new TypeError(
      `Expected an object of ${what}s, got ${given === null ? 'null' : typeof given}`,
    );
  }
  for (const name of Object.keys(given)) {
    if (!known.has(name)) {
      throw new TypeError(`Unknown ${what} \`${name}\`; known: ${[...known].sort().join(', ')}`);
    }
  }
}
