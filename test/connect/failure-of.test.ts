import { describe, expect, it } from 'vitest';
import { sendFailureOf, statusOf } from '../../src/connect/failure-of.ts';

const refused = { code: 'ECONNREFUSED' };
const cyclic: { cause?: unknown } = {};
cyclic.cause = cyclic;

describe('the failed send of a message', () => {
  it.each([
    ['404 of SDK 1, with a session', { code: 404 }, true, true],
    ['404 of SDK 2, with a session', { code: 'X', status: 404 }, true, true],
    ['404 without a session', { code: 404 }, false, false],
    ['400', { code: 400 }, true, false],
    ['401', { code: 401 }, true, false],
    ['503', { code: 503 }, true, false],
    ['connection refused', refused, true, true],
    ['connection refused, as fetch says it', new TypeError('f', { cause: refused }), false, true],
    ['refused on all addresses', { cause: { errors: [refused, refused] } }, true, true],
    ['refused on one of two', { errors: [refused, { code: 'ETIMEDOUT' }] }, true, false],
    ['reset', new TypeError('f', { cause: { code: 'ECONNRESET' } }), true, false],
    ['an abort', new DOMException('a', 'AbortError'), true, false],
    ['a cycle of causes', cyclic, true, false],
    ['nothing', undefined, true, false],
    ['a string', 'ECONNREFUSED', true, false],
  ])('%s', (_, error, withSessionId, lost) => {
    const execution = lost ? 'not-executed' : 'unknown';
    expect(sendFailureOf(error, { withSessionId })).toEqual({ lost, execution });
  });

  it('has an HTTP status only where the number can be one', () => {
    expect(statusOf({ code: -32_000 })).toBeUndefined();
    expect(statusOf({ code: -1 })).toBeUndefined();
    expect(statusOf({ code: '404' })).toBeUndefined();
    expect(statusOf({ status: 410 })).toBe(410);
  });
});
