// The last resort of pools with servers over stdio: what it listens to, and for how long.

import { expect, test } from 'vitest';
import { LiveGroups } from '../../src/stdio/live-groups.ts';
import type { ProcessGroup } from '../../src/stdio/process-group.ts';

const group = (): ProcessGroup => ({ kill: () => {} }) as Partial<ProcessGroup> as ProcessGroup;

test('twenty pools with servers are no leak to Node, and leave nothing when those have ended', () => {
  const before = { count: process.listenerCount('exit'), allowed: process.getMaxListeners() };
  const pools = Array.from({ length: 20 }, () => ({ groups: new LiveGroups(), one: group() }));
  // Node warns when more listen than are allowed, which fails every test of this suite.
  for (const { groups, one } of pools) groups.add(one);
  expect(process.listenerCount('exit')).toBe(before.count + 20);
  expect(process.getMaxListeners()).toBe(before.allowed + 20);
  for (const { groups, one } of pools) {
    groups.delete(one);
    groups.delete(one);
  }
  expect(process.listenerCount('exit')).toBe(before.count);
  expect(process.getMaxListeners()).toBe(before.allowed);
});

test('a second group of a pool adds no listener, and the last one takes it away', () => {
  const before = process.listenerCount('exit');
  const groups = new LiveGroups();
  const [one, other] = [group(), group()];
  groups.add(one);
  groups.add(other);
  groups.delete(one);
  expect(process.listenerCount('exit')).toBe(before + 1);
  groups.delete(other);
  expect(process.listenerCount('exit')).toBe(before);
});
