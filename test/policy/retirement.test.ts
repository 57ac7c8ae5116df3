// When a session has to go, though nothing is wrong with it: a table.

import { describe, expect, test } from 'vitest';
import { expiryOf, retirementOf } from '../../src/policy/retirement.ts';

const NOW = 10_000;
const fresh = { condemned: false, generation: 3, expiresAt: NOW + 1, idleSince: NOW };
const view = { generation: 3, limits: { idleTimeoutMs: 500 } };

describe('retirementOf', () => {
  test.each([
    { name: 'a fresh session', slot: {}, reason: undefined },
    { name: 'a condemned one', slot: { condemned: true }, reason: 'retired' },
    { name: 'one of an old generation', slot: { generation: 2 }, reason: 'retired' },
    { name: 'one of a newer generation', slot: { generation: 4 }, reason: undefined },
    { name: 'one at the end of its lifetime', slot: { expiresAt: NOW }, reason: 'max-lifetime' },
    { name: 'one idle for almost too long', slot: { idleSince: NOW - 499 }, reason: undefined },
    { name: 'one idle for too long', slot: { idleSince: NOW - 500 }, reason: 'idle-timeout' },
    { name: 'retired and too old', slot: { condemned: true, expiresAt: 0 }, reason: 'retired' },
    { name: 'too old and idle', slot: { expiresAt: 0, idleSince: 0 }, reason: 'max-lifetime' },
  ])('$name: $reason', ({ slot, reason }) => {
    expect(retirementOf({ ...fresh, ...slot }, view, NOW)).toBe(reason);
  });

  test('Infinity switches the idle timeout off', () => {
    const never = { generation: 3, limits: { idleTimeoutMs: Number.POSITIVE_INFINITY } };
    expect(retirementOf({ ...fresh, idleSince: -1e15 }, never, NOW)).toBeUndefined();
  });
});

describe('expiryOf', () => {
  test.each([
    { random: 0, lifetime: 900 },
    { random: 0.5, lifetime: 1_000 },
    { random: 1, lifetime: 1_100 },
  ])('spreads lifetimes by ± 10 %: $random gives $lifetime', ({ random, lifetime }) => {
    expect(expiryOf(50, 1_000, random)).toBeCloseTo(50 + lifetime);
  });

  test('of an endless lifetime is never', () => {
    expect(expiryOf(50, Number.POSITIVE_INFINITY, 0)).toBe(Number.POSITIVE_INFINITY);
  });
});
