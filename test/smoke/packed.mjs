// Packs the package, installs the tarball in an empty project and uses it there as a stranger
// would: ESM, CommonJS `require`, TypeScript. Needs a built `dist`. Ends with `N passed, N failed`.

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const fixtures = fileURLToPath(new URL('fixtures/', import.meta.url));
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const STEP_TIMEOUT_MS = 120_000;

const scratch = mkdtempSync(join(tmpdir(), 'mcp-session-pool-packed-'));
let passed = 0;
let failed = 0;

try {
  const files = packAndInstall();
  check('the tarball holds what it should and nothing else', () => checkContents(files));
  check('ESM: imports, pools, closes, leaves nothing, spares the host fetch', () =>
    mustSucceed(process.execPath, ['esm.mjs']),
  );
  check('ESM: the testing kit loads apart, misbehaves as told, leaves nothing', () =>
    mustSucceed(process.execPath, ['testing.mjs']),
  );
  check('CommonJS: require gives the same exports', () =>
    mustSucceed(process.execPath, ['require.cjs']),
  );
  check('TypeScript: strict, exact optional properties, library declarations skipped', () =>
    mustSucceed(process.execPath, [tsc, '-p', 'tsconfig.json']),
  );
  check('TypeScript: the declarations themselves, with the DOM library', () =>
    mustSucceed(process.execPath, [tsc, '-p', 'tsconfig.dom.json']),
  );
  check('TypeScript: no error in our declarations without the DOM library either', checkNoDom);
  check('TypeScript: what was compiled runs', () => mustSucceed(process.execPath, ['usage.js']));
  check('the entry for SDK 2 names the package that it lacks', () => checkWithoutSdk2());
  installSdk2();
  check('TypeScript: clients of both lines of the SDK side by side, each of its own type', () =>
    mustSucceed(process.execPath, [tsc, '-p', 'tsconfig.both.json']),
  );
  check('TypeScript: that runs', () => mustSucceed(process.execPath, ['both.js']));
  checkReadme();
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function packAndInstall() {
  const packed = run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', scratch], {
    cwd: root,
  });
  if (packed.status !== 0) throw new Error(`npm pack failed:\n${packed.output}`);
  const [tarball] = JSON.parse(packed.stdout);
  const types = JSON.parse(readFileSync(join(root, 'node_modules/@types/node/package.json')));
  writeFileSync(join(scratch, 'package.json'), '{ "private": true, "type": "module" }\n');
  cpSync(fixtures, scratch, { recursive: true });
  const installed = run('npm', [
    ...['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'],
    `./${tarball.filename}`,
    `@types/node@${types.version}`,
  ]);
  if (installed.status !== 0) throw new Error(`npm install failed:\n${installed.output}`);
  return tarball.files.map((file) => file.path);
}

function checkContents(files) {
  const wanted = ['dist/index.js', 'dist/index.d.ts', 'dist/index.d.ts.map', 'src/index.ts'];
  wanted.push('dist/testing/index.js', 'dist/testing/index.d.ts', 'src/testing/index.ts');
  wanted.push('dist/v2/index.js', 'dist/v2/index.d.ts', 'src/v2/index.ts');
  wanted.push('dist/host-fetch-guard.js', 'src/host-fetch-guard.ts', 'LICENSE', 'package.json');
  const missing = wanted.filter((path) => !files.includes(path));
  const allowed = /^(dist|src)\/|^(package\.json|README\.md|LICENSE|CHANGELOG\.md)$/;
  const strange = files.filter((path) => !allowed.test(path) || path.includes('tsconfig'));
  // `dist` must be of this `src`: a module that was renamed leaves its old output behind.
  const stale = files.filter(
    (path) => /^dist\/.*\.js$/.test(path) && !files.includes(sourceOf(path)),
  );
  const problems = { missing, strange, stale };
  if ([...missing, ...strange, ...stale].length > 0) throw new Error(JSON.stringify(problems));
}

function sourceOf(path) {
  return path.replace(/^dist\//, 'src/').replace(/\.js$/, '.ts');
}

/** The package's peer is optional: who does not use the entry does not need it. */
function checkWithoutSdk2() {
  const { status, output } = run(process.execPath, ['-e', "import('mcp-session-pool/v2')"]);
  if (status === 0 || !output.includes("Cannot find package '@modelcontextprotocol/client'")) {
    throw new Error(output);
  }
}

function installSdk2() {
  const name = '@modelcontextprotocol/client';
  const { version } = JSON.parse(readFileSync(join(root, `node_modules/${name}/package.json`)));
  const installed = run('npm', [
    ...['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'],
    `${name}@${version}`,
  ]);
  if (installed.status !== 0) throw new Error(`npm install failed:\n${installed.output}`);
}

/** The SDK's declarations need a DOM type; ours must not add to that. */
function checkNoDom() {
  const { output } = run(process.execPath, [
    tsc,
    '-p',
    'tsconfig.no-dom.json',
    '--pretty',
    'false',
  ]);
  const errors = output.split('\n').filter((line) => / error TS\d+/.test(line));
  const ours = errors.filter((line) => !line.includes('node_modules/@modelcontextprotocol/sdk/'));
  if (ours.length > 0) throw new Error(ours.join('\n'));
}

/** The first TypeScript example of the README must compile as it stands. */
function checkReadme() {
  const path = join(root, 'README.md');
  const example = existsSync(path) && /```ts\n([\s\S]*?)```/.exec(readFileSync(path, 'utf8'))?.[1];
  if (!example) return console.log('- skipped: README.md has no TypeScript example');
  writeFileSync(join(scratch, 'readme.ts'), example);
  check('TypeScript: the first example of the README compiles', () =>
    mustSucceed(process.execPath, [tsc, '-p', 'tsconfig.readme.json']),
  );
}

function check(name, work) {
  try {
    work();
    passed += 1;
    console.log(`✓ ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`✗ ${name}\n${error.message}`);
  }
}

function mustSucceed(command, args) {
  const { status, output } = run(command, args);
  if (status !== 0) throw new Error(`exit ${status}\n${output}`);
}

function run(command, args, options = {}) {
  const done = spawnSync(command, args, {
    cwd: scratch,
    encoding: 'utf8',
    timeout: STEP_TIMEOUT_MS,
    ...options,
  });
  const output = `${done.stdout ?? ''}${done.stderr ?? ''}${done.error?.message ?? ''}`;
  return { status: done.status, stdout: done.stdout, output };
}
