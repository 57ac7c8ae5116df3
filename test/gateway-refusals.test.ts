// What clients of the example gateway are told of each failure, and what they are not.

import { McpError } from '@modelcontextprotocol/sdk/types.js';
import {
  AcquireTimeoutError,
  CircuitOpenError,
  HttpRequestError,
  IdentityRequiredError,
  LeaseReleasedError,
  OpenError,
  PoolClosedError,
  PoolSaturatedError,
  SessionLostError,
} from 'mcp-session-pool';
import { expect, test } from 'vitest';
import { Refusal, refusalOf } from '../examples/gateway/refusals.ts';

const SECRET = 'secret-words';
const cause = new Error(SECRET);
const where = { key: SECRET, server: SECRET, elapsedMs: 1, cause };
const counts = { leased: 0, idle: 0, opening: 0, probing: 0, closing: 0, waiting: 0 };
const open = { ...where, status: undefined };
const circuit = { key: SECRET, server: SECRET, scope: 'endpoint', cause: undefined } as const;

test.each([
  [new PoolClosedError(), 503, { code: 'SHUTTING_DOWN' }, 1_000],
  [new PoolSaturatedError('maxKeys', 1, SECRET), 503, { code: 'POOL_SATURATED' }, 1_000],
  [
    new AcquireTimeoutError({ ...where, phase: 'open', counts }),
    504,
    { code: 'ACQUIRE_TIMEOUT' },
    1_000,
  ],
  [
    new CircuitOpenError({ ...circuit, retryAfterMs: 2_500 }),
    503,
    { code: 'CIRCUIT_OPEN', retryAfterMs: 2_500 },
    2_500,
  ],
  [
    new OpenError({ ...open, kind: 'refused' }),
    502,
    { code: 'OPEN_FAILED', kind: 'refused' },
    undefined,
  ],
  [
    new OpenError({ ...open, kind: 'timeout' }),
    504,
    { code: 'OPEN_FAILED', kind: 'timeout' },
    undefined,
  ],
  [
    new SessionLostError(SECRET, 'unknown', { cause }),
    404,
    { code: 'SESSION_LOST', execution: 'unknown' },
    undefined,
  ],
  [new LeaseReleasedError(SECRET, 'retired'), 503, { code: 'CALL_ENDED' }, 1_000],
  [new IdentityRequiredError(SECRET), 500, undefined, undefined],
  [
    new HttpRequestError(500, SECRET, {
      execution: 'unknown',
      sessionLost: false,
      body: SECRET,
      cause,
    }),
    502,
    { code: 'UPSTREAM_HTTP', execution: 'unknown' },
    undefined,
  ],
  [cause, 500, undefined, undefined],
  ['thrown text', 500, undefined, undefined],
])('%s is told in words of our own', (error, status, data, retryAfterMs) => {
  const refusal = refusalOf(error);
  expect(refusal).toBeInstanceOf(Refusal);
  expect(refusal).toMatchObject({ status, retryAfterMs });
  expect(refusal.data).toEqual(data);
  expect(JSON.stringify(refusal) + refusal.message).not.toContain(SECRET);
  expect(refusal.cause).toBeUndefined();
});

test("the server's own error passes with its code, its words and its data", () => {
  const refusal = refusalOf(new McpError(-32_042, 'Go there', { url: 'https://x.example' }));
  expect(refusal).toMatchObject({ code: -32_042, data: { url: 'https://x.example' } });
  expect(refusal.message).toBe('Go there');
});

test('a refusal stays what it is', () => {
  const refusal = refusalOf(new PoolClosedError());
  expect(refusalOf(refusal)).toBe(refusal);
});
