import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import { describe, expect, it } from 'vitest';
import { LazyValidators, SchemaValidators } from '../../src/connect/schema-validators.ts';

const newAjv = (): AjvJsonSchemaValidator => new AjvJsonSchemaValidator();

const needs = (name: string, extra: object = {}) => ({
  type: 'object' as const,
  required: [name],
  ...extra,
});

describe('lazy validators', () => {
  it('compile on first use, once per schema text', () => {
    const validators = new LazyValidators(newAjv);
    const first = validators.getValidator(needs('a'));
    const second = validators.getValidator(needs('a'));
    expect(validators.size).toBe(0);
    expect(first({ a: 1 })).toEqual({ valid: true, data: { a: 1 }, errorMessage: undefined });
    expect(second({})).toMatchObject({ valid: false, errorMessage: expect.stringMatching(/'a'/) });
    expect(validators.size).toBe(1);
  });

  it('judge by the schema as it was, whatever its owner does to it', () => {
    const schema = needs('a');
    const check = new LazyValidators(newAjv).getValidator(schema);
    schema.required = [];
    expect(check({}).valid).toBe(false);
  });

  it.each([
    ['at the root', (name: string) => needs(name, { $id: 'https://example.test/same' })],
    [
      'below it',
      (name: string) => ({ allOf: [needs(name, { $id: 'https://example.test/same' })] }),
    ],
  ])('keep schemas apart that share an $id: %s', (_, schema) => {
    const validators = new LazyValidators(newAjv);
    const [a, b] = [validators.getValidator(schema('a')), validators.getValidator(schema('b'))];
    expect([a({ a: 1 }).valid, a({ b: 1 }).valid]).toEqual([true, false]);
    expect([b({ a: 1 }).valid, b({ b: 1 }).valid]).toEqual([false, true]);
    expect(a({ a: 1 }).valid).toBe(true);
  });

  it('keep the 256 that were used last', () => {
    const validators = new LazyValidators(newAjv);
    const checks = Array.from({ length: 600 }, (_, n) => validators.getValidator(needs(`n${n}`)));
    for (const [n, check] of checks.entries()) expect(check({ [`n${n}`]: 1 }).valid).toBe(true);
    expect(validators.size).toBe(256);
    expect(checks[0]!({}).valid).toBe(false);
    expect(validators.size).toBe(256);
  });

  it('say on each use that a schema can not be compiled', () => {
    const check = new LazyValidators(newAjv).getValidator({ type: 'nonsense' as never });
    expect(() => check({})).toThrow();
    expect(() => check({})).toThrow();
  });
});

describe('validators of keys', () => {
  it('are shared within a key, apart between keys, and gone with the last holder', () => {
    const all = new SchemaValidators(newAjv);
    const [a1, a2, b] = [all.hold('a'), all.hold('a'), all.hold('b')];
    expect(a1.provider).toBe(a2.provider);
    expect(a1.provider).not.toBe(b.provider);
    a1.release();
    a1.release();
    expect(all.size).toBe(2);
    a2.release();
    b.release();
    expect(all.size).toBe(0);
    expect(all.hold('a').provider).not.toBe(a1.provider);
  });
});
