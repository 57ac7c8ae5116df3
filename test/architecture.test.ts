// Holds `src` to the shape that ARCHITECTURE.md draws: who may import whom, that policy is pure,
// that time comes from one place, and how long files and functions may get.

import { expect, test } from 'vitest';
import {
  lineCount,
  nodesOf,
  parseSource,
  readSources,
  referencesOf,
  type SourceFile,
} from './support/source-files.ts';

const sources = readSources('src');

/** Names of the files of which `isBad` holds; each rule expects none. */
const offenders = (isBad: (file: SourceFile) => boolean, files = sources): string[] =>
  files.filter((file) => isBad(file)).map((file) => file.path);

/** `file → import` for every import of values that is against a rule. */
function forbiddenImports(isForbidden: (file: SourceFile, from: string) => boolean): string[] {
  return sources.flatMap((file) =>
    file.imports
      .filter((each) => each.ofValues && isForbidden(file, each.from))
      .map((each) => `${file.path} → ${each.from}`),
  );
}

const isIn = (path: string, ...folders: string[]): boolean =>
  folders.some((folder) => path.startsWith(`src/${folder}/`));

/** Names of globals that `file` uses. */
function globalsUsed(file: SourceFile, banned: ReadonlySet<string>): string[] {
  return [...new Set(referencesOf(file.tree))].filter((name) => banned.has(name));
}

test('src holds modules to check', () => {
  expect(sources.map((file) => file.path)).toContain('src/clock.ts');
});

test('only connect/, http/ and v2/ import an SDK, undici and the parsers; only observe/ pino', () => {
  const peers = /^(@modelcontextprotocol\/|undici$|undici\/|eventsource-parser|zod)/;
  expect(
    forbiddenImports((file, from) => peers.test(from) && !isIn(file.path, 'connect', 'http', 'v2')),
  ).toEqual([]);
  expect(forbiddenImports((file, from) => from === 'pino' && !isIn(file.path, 'observe'))).toEqual(
    [],
  );
});

test('each SDK has its own modules: what both lines share loads neither', () => {
  const sdk1 = /^@modelcontextprotocol\/sdk\//;
  const ofSdk1 = new Set(['handshake', 'lease-client', 'sdk-1'].map((n) => `src/connect/${n}.ts`));
  const onDemand = new Set(['src/http/authorization-flow.ts']);
  expect(
    forbiddenImports(
      (file, from) => sdk1.test(from) && !ofSdk1.has(file.path) && !onDemand.has(file.path),
    ),
  ).toEqual([]);
  // Types included: the declarations of the main entry must not need a package that may be missing.
  const isSdk2 = (from: string) => from.startsWith('@modelcontextprotocol/client');
  const uses = sources.flatMap((file) =>
    file.imports.map(({ from }) => ({ path: file.path, from })),
  );
  expect(uses.filter(({ path, from }) => isSdk2(from) && !isIn(path, 'v2'))).toEqual([]);
  expect(uses.filter(({ path, from }) => isIn(from, 'v2') && !isIn(path, 'v2'))).toEqual([]);
  expect(forbiddenImports((file, from) => isIn(file.path, 'v2') && ofSdk1.has(from))).toEqual([]);
});

test('only stdio/ starts processes, and it knows nothing of connect/', () => {
  const starters = /^(node:child_process|cross-spawn)$/;
  expect(
    forbiddenImports((file, from) => starters.test(from) && !isIn(file.path, 'stdio')),
  ).toEqual([]);
  expect(
    forbiddenImports((file, from) => isIn(from, 'connect') && isIn(file.path, 'stdio')),
  ).toEqual([]);
});

test('imports of values lead down: index, session-pool, sub-pool, then the rest', () => {
  const importersOf: Record<string, readonly string[]> = {
    'src/index.ts': [],
    'src/session-pool.ts': ['src/index.ts', 'src/v2/index.ts'],
    'src/sub-pool.ts': ['src/session-pool.ts'],
  };
  expect(
    forbiddenImports((file, from) => importersOf[from]?.includes(file.path) === false),
  ).toEqual([]);
});

test('the heart knows connections by type only', () => {
  const heart = ['src/sub-pool.ts', 'src/lease.ts', 'src/teardown.ts', 'src/options.ts'];
  expect(
    forbiddenImports(
      (file, from) =>
        isIn(from, 'connect', 'http', 'stdio') &&
        (heart.includes(file.path) || isIn(file.path, 'policy', 'observe')),
    ),
  ).toEqual([]);
  expect(
    forbiddenImports((file, from) => isIn(from, 'connect') && isIn(file.path, 'http')),
  ).toEqual([]);
});

test('no import of values goes in a circle', () => {
  const valueImports = new Map(
    sources.map((file) => [
      file.path,
      file.imports.filter((each) => each.ofValues).map((each) => each.from),
    ]),
  );
  const circles: string[] = [];
  const finished = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const circleAt = trail.indexOf(path);
    if (circleAt >= 0) circles.push([...trail.slice(circleAt), path].join(' → '));
    if (finished.has(path) || circleAt >= 0) return;
    for (const next of valueImports.get(path) ?? []) visit(next, [...trail, path]);
    finished.add(path);
  };
  for (const path of valueImports.keys()) visit(path, []);
  expect(circles).toEqual([]);
});

test('every import within src names a file that exists', () => {
  const paths = new Set(sources.map((file) => file.path));
  const dangling = sources.flatMap((file) =>
    file.imports.filter((each) => each.from.startsWith('src/') && !paths.has(each.from)),
  );
  expect(dangling).toEqual([]);
});

test('policy imports values of policy and of invariant.ts alone (I9)', () => {
  const isPure = (from: string) => isIn(from, 'policy') || from === 'src/invariant.ts';
  expect(forbiddenImports((file, from) => isIn(file.path, 'policy') && !isPure(from))).toEqual([]);
});

test('policy waits for nothing and asks nobody: no promise, timer, clock or chance (I9)', () => {
  const impure = new Set(
    'Promise Date performance process setTimeout setInterval setImmediate queueMicrotask globalThis'
      .concat(' global crypto fetch console AbortSignal AbortController EventTarget Buffer require')
      .split(' '),
  );
  const policy = sources.filter((file) => isIn(file.path, 'policy'));
  const found = policy.flatMap((file) => [
    ...globalsUsed(file, impure).map((name) => `${file.path}: ${name}`),
    ...[...nodesOf(file.tree)]
      .filter((node) => node['async'] === true || node.type === 'AwaitExpression')
      .map(() => `${file.path}: async`),
    ...(/\bMath\.random\b/.test(file.text) ? [`${file.path}: Math.random`] : []),
  ]);
  expect(found).toEqual([]);
});

test('time comes from clock.ts alone', () => {
  const timeGlobals = new Set([
    ...['setTimeout', 'setInterval', 'setImmediate', 'Date', 'performance'],
    ...['clearTimeout', 'clearInterval', 'clearImmediate'],
  ]);
  const elsewhere = sources.filter((file) => file.path !== 'src/clock.ts');
  const found = elsewhere.flatMap((file) =>
    globalsUsed(file, timeGlobals).map((name) => `${file.path}: ${name}`),
  );
  expect(found).toEqual([]);
  expect(offenders((file) => callsOn(file, 'AbortSignal', 'timeout'), elsewhere)).toEqual([]);
  expect(forbiddenImports((_file, from) => /^(node:)?(timers|perf_hooks)/.test(from))).toEqual([]);
});

test('nothing outside of testing/ knows the testing kit, not even its types', () => {
  const outsiders = sources.filter((file) => !isIn(file.path, 'testing'));
  expect(outsiders.length).toBeGreaterThan(50);
  expect(
    offenders((file) => file.imports.some(({ from }) => isIn(from, 'testing')), outsiders),
  ).toEqual([]);
});

test('testing/ loads itself, the clock and node: neither the pool, the SDK, undici nor a package', () => {
  const mayLoad = (from: string) =>
    isIn(from, 'testing') || from === 'src/clock.ts' || from.startsWith('node:');
  expect(forbiddenImports((file, from) => isIn(file.path, 'testing') && !mayLoad(from))).toEqual(
    [],
  );
  expect(loadedBy('src/testing/index.ts')).toEqual(
    new Set([
      ...['src/clock.ts', 'node:async_hooks', 'node:crypto', 'node:http'],
      ...sources.filter((file) => isIn(file.path, 'testing')).map((file) => file.path),
    ]),
  );
});

test('only testing/ listens on a port; its manual clock alone takes a turn past clock.ts', () => {
  const servers = /^node:(http|http2|https|net|tls)$/;
  const isTesting = (file: SourceFile) => isIn(file.path, 'testing');
  expect(forbiddenImports((file, from) => servers.test(from) && !isTesting(file))).toEqual([]);
  // Taken from the global object, so that runners that fake timers can't stop the clock.
  const named = offenders((file) => /\bsetImmediate\b/.test(codeOf(file)));
  expect(named).toEqual(['src/clock.ts', 'src/testing/manual-clock.ts']);
});

test('AbortSignal.any, which leaks on a long-lived signal, is used nowhere', () => {
  expect(offenders((file) => callsOn(file, 'AbortSignal', 'any'))).toEqual([]);
});

test('modules hold no state of their own, and export names one by one', () => {
  const banned = ['ExportAllDeclaration', 'ExportDefaultDeclaration', 'TSEnumDeclaration'];
  expect(
    offenders((file) => [...nodesOf(file.tree)].some((node) => banned.includes(node.type))),
  ).toEqual([]);
  expect(
    offenders((file) =>
      (file.tree['body'] as { type: string; kind?: string }[]).some(
        (node) => node.type === 'VariableDeclaration' && node.kind !== 'const',
      ),
    ),
  ).toEqual([]);
});

test('files stay within 300 lines, functions within 70, lines within 100 characters', () => {
  expect(offenders((file) => file.text.trimEnd().split('\n').length > 300)).toEqual([]);
  expect(offenders((file) => file.text.split('\n').some((line) => line.length > 100))).toEqual([]);
  const isFunction = /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/;
  expect(
    offenders((file) =>
      [...nodesOf(file.tree)].some(
        (node) => isFunction.test(node.type) && lineCount(file, node) > 70,
      ),
    ),
  ).toEqual([]);
});

test('every module opens with a comment that says its job, and none holds a TODO', () => {
  expect(offenders((file) => !file.text.startsWith('// '))).toEqual([]);
  expect(offenders((file) => /\b(TODO|FIXME|XXX)\b/.test(file.text))).toEqual([]);
});

test('the checks themselves see what they ban, and are not fooled by names and comments', () => {
  const guilty = parseSource(
    'src/policy/guilty.ts',
    `import { a } from '../lease.ts';
     import type { B } from 'undici';
     const later = async () => globalThis.setTimeout(a, Date.now());
     AbortSignal.any([]);`,
  );
  expect(guilty.imports).toEqual([
    { from: 'src/lease.ts', ofValues: true, onDemand: false },
    { from: 'undici', ofValues: false, onDemand: false },
  ]);
  expect(globalsUsed(guilty, new Set(['setTimeout', 'Date']))).toEqual(['setTimeout', 'Date']);
  expect(callsOn(guilty, 'AbortSignal', 'any')).toBe(true);
  const innocent = parseSource(
    'src/policy/innocent.ts',
    `// setTimeout, Date
     clock.setTimeout(() => 'Date', { Date: 1 }.Date);
     interface Clock { setTimeout(run: () => void): void; }`,
  );
  expect(globalsUsed(innocent, new Set(['setTimeout', 'Date']))).toEqual([]);
});

/** All that importing the module at `path` loads, by imports of values that are not on demand. */
function loadedBy(path: string): Set<string> {
  const loaded = new Set([path]);
  for (const each of loaded) {
    const { imports = [] } = sources.find((file) => file.path === each) ?? {};
    for (const { from, ofValues, onDemand } of imports) if (ofValues && !onDemand) loaded.add(from);
  }
  return loaded;
}

/** The text of `file` without its comments. */
const codeOf = (file: SourceFile): string => file.text.replace(/\/\/.*|\/\*[\s\S]*?\*\//g, '');

/** Whether `file` reads `owner.member`. */
function callsOn(file: SourceFile, owner: string, member: string): boolean {
  return [...nodesOf(file.tree)].some((node) => {
    if (node.type !== 'MemberExpression') return false;
    const { object, property } = node as unknown as Record<string, { name?: string }>;
    return object?.name === owner && property?.name === member;
  });
}
