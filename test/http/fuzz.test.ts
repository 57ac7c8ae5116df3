import { describe, expect, it } from 'vitest';
import { fuzz } from '../../bench/support/fuzz-run.ts';

/** Replays a seed that failed: `FUZZ_SEED=17 npx vitest run … test/http/fuzz.test.ts`. */
const given = Number(process.env['FUZZ_SEED'] ?? 0);
const anySeed = given || Math.floor(Math.random() * 1_000_000_000);

describe('the HTTP transport under random bytes and random server behaviour', () => {
  it.each([
    ['the seed of every run', 20_261_123],
    ['a seed of this run', anySeed],
  ])('settles every send and leaves nothing behind, with %s', async (_, seed) => {
    const run = await fuzz({ seed, seconds: 2.4 });
    console.log(
      `seed=${seed} ${run.episodes} episodes, ${run.sends} sends, ${run.requests} requests, ` +
        `${run.messages} messages`,
    );
    expect(run.findings).toEqual([]);
    // The fuzzer itself works: its clients get somewhere, and its servers answer in many ways. How
    // far is up to the machine.
    expect(run.requests).toBeGreaterThan(10);
    expect(run.answered.size).toBeGreaterThan(3);
  });
});
