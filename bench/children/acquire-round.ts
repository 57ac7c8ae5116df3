// One contender in one scenario: warms up, then counts the CPU time of many borrowings.

import { childInput, tellParent } from '../support/child.ts';
import { contenders, type Plan } from '../support/contenders.ts';
import { cpuNanoseconds } from '../support/measure.ts';

export interface AcquireRoundInput {
  readonly contender: string;
  readonly keys: number;
  readonly resourcesPerKey: number;
  readonly borrowers: number;
  readonly operations: number;
}

const input = childInput<AcquireRoundInput>();
const contender = await contenders[input.contender]!({ ...input, waiters: input.borrowers });
const plan: Plan = {
  // Visits every key, in an order without pattern: 7919 is a prime that divides no number of keys.
  keyAt: (index) => (index * 7919) % input.keys,
  yields: input.borrowers > 1,
};

const run = (operations: number): Promise<unknown> => {
  const each = Math.ceil(operations / input.borrowers);
  const borrowers = Array.from({ length: input.borrowers }, () => contender.borrow(each, plan));
  return Promise.all(borrowers);
};

// Opens every resource and lets the compiler see the loop.
await run(Math.max(input.operations / 4, input.keys * 4));
globalThis.gc?.();
const before = cpuNanoseconds();
await run(input.operations);
await tellParent({ nanoseconds: (cpuNanoseconds() - before) / input.operations });
process.exit();
