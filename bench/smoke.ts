// Runs every bench with tiny sizes, so that they don't rot. Its figures mean nothing. They replace
// those in `results/`, so take real ones after it.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const LIMIT_MS = 120_000;
const runs: Record<string, readonly string[]> = {
  acquire: ['--rounds=1', '--operations=2000', '--memoryCount=200'],
  lease: ['--rounds=1', '--leases=200', '--calls=10'],
  'close-scale': ['--rounds=1', '--closeTimeoutMs=300', '--largest=1000'],
  'idle-cpu': ['--rounds=1', '--windowMs=500', '--sessions=20', '--sdkSessions=5'],
  'notification-streams': ['--parts=2', '--partMs=1500', '--sessions=20', '--sdkSessions=2'],
};

let failed = 0;
for (const [name, sizes] of Object.entries(runs)) {
  const script = fileURLToPath(new URL(`${name}.js`, import.meta.url));
  const startedAt = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...sizes], {
    encoding: 'utf8',
    timeout: LIMIT_MS,
  });
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  if (status !== 0) failed += 1;
  console.log(`${status === 0 ? '✓' : '✗'} ${name} runs (${seconds} s)`);
  if (status !== 0) console.log(`${stdout}${stderr}`);
}
console.log(`${Object.keys(runs).length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
