// The bounds of one key, derived from the pool's options and from affinity: a table.

import { expect, test } from 'vitest';
import { keyLimits } from '../../src/policy/key-limits.ts';

const options = {
  leasesPerSession: 2,
  maxSessionsPerKey: 7,
  maxOpeningPerKey: 3,
  probeAfterIdleMs: 10,
  idleTimeoutMs: 20,
  maxLifetimeMs: 30,
  affinityIdleTimeoutMs: 40,
};

test.each([
  {
    name: 'a plain key has the bounds of the pool',
    key: { affinity: undefined, leasesPerSession: undefined, isProcess: false },
    differs: {},
  },
  {
    name: 'a target says how its sessions are shared',
    key: { affinity: undefined, leasesPerSession: 5, isProcess: false },
    differs: { leasesPerSession: 5 },
  },
  {
    name: 'where each session is a process, there are fewer',
    key: { affinity: undefined, leasesPerSession: undefined, isProcess: true },
    differs: { maxSessionsPerKey: 4 },
  },
  {
    name: 'affinity means one session, shared without limit, that age does not end',
    key: { affinity: 'a', leasesPerSession: undefined, isProcess: false },
    differs: {
      leasesPerSession: Number.MAX_SAFE_INTEGER,
      maxSessionsPerKey: 1,
      idleTimeoutMs: 40,
      maxLifetimeMs: Number.POSITIVE_INFINITY,
    },
  },
  {
    name: 'with affinity a target can not limit it: nested calls would wait for each other',
    key: { affinity: 'a', leasesPerSession: 1, isProcess: false },
    differs: {
      leasesPerSession: Number.MAX_SAFE_INTEGER,
      maxSessionsPerKey: 1,
      idleTimeoutMs: 40,
      maxLifetimeMs: Number.POSITIVE_INFINITY,
    },
  },
])('$name', ({ key, differs }) => {
  const { affinityIdleTimeoutMs: _, ...limits } = options;
  expect(keyLimits(options, key, 4)).toEqual({ ...limits, ...differs });
});
