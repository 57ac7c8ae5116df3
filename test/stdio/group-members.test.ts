// Who of a group lives, as Linux tells it: zombies do not.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { hasLiveMember } from '../../src/stdio/group-members.ts';

let proc: string;
beforeEach(() => {
  proc = mkdtempSync(`${tmpdir()}/proc-`);
});
afterEach(() => rmSync(proc, { recursive: true }));

function addProcess(pid: number, stat: string): void {
  mkdirSync(`${proc}/${pid}`);
  writeFileSync(`${proc}/${pid}/stat`, stat);
}

test('a live process counts, whatever its name', () => {
  addProcess(7, '7 (a) Z 1 7 (b)) S 1 40 40 0 -1 4194560');
  expect(hasLiveMember(40, proc)).toBe(true);
  expect(hasLiveMember(7, proc)).toBe(false);
});

test('those that have ended, and those of other groups, do not', () => {
  addProcess(7, '7 (node) Z 1 40 40 0 -1');
  addProcess(8, '8 (node) X 1 40 40 0 -1');
  addProcess(9, '9 (node) S 1 41 41 0 -1');
  mkdirSync(`${proc}/10`);
  mkdirSync(`${proc}/self`);
  expect(hasLiveMember(40, proc)).toBe(false);
});

test('where there is no such list, nobody knows', () => {
  expect(hasLiveMember(40, proc)).toBeUndefined();
  expect(hasLiveMember(40, `${proc}/nowhere`)).toBeUndefined();
});

test('our own group has a live member', () => {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const [, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ', 3);
  expect(hasLiveMember(Number(group))).toBe(true);
});
