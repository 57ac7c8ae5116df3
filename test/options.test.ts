// Options are checked at the door: unknown names, values of the wrong type or out of bounds throw and
// say which option, what was expected and what was got.

import { describe, expect, test } from 'vitest';
import { BREAKER_RULES, NUMBER_RULES, resolveOptions } from '../src/options.ts';
import { SessionPool } from '../src/session-pool.ts';

const MAX_TIMER_MS = 2 ** 31 - 1;

const build = (options: object): SessionPool => new SessionPool(options);

describe('the options', () => {
  test('have these defaults', () => {
    expect(resolveOptions({})).toEqual({
      clientInfo: { name: 'mcp-session-pool', version: expect.stringMatching(/^\d+\.\d+\.\d+/) },
      capabilities: {},
      clientOptions: {},
      maxSessionsPerKey: 10,
      maxSessions: 1_000,
      maxKeys: 10_000,
      maxWaitersPerKey: 1_000,
      maxOpeningPerKey: 4,
      leasesPerSession: 1,
      acquireTimeoutMs: 30_000,
      connectTimeoutMs: 10_000,
      closeTimeoutMs: 5_000,
      maxLeaseMs: Number.POSITIVE_INFINITY,
      leakWarningMs: Number.POSITIVE_INFINITY,
      idleTimeoutMs: 300_000,
      affinityIdleTimeoutMs: 1_800_000,
      maxLifetimeMs: 1_800_000,
      probeAfterIdleMs: 60_000,
      keepAliveMs: Number.POSITIVE_INFINITY,
      probeTimeoutMs: 5_000,
      breaker: { failureThreshold: 5, resetAfterMs: 60_000 },
      requireIdentity: false,
      maxMessageBytes: 16 * 1024 * 1024,
      logger: undefined,
      onEvent: undefined,
      dispatcher: undefined,
      connector: undefined,
    });
  });

  test('may be given as undefined, which is the default', () => {
    expect(resolveOptions({ maxSessions: undefined } as never).maxSessions).toBe(1_000);
  });

  test.each(['maxSesions', 'acquireTimeout', 'toString', 'constructor', 'hasOwnProperty', ''])(
    'do not include `%s`, which throws and names those that there are',
    (name) => {
      expect(() => build({ [name]: 5 })).toThrow(TypeError);
      expect(() => build({ [name]: 5 })).toThrow(
        `Unknown option \`${name}\`; known options: acquireTimeoutMs`,
      );
    },
  );

  test('do not include an own `__proto__`', () => {
    expect(() => build(JSON.parse('{"__proto__":{"maxSessions":1}}') as object)).toThrow(TypeError);
  });

  test.each([null, 5, 'x', undefined])('are an object, not %s', (options) => {
    if (options === undefined) expect(() => new SessionPool(undefined)).not.toThrow();
    else expect(() => build(options as never)).toThrow(/Expected the options to be an object/);
  });
});

const names = Object.keys(NUMBER_RULES) as (keyof typeof NUMBER_RULES)[];

describe.each(names)('the option %s', (name) => {
  const rule = NUMBER_RULES[name];

  test.each(['5', null, {}, Number.NaN, true, 5n])('takes no %s', (value) => {
    expect(() => build({ [name]: value })).toThrow(TypeError);
    expect(() => build({ [name]: value })).toThrow(
      new RegExp(`^Expected \`${name}\` to be an? .* got `),
    );
  });

  test('takes its minimum and nothing below', () => {
    expect(() => build({ [name]: rule.min })).not.toThrow();
    expect(() => build({ [name]: rule.min - 1 })).toThrow(RangeError);
    expect(() => build({ [name]: Number.NEGATIVE_INFINITY })).toThrow(RangeError);
  });

  test('takes its maximum and nothing above', () => {
    expect(() => build({ [name]: rule.max })).not.toThrow();
    if (rule.max !== Number.POSITIVE_INFINITY) {
      expect(() => build({ [name]: rule.max + 2 })).toThrow(RangeError);
      expect(() => build({ [name]: Number.POSITIVE_INFINITY })).toThrow(RangeError);
    }
    if (name.endsWith('TimeoutMs') && rule.max === MAX_TIMER_MS) {
      expect(() => build({ [name]: 2 ** 31 })).toThrow(`≤ ${MAX_TIMER_MS}`);
    }
  });

  test('takes fractions only where they mean something', () => {
    const withFraction = (): SessionPool => build({ [name]: rule.min + 1.5 });
    if (rule.isWhole) expect(withFraction).toThrow(/an integer/);
    else expect(withFraction).not.toThrow();
  });
});

describe('the option breaker', () => {
  test('takes false, which is never, and members, each with a default of its own', () => {
    expect(resolveOptions({ breaker: false }).breaker).toBe(false);
    expect(resolveOptions({ breaker: {} }).breaker).toEqual({
      failureThreshold: 5,
      resetAfterMs: 60_000,
    });
    expect(resolveOptions({ breaker: { failureThreshold: 1 } }).breaker).toEqual({
      failureThreshold: 1,
      resetAfterMs: 60_000,
    });
    expect(resolveOptions({ breaker: { resetAfterMs: 0.5 + 0.5 } }).breaker).toEqual({
      failureThreshold: 5,
      resetAfterMs: 1,
    });
  });

  test.each([true, 5, 'x', null])('takes no %s', (breaker) => {
    expect(() => build({ breaker })).toThrow(TypeError);
    expect(() => build({ breaker })).toThrow('Expected `breaker` to be');
  });

  test('takes no member that it does not know', () => {
    const breaker = { failureTreshold: 3 };
    expect(() => build({ breaker })).toThrow(TypeError);
    expect(() => build({ breaker })).toThrow('Unknown breaker member `failureTreshold`');
  });

  test.each([
    ['failureThreshold', 0, RangeError],
    ['failureThreshold', 1.5, RangeError],
    ['failureThreshold', Number.POSITIVE_INFINITY, RangeError],
    ['failureThreshold', '5', TypeError],
    ['resetAfterMs', 0, RangeError],
    ['resetAfterMs', 2 ** 31, RangeError],
    ['resetAfterMs', Number.NaN, TypeError],
    ['resetAfterMs', null, TypeError],
  ] as const)('takes no %s of %s', (name, value, kind) => {
    const { min } = BREAKER_RULES[name];
    expect(() => build({ breaker: { [name]: value } })).toThrow(kind);
    expect(() => build({ breaker: { [name]: value } })).toThrow(
      new RegExp(`^Expected \`breaker\\.${name}\` to be an? \\w+ ≥ ${min}.* got `),
    );
  });
});

describe.each([
  { name: 'clientInfo', good: { name: 'a', version: '1' }, bad: ['x', 5, null, () => 1] },
  { name: 'capabilities', good: {}, bad: ['x', 5, null] },
  { name: 'clientOptions', good: {}, bad: [true, null] },
  { name: 'requireIdentity', good: true, bad: ['yes', 1, null] },
  {
    name: 'logger',
    good: { debug() {}, info() {}, warn() {}, error() {} },
    bad: ['silent', null, 5],
  },
  { name: 'onEvent', good: () => undefined, bad: [{}, null, 'x'] },
  { name: 'dispatcher', good: () => ({}), bad: ['x', null, 5] },
  { name: 'connector', good: () => undefined, bad: [{}, null, 'x'] },
])('the option $name', ({ name, good, bad }) => {
  test('takes what it is for, and nothing else', () => {
    expect(() => build({ [name]: good })).not.toThrow();
    for (const value of bad) {
      expect(() => build({ [name]: value })).toThrow(TypeError);
      expect(() => build({ [name]: value })).toThrow(`Expected \`${name}\` to be`);
    }
  });
});
