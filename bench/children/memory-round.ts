// What one contender keeps per idle resource and per waiter, in bytes of heap.

import { childInput, tellParent } from '../support/child.ts';
import { contenders } from '../support/contenders.ts';
import { heapBytes } from '../support/measure.ts';

export interface MemoryRoundInput {
  readonly contender: string;
  readonly count: number;
}

const { contender: name, count } = childInput<MemoryRoundInput>();
const build = contenders[name]!;

/** One resource, taken for ever, and `count` acquires that wait for it. */
async function bytesPerWaiter(): Promise<number> {
  const pool = await build({ keys: 1, resourcesPerKey: 1, waiters: count + 1 });
  await pool.take(0);
  const before = await heapBytes();
  const waiting = Array.from({ length: count }, () => pool.take(0));
  const bytes = (await heapBytes()) - before;
  return bytes / waiting.length;
}

/** `count` resources, all lent once and given back. Counts the resource itself. */
async function bytesPerIdle(): Promise<number> {
  const before = await heapBytes();
  const pool = await build({ keys: 1, resourcesPerKey: count, waiters: count });
  const taken = await Promise.all(Array.from({ length: count }, () => pool.take(0)));
  for (const each of taken.splice(0)) pool.give(0, each);
  const bytes = (await heapBytes()) - before;
  // Used once more, so that the pool is alive while it is weighed.
  pool.give(0, await pool.take(0));
  return bytes / count;
}

const idle = await bytesPerIdle();
await tellParent({ idle, waiter: await bytesPerWaiter() });
process.exit();
