// Feeds the HTTP transport random bytes and random server behaviour while clients make random calls:
// `npm run bench:fuzz -- --seconds=60 --seed=1`. Prints what was played and what did not hold; fails
// if anything. An episode is replayed with its seed and `--episodes=1`.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { fuzz } from './support/fuzz-run.ts';
import { parameters } from './support/parameters.ts';

const { seconds, seed, episodes } = parameters({
  seconds: 60,
  seed: Math.floor(Math.random() * 1_000_000_000) + 1,
  episodes: 1_000_000,
});
// The heap is only told apart from garbage after a collection.
setFlagsFromString('--expose-gc');
globalThis.gc = runInNewContext('gc') as NonNullable<typeof globalThis.gc>;

console.log(`seed=${seed}`);
const run = await fuzz({ seed, seconds, episodes });
const kinds = new Map<string, number>();
for (const [kind, count] of run.answered) {
  const name = kind.includes(',') ? `garbled: ${kind.split(', ')[1]}` : kind;
  kinds.set(name, (kinds.get(name) ?? 0) + count);
}
console.log(
  `${run.episodes} episodes, ${run.sends} sends, ${run.requests} requests at the server, ` +
    `${run.messages} messages, heap ${run.heapGrowthMiB.toFixed(1)} MiB more`,
);
console.log([...kinds].map(([kind, count]) => `  ${kind}: ${count}`).join('\n'));
console.log(`${run.findings.length} findings`);
for (const finding of run.findings) console.log(finding);
process.exitCode = run.findings.length === 0 ? 0 : 1;
