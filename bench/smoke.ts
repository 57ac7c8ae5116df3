// Runs every bench with tiny sizes, so that they don't rot. Its figures mean nothing. They replace
// those in `results/`, so take real ones after it. A bench that checks its own work fails by
// itself; of `calls` and `idle` the shape of what they wrote is looked at too.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { checkCalls, checkIdle } from './support/result-shapes.ts';

const LIMIT_MS = 180_000;

interface Run {
  readonly bench: string;
  readonly options: readonly string[];
  /** Throws unless the bench wrote what it should. */
  readonly check?: (result: unknown) => void;
}

const idleSizes = ['--settleMs=100', '--minutes-from=0.02', '--minutes-to=0.04'];
const stormSizes = [
  '--thinkMs=300',
  '--acquireTimeoutMs=300',
  '--callTimeoutMs=2000',
  '--closeTimeoutMs=1500',
  '--outageMs=100',
  '--comebackSeconds=1.5',
];
const runs: readonly Run[] = [
  { bench: 'acquire', options: ['--rounds=1', '--operations=2000', '--memoryCount=200'] },
  { bench: 'lease', options: ['--rounds=1', '--leases=200', '--calls=10'] },
  {
    bench: 'calls',
    options: ['--rounds=1', '--calls=40', '--warmUpCalls=40', '--largeCalls=2'],
    check: checkCalls,
  },
  { bench: 'calls', options: ['--cpu-prof', '--calls=40', '--warmUpCalls=40'] },
  {
    bench: 'idle',
    options: ['--rounds=1', '--sessions=20', '--streamSessions=5', ...idleSizes],
    check: checkIdle,
  },
  { bench: 'close-scale', options: ['--rounds=1', '--closeTimeoutMs=300', '--largest=1000'] },
  {
    bench: 'idle-cpu',
    options: ['--rounds=1', '--windowMs=500', '--sessions=20', '--sdkSessions=5'],
  },
  { bench: 'fuzz', options: ['--seconds=3', '--seed=1'] },
  {
    bench: 'notification-streams',
    options: ['--parts=2', '--partMs=1500', '--sessions=20', '--sdkSessions=2'],
  },
  { bench: 'storm', options: ['--users=40', '--keys=4', '--seconds=0.6', ...stormSizes] },
];

let failed = 0;
for (const run of runs) {
  const startedAt = performance.now();
  const trouble = troubleOf(run);
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  if (trouble !== undefined) failed += 1;
  const isProfile = run.options.includes('--cpu-prof') ? ' --cpu-prof' : '';
  console.log(`${trouble === undefined ? '✓' : '✗'} ${run.bench}${isProfile} runs (${seconds} s)`);
  if (trouble !== undefined) console.log(trouble);
}
console.log(`${runs.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** What was wrong with a run. `undefined`: nothing. */
function troubleOf({ bench, options, check }: Run): string | undefined {
  const script = fileURLToPath(new URL(`${bench}.js`, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...options], {
    encoding: 'utf8',
    timeout: LIMIT_MS,
  });
  if (status !== 0) return `${stdout}${stderr}`;
  try {
    const written = new URL(`../results/${bench}.json`, import.meta.url);
    check?.(JSON.parse(readFileSync(written, 'utf8')));
    return undefined;
  } catch (error) {
    return String(error);
  }
}
