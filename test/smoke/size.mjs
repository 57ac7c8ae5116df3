// Prints how large the package is, gzipped, and fails when what a gateway loads passes the ceiling:
// growth should be a decision. The testing kit is loaded by tests alone, and told of apart.

import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const CEILING_KIB = 128;
const KIT = /^testing[\\/]/;

const dist = new URL('../../dist/', import.meta.url);
const scripts = readdirSync(dist, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.js'))
  .sort();

const library = sizeOf(scripts.filter((name) => !KIT.test(name)));
const kit = sizeOf(scripts.filter((name) => KIT.test(name)));
console.log(`dist: ${library.text} (at most ${CEILING_KIB})`);
console.log(`dist/testing: ${kit.text}`);
if (library.kib > CEILING_KIB) process.exitCode = 1;

function sizeOf(names) {
  const code = names.map((name) => readFileSync(new URL(name, dist), 'utf8')).join('\n');
  const kib = gzipSync(code).length / 1024;
  return { kib, text: `${names.length} modules, ${kib.toFixed(1)} KiB gzipped` };
}
