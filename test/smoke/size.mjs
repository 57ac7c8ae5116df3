// Prints how large the package is, gzipped, and fails when what a gateway loads passes the ceiling:
// growth should be a decision. What other entries load beside it is told apart.

import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const CEILING_KIB = 160;
/** Folders that are loaded through an entry of their own alone. */
const ENTRIES = ['v2', 'testing'];

const dist = new URL('../../dist/', import.meta.url);
const scripts = readdirSync(dist, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.js'))
  .sort();
const isOf = (entry) => (name) => name.startsWith(`${entry}/`) || name.startsWith(`${entry}\\`);

const main = sizeOf(scripts.filter((name) => !ENTRIES.some((entry) => isOf(entry)(name))));
console.log(`dist: ${main.text} (at most ${CEILING_KIB})`);
for (const entry of ENTRIES) {
  console.log(`dist/${entry}: ${sizeOf(scripts.filter(isOf(entry))).text}`);
}
if (main.kib > CEILING_KIB) process.exitCode = 1;

function sizeOf(names) {
  const code = names.map((name) => readFileSync(new URL(name, dist), 'utf8')).join('\n');
  const kib = gzipSync(code).length / 1024;
  return { kib, text: `${names.length} modules, ${kib.toFixed(1)} KiB gzipped` };
}
