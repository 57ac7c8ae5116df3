// Keys are canonical JSON: equal meaning gives equal text, and different tuples never share one.

import { describe, expect, test } from 'vitest';
import { canonicalJson, type KeyParts, keyId } from '../../src/policy/session-key.ts';

const parts: KeyParts = {
  endpoint: ['http', 'https://one.example/mcp', ''],
  identity: ['named', 'ada'],
  affinity: undefined,
  leasesPerSession: undefined,
  clientInfo: { name: 'a', version: '1' },
  capabilities: {},
};

describe('canonicalJson', () => {
  test.each([
    { name: 'order of members', one: { a: 1, b: 2 }, other: { b: 2, a: 1 } },
    {
      name: 'order of nested members',
      one: { x: { a: [], b: {} } },
      other: { x: { b: {}, a: [] } },
    },
    { name: 'members without a value', one: { a: 1, b: undefined }, other: { a: 1 } },
    { name: 'members inside arrays', one: [{ a: 1, b: 2 }], other: [{ b: 2, a: 1 }] },
  ])('$name does not matter', ({ one, other }) => {
    expect(canonicalJson(one)).toBe(canonicalJson(other));
  });

  test.each([
    { name: 'order in arrays', one: [1, 2], other: [2, 1] },
    { name: 'text and number', one: ['1'], other: [1] },
    { name: 'null and its name', one: [null], other: ['null'] },
    { name: 'nesting', one: [['a'], 'b'], other: ['a', ['b']] },
    { name: 'where a string ends', one: ['a","b'], other: ['a', 'b'] },
    { name: 'an own __proto__', one: JSON.parse('{"__proto__":1}') as unknown, other: {} },
    { name: 'an empty string', one: [''], other: [] },
    { name: 'a lone surrogate', one: ['\ud800'], other: ['\udfff'] },
  ])('$name does', ({ one, other }) => {
    expect(canonicalJson(one)).not.toBe(canonicalJson(other));
  });
});

/** Strings that gluing, trimming, folding or unescaping would confuse. */
const NASTY = [
  'a',
  'A',
  'a ',
  ' a',
  'a\u0000',
  'a"',
  "a'",
  'a\\',
  'a\\"',
  '","',
  '["named","a"]',
  'null',
  'undefined',
  '',
  'ä',
  'a\u0308',
  '\ud800',
  '\\ud800',
  '|',
  ':',
  '/',
  '0',
  '-0',
  '{}',
  '[]',
  '__proto__',
];

describe('keyId', () => {
  test('is the same for the same parts', () => {
    expect(keyId({ ...parts, capabilities: { a: {}, b: {} } })).toBe(
      keyId({ ...parts, capabilities: { b: {}, a: {} } }),
    );
  });

  test('no two different tuples share one, however nasty their strings', () => {
    const seen = new Map<string, string>();
    for (const first of NASTY) {
      for (const second of NASTY) {
        const variants: KeyParts[] = [
          { ...parts, endpoint: ['http', first, second] },
          { ...parts, endpoint: [first], identity: ['named', second] },
          { ...parts, endpoint: [first], identity: ['digest', second] },
          { ...parts, identity: ['named', first], affinity: second },
          { ...parts, endpoint: [], affinity: first, clientInfo: second },
          { ...parts, endpoint: [], clientInfo: first, capabilities: second },
        ];
        for (const variant of variants) {
          const text = JSON.stringify(variant);
          const id = keyId(variant);
          expect(seen.get(id) ?? text).toBe(text);
          seen.set(id, text);
        }
      }
    }
    expect(seen.size).toBe(6 * NASTY.length ** 2);
  });

  test.each([
    { name: 'how the identity came about', change: { identity: ['digest', 'ada'] as const } },
    { name: 'affinity', change: { affinity: 'x' } },
    { name: 'leases per session', change: { leasesPerSession: 1 } },
    { name: 'client info', change: { clientInfo: { name: 'a', version: '2' } } },
    { name: 'capabilities', change: { capabilities: { roots: {} } } },
    { name: 'the endpoint', change: { endpoint: ['http', 'https://two.example/mcp', ''] } },
  ])('differs by $name', ({ change }) => {
    expect(keyId({ ...parts, ...change })).not.toBe(keyId(parts));
  });

  test('an affinity named null is not the absence of one', () => {
    expect(keyId({ ...parts, affinity: 'null' })).not.toBe(keyId(parts));
  });
});
