// Prints how large the package is, gzipped, and fails when it passes the ceiling: growth should be
// a decision. What only the entry for SDK 2 loads is told apart.

import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const CEILING_KIB = 128;

const dist = new URL('../../dist/', import.meta.url);
const scripts = readdirSync(dist, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.js'))
  .sort();
const isOfSdk2 = (name) => /^v2[/\\]/.test(name);
const main = sizeOf(scripts.filter((name) => !isOfSdk2(name)));
const sdk2 = sizeOf(scripts.filter(isOfSdk2));

console.log(`dist: ${main.text} (at most ${CEILING_KIB}); for SDK 2 beside it: ${sdk2.text}`);
if (main.kib > CEILING_KIB) process.exitCode = 1;

function sizeOf(names) {
  const code = names.map((name) => readFileSync(new URL(name, dist), 'utf8')).join('\n');
  const kib = gzipSync(code).length / 1024;
  return { kib, text: `${names.length} modules, ${kib.toFixed(1)} KiB gzipped` };
}
