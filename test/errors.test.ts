// The errors: one code each, one level below SessionPoolError, told apart across copies of the library.

import { describe, expect, test } from 'vitest';
import {
  AcquireTimeoutError,
  CircuitOpenError,
  IdentityRequiredError,
  LeaseReleasedError,
  OpenError,
  PoolClosedError,
  PoolSaturatedError,
  SessionLostError,
  SessionPoolError,
} from '../src/errors.ts';
import { InvariantError, invariant } from '../src/invariant.ts';

const counts = { leased: 4, idle: 0, opening: 1, probing: 0, closing: 0, waiting: 7 };
const BRAND = Symbol.for('mcp-session-pool.error');
const cause = new Error('the cause');
const of = { key: 'k', server: 'https://one.example', elapsedMs: 2_000.4, cause };

const all = [
  { error: new PoolClosedError(), code: 'POOL_CLOSED', name: 'PoolClosedError' },
  {
    error: new PoolSaturatedError('maxKeys', 3, 'in this pool'),
    code: 'POOL_SATURATED',
    name: 'PoolSaturatedError',
  },
  {
    error: new AcquireTimeoutError({ ...of, phase: 'open', counts }),
    code: 'ACQUIRE_TIMEOUT',
    name: 'AcquireTimeoutError',
  },
  {
    error: new CircuitOpenError({
      ...of,
      scope: 'endpoint+identity',
      retryAfterMs: 59_001,
      cause: undefined,
    }),
    code: 'CIRCUIT_OPEN',
    name: 'CircuitOpenError',
  },
  {
    error: new OpenError({ ...of, kind: 'http', status: 503 }),
    code: 'OPEN_FAILED',
    name: 'OpenError',
  },
  {
    error: new SessionLostError('Gone', 'unknown', { cause }),
    code: 'SESSION_LOST',
    name: 'SessionLostError',
  },
  {
    error: new LeaseReleasedError('k', 'released'),
    code: 'LEASE_RELEASED',
    name: 'LeaseReleasedError',
  },
  {
    error: new IdentityRequiredError('it hides its tokens'),
    code: 'IDENTITY_REQUIRED',
    name: 'IdentityRequiredError',
  },
];

describe('errors of the pool', () => {
  test.each(all)(
    '$name has the code $code, its own name and the brand',
    ({ error, code, name }) => {
      expect(error.code).toBe(code);
      expect(error.name).toBe(name);
      expect(error).toBeInstanceOf(SessionPoolError);
      expect(error).toBeInstanceOf(Error);
      expect(Object.getPrototypeOf(error.constructor)).toBe(SessionPoolError);
      expect(SessionPoolError.is(error)).toBe(true);
      expect(error.message).toMatch(/^[A-Z].*[^.]$/);
      expect(error.stack).toContain(name);
    },
  );

  test.each(all)('$name has a name and a brand that no copy of its members sees', ({ error }) => {
    expect(Object.keys(error)).not.toContain('name');
    expect(Object.prototype.propertyIsEnumerable.call(error, BRAND)).toBe(false);
  });

  test('know each other across copies of the library', () => {
    const foreign = Object.assign(new Error('x'), { [BRAND]: true });
    expect(SessionPoolError.is(foreign)).toBe(true);
    for (const value of [
      new Error('x'),
      { code: 'POOL_CLOSED' },
      null,
      undefined,
      'POOL_CLOSED',
      () => 1,
    ]) {
      expect(SessionPoolError.is(value)).toBe(false);
    }
  });

  test('tell the state of the world in their messages', () => {
    expect(all.map(({ error }) => error.message)).toEqual([
      'The session pool is closed',
      'Saturated: maxKeys (3) reached in this pool',
      'No session of https://one.example (key k) after 2000 ms in phase open ' +
        '(4 leased, 0 idle, 1 opening, 0 probing, 0 closing, 7 waiting)',
      'The circuit of https://one.example (endpoint+identity, key k) is open; retry in 59001 ms',
      'Opening a session of https://one.example (key k) failed: http, HTTP 503, after 2000 ms',
      'Gone',
      'The lease (key k) has ended: released',
      'The target needs an `identity`: it hides its tokens',
    ]);
  });

  test('carry the original in `cause`, and no `cause` where there is none', () => {
    expect(new OpenError({ ...of, kind: 'other', status: undefined }).cause).toBe(cause);
    const timeout = { ...of, phase: 'wait' as const, counts, cause: undefined };
    expect('cause' in new AcquireTimeoutError(timeout)).toBe(false);
    const failed = new OpenError({ ...of, kind: 'other', status: undefined, cause: undefined });
    expect('cause' in failed).toBe(false);
    const open = { ...of, scope: 'endpoint' as const, retryAfterMs: 1 };
    expect('cause' in new CircuitOpenError({ ...open, cause: undefined })).toBe(false);
    expect(new CircuitOpenError({ ...open, cause: failed }).cause).toBe(failed);
  });
});

test('an invariant that does not hold is a bug, and says so', () => {
  expect(() => invariant(false, 'I3: x')).toThrow(InvariantError);
  expect(() => invariant(false, 'I3: x')).toThrow('bug: I3: x');
  expect(() => invariant(true, 'x')).not.toThrow();
});
