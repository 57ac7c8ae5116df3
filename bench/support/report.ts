// What a bench leaves: a header that says where the figures are from, a table, a JSON file.

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';

const results = new URL('../../results/', import.meta.url);

export interface Origin {
  readonly machine: string;
  readonly node: string;
  readonly commit: string;
  readonly takenAt: string;
}

export function origin(): Origin {
  const processors = cpus();
  return {
    machine: `${processors.length} × ${processors[0]?.model.trim() ?? 'unknown CPU'}`,
    node: process.version,
    commit: commit(),
    takenAt: new Date().toISOString(),
  };
}

export function printHeader(title: string, sizes: Record<string, number>): void {
  const { machine, node, commit: revision } = origin();
  const named = Object.entries(sizes).map(([name, value]) => `${name} ${value}`);
  console.log(`# ${title}\n${machine}, Node ${node}, commit ${revision}\n${named.join(', ')}\n`);
}

/** Rows under a header of their keys, in columns; numbers to the right. */
export function printTable(rows: readonly Record<string, string | number | undefined>[]): void {
  const columns = Object.keys(rows[0] ?? {});
  const cells = rows.map((row) => columns.map((column) => format(row[column])));
  const widths = columns.map((column, index) =>
    Math.max(column.length, ...cells.map((row) => row[index]?.length ?? 0)),
  );
  const isNumeric = columns.map((column) => rows.some((row) => typeof row[column] === 'number'));
  const line = (texts: readonly string[]) =>
    texts
      .map((text, i) =>
        isNumeric[i] ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0),
      )
      .join('  ')
      .trimEnd();
  console.log([line(columns), line(widths.map((width) => '-'.repeat(width)))].join('\n'));
  for (const row of cells) console.log(line(row));
  console.log();
}

/** Writes `bench/results/<name>.json`. */
export function saveJson(name: string, content: object): void {
  saveText(`${name}.json`, `${JSON.stringify({ ...origin(), ...content }, null, 2)}\n`);
}

export function saveText(fileName: string, text: string): void {
  mkdirSync(results, { recursive: true });
  writeFileSync(new URL(fileName, results), text);
  console.log(`written: bench/results/${fileName}`);
}

function format(value: string | number | undefined): string {
  if (typeof value !== 'number') return value ?? '-';
  if (Number.isInteger(value)) return value.toLocaleString('en');
  return value.toLocaleString('en', { maximumSignificantDigits: 3 });
}

function commit(): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const isChanged = git('status', '--porcelain', '--untracked-files=no') !== '';
    return `${git('rev-parse', '--short', 'HEAD')}${isChanged ? ' with changes' : ''}`;
  } catch {
    return 'unknown';
  }
}
