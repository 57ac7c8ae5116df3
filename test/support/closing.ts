// Ends what a test opened, latest first, also when the test failed.

import { afterEach } from 'vitest';

/** Anything with an end. */
export interface Closable {
  close(): Promise<unknown>;
}

/**
 * Call it once in a file. What is given to the function it returns is closed after the test that
 * gave it.
 */
export function closeAfterEach(): <T extends Closable>(thing: T) => T {
  let opened: Closable[] = [];
  afterEach(async () => {
    const closing = opened.toReversed();
    opened = [];
    for (const thing of closing) await thing.close();
  });
  return (thing) => {
    opened.push(thing);
    return thing;
  };
}
