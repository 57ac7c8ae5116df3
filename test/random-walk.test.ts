// Seeded random walks over the pool on a manual clock: whatever callers, peers and time do, the
// invariants hold after every step. `SEED=123 npx vitest run … test/random-walk.test.ts` replays one.

import { expect, test } from 'vitest';
import { PoolWalk } from './support/pool-walk.ts';

const WALKS = 320;
const STEPS = 150;
const CHUNKS = 16;

async function walk(seed: number): Promise<void> {
  const poolWalk = new PoolWalk(seed);
  try {
    await poolWalk.run(STEPS);
  } catch (error) {
    const tail = poolWalk.trace.slice(-25).join('\n');
    throw new Error(`seed=${seed}: ${(error as Error).message}\n${tail}`, { cause: error });
  }
}

const seedGiven = process.env['SEED'];

if (seedGiven !== undefined) {
  test(`the invariants hold after every step of the walk seed=${seedGiven}`, async () => {
    await expect(walk(Number(seedGiven))).resolves.toBeUndefined();
  });
} else {
  for (let chunk = 0; chunk < CHUNKS; chunk += 1) {
    const [from, to] = [(chunk * WALKS) / CHUNKS, ((chunk + 1) * WALKS) / CHUNKS];
    test(`the invariants I1-I9 hold after every step of walks ${from} to ${to - 1}`, async () => {
      for (let seed = from; seed < to; seed += 1) await walk(seed);
      expect(to - from).toBe(WALKS / CHUNKS);
    });
  }
}
