// Reads `src` as syntax trees, for tests that hold the code to its own rules. Comments and strings
// are not code, so they can't trip a rule, and a type-only import is known from one of values.

import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAst } from 'vitest/node';

/** A node of the tree: ESTree with TypeScript's additions. */
export interface SyntaxNode {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/** One `import … from`, `export … from` or `import(…)`. */
export interface ImportOf {
  /** A path from the repository root (`src/lease.ts`) for our own files, else as written. */
  readonly from: string;
  /** False when only types are named: nothing of it is left at run time. */
  readonly ofValues: boolean;
  /** True for `import(…)`: it is loaded when that line runs, not with the module. */
  readonly onDemand: boolean;
}

export interface SourceFile {
  /** From the repository root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly tree: SyntaxNode;
  readonly imports: readonly ImportOf[];
}

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Every TypeScript module below `folder`, parsed. Declaration files hold no code and are left out. */
export function readSources(folder: string): SourceFile[] {
  return readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
    .filter((path) => !/\/(\.build|node_modules)\//.test(path))
    .sort()
    .map((path) => parseSource(path, readFileSync(`${root}${path}`, 'utf8')));
}

/** Parses one module; `path` is where it would live. */
export function parseSource(path: string, text: string): SourceFile {
  const tree = parseAst(text, { lang: 'ts' }) as unknown as SyntaxNode;
  const imports: ImportOf[] = [];
  for (const node of nodesOf(tree)) {
    const source = node['source'];
    if (!isNode(source) || typeof source['value'] !== 'string') continue;
    imports.push({
      from: resolveFrom(path, source['value']),
      ofValues: bringsValues(node),
      onDemand: node.type === 'ImportExpression',
    });
  }
  return { path, text, tree, imports };
}

/** The node and all nodes below it, in source order. */
export function* nodesOf(node: SyntaxNode): Generator<SyntaxNode> {
  yield node;
  for (const child of childrenOf(node)) yield* nodesOf(child);
}

/** Lines from the first to the last character of the node. */
export function lineCount(file: SourceFile, node: SyntaxNode): number {
  return file.text.slice(node.start, node.end).split('\n').length;
}

/** Names the node refers to: identifiers that are not merely the name of a member or of a key. */
export function* referencesOf(node: SyntaxNode): Generator<string> {
  if (node.type === 'Identifier') yield String(node['name']);
  for (const [field, value] of Object.entries(node)) {
    const isName =
      (field === 'property' || field === 'key') && node['computed'] !== true && isNode(value);
    const reachesGlobal = node.type === 'MemberExpression' && isGlobalObject(node['object']);
    if (isName && !reachesGlobal) continue;
    for (const child of nodesIn(value)) yield* referencesOf(child);
  }
}

function bringsValues(node: SyntaxNode): boolean {
  if (node['importKind'] === 'type' || node['exportKind'] === 'type') return false;
  const specifiers = node['specifiers'];
  if (!Array.isArray(specifiers) || specifiers.length === 0) return true;
  return specifiers.some(
    (each: SyntaxNode) => each['importKind'] !== 'type' && each['exportKind'] !== 'type',
  );
}

function resolveFrom(path: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier;
  return posix.join(posix.dirname(path), specifier);
}

function isGlobalObject(value: unknown): boolean {
  return isNode(value) && value.type === 'Identifier' && value['name'] === 'globalThis';
}

function childrenOf(node: SyntaxNode): SyntaxNode[] {
  return Object.values(node).flatMap((value) => nodesIn(value));
}

function nodesIn(value: unknown): SyntaxNode[] {
  if (Array.isArray(value)) return value.filter((each) => isNode(each));
  return isNode(value) ? [value] : [];
}

function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value;
}
