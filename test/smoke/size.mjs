// Prints how large the package is, gzipped, and fails when it passes the ceiling: growth should be
// a decision.

import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const CEILING_KIB = 140;

const dist = new URL('../../dist/', import.meta.url);
const scripts = readdirSync(dist, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.js'))
  .sort();
const code = scripts.map((name) => readFileSync(new URL(name, dist), 'utf8')).join('\n');
const kib = gzipSync(code).length / 1024;

console.log(
  `dist: ${scripts.length} modules, ${kib.toFixed(1)} KiB gzipped (at most ${CEILING_KIB})`,
);
if (kib > CEILING_KIB) process.exitCode = 1;
