// Holds README.md and ARCHITECTURE.md to what the code says: options, states, errors, events,
// examples, and to what the tests show of differences.

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { HOSTILE_SERVERS } from 'mcp-session-pool/testing';
import { expect, test } from 'vitest';
import { BREAKER_RULES, NUMBER_RULES, resolveOptions } from '../src/options.ts';
import { LEGAL } from '../src/policy/ledger.ts';
import { knownDifferences } from './support/known-differences.ts';

const fromRoot = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

const read = (path: string): string => readFileSync(fromRoot(path), 'utf8');

const readme = read('README.md');
const architecture = read('ARCHITECTURE.md');

/** The rows of README's option table: name → [default, minimum], as numbers. */
function documentedNumbers(): Map<string, readonly [number, number]> {
  const rows = readme.matchAll(/^\| `(\w+)` \| `?([\d,]+|Infinity)`? \| ([\d,]+) \|/gm);
  const toNumber = (text = ''): number => Number(text.replaceAll(',', ''));
  return new Map(
    [...rows].map(([, name = '', byDefault, min]) => [name, [toNumber(byDefault), toNumber(min)]]),
  );
}

test("README's option table has every numeric option with its default and minimum", () => {
  const rules = Object.entries(NUMBER_RULES).map(
    ([name, rule]) => [name, [rule.default, rule.min]] as const,
  );
  expect(rules.length).toBeGreaterThan(10);
  expect(Object.fromEntries(documentedNumbers())).toEqual(Object.fromEntries(rules));
});

test("README's option table says the members of `breaker` with default and minimum", () => {
  const row = readme.split('\n').find((line) => line.startsWith('| `breaker` |')) ?? '';
  const { failureThreshold, resetAfterMs } = BREAKER_RULES;
  const number = (value: number): string => value.toLocaleString('en-US');
  expect(row).toContain(
    `\`failureThreshold\` (${failureThreshold.default}, minimum ${failureThreshold.min})`,
  );
  expect(row).toContain(
    `\`resetAfterMs\` (${number(resetAfterMs.default)} ± 10 %, minimum ${resetAfterMs.min})`,
  );
});

test("README's option table names every option there is", () => {
  const table = readme.slice(readme.indexOf('## Options'), readme.indexOf('## Errors'));
  for (const name of Object.keys(resolveOptions({}))) expect(table).toContain(`| \`${name}\` |`);
});

test("ARCHITECTURE's state table is the ledger's", () => {
  const drawn = /<!-- states -->\n```\n([\s\S]*?)\n```/.exec(architecture)?.[1];
  const legal = Object.entries(LEGAL).map(([from, to]) => `${from} → ${to.join(', ')}`.trimEnd());
  expect(drawn).toBe(legal.join('\n'));
});

test("README's error and event tables are complete", () => {
  const codes = [...read('src/errors.ts').matchAll(/^ {2}\| '([A-Z_]+)'/gm)].map(
    ([, code]) => code,
  );
  const events = [...read('src/observe/events.ts').matchAll(/(?:Of<|type: )'([a-z-]+)'/g)];
  expect(codes.length).toBe(8);
  expect(events.length).toBeGreaterThan(10);
  for (const code of codes) expect(readme).toContain(`| \`${code}\` |`);
  for (const [, type = ''] of events) expect(readme).toContain(`\`${type}\``);
});

test("README's first example is examples/quick-start.ts, which is compiled", () => {
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1];
  expect(read('examples/quick-start.ts')).toContain(example);
});

test("README's examples of tests are those of examples/, which run in test/testing/", () => {
  const section = readme.slice(readme.indexOf('## Testing your gateway'));
  const [fakes = '', hostile = ''] = [...section.matchAll(/```ts\n([\s\S]*?)```/g)].map(
    ([, example = '']) => example,
  );
  expect(read('examples/testing-with-fakes.ts')).toContain(fakes);
  expect(read('examples/testing-with-hostile-servers.ts')).toContain(hostile);
  expect(hostile).toContain('hostileServer(');
});

test("README's table of hostile servers is the kit's catalogue", () => {
  const table = /<!-- hostile servers -->\n([\s\S]*?)<!-- \/hostile servers -->/.exec(readme)?.[1];
  const rows = [...(table ?? '').matchAll(/^\| `(.*?)` \| (.*) \| (.*) \|$/gm)];
  expect(rows.map(([, name, does, standsFor]) => [name, { does, standsFor }])).toEqual(
    Object.entries(HOSTILE_SERVERS),
  );
});

test('the version sent with initialize is the version of the package', () => {
  const { version } = JSON.parse(read('package.json')) as { version: string };
  expect(resolveOptions({}).clientInfo.version).toBe(version);
});

test('every file that the documents name exists, in the repository or in src', () => {
  const named = [
    ...`${readme}\n${architecture}`.matchAll(
      /`((?:src|test|bench|examples)\/[\w./-]+|[\w./-]+\.ts)`/g,
    ),
  ];
  expect(named.length).toBeGreaterThan(40);
  const missing = named
    .map(([, path = '']) => path)
    .filter((path) => !existsSync(fromRoot(path)) && !existsSync(fromRoot(`src/${path}`)));
  expect(missing).toEqual([]);
});

test("README's table of differences is the list that the differential test allows", () => {
  const table = /<!-- differences -->\n([\s\S]*?)<!-- \/differences -->/.exec(readme)?.[1] ?? '';
  const rows = [...table.matchAll(/^\| (.*) \| (.*) \|$/gm)].slice(1);
  expect(rows.map(([, name, why]) => ({ name, why }))).toEqual(
    knownDifferences.map(({ name, why }) => ({ name, why })),
  );
});
