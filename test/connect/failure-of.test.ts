// What is observed of the errors of every library that can throw one at us.

import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { StreamableHTTPError } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ErrorCode, McpError } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, it } from 'vitest';
import { observe, statusOf } from '../../src/connect/failure-of.ts';
import { SessionLostError } from '../../src/errors.ts';
import { type HttpFailureCode, HttpRequestError } from '../../src/http/http-request-error.ts';

const refused = { code: 'ECONNREFUSED', syscall: 'connect' };
const cyclic: { cause?: unknown } = {};
cyclic.cause = cyclic;
const unreadable = Object.defineProperty(new Error('x'), 'code', {
  get() {
    throw new Error('not to be read');
  },
});
const fetchFailed = (cause: unknown): Error => new TypeError('fetch failed', { cause });
const timeoutOf = (data: object): McpError =>
  McpError.fromError(ErrorCode.RequestTimeout, 'Request timed out', data) as McpError;
const own = (
  code: number | HttpFailureCode,
  details: Partial<ConstructorParameters<typeof HttpRequestError>[2]> = {},
): HttpRequestError =>
  new HttpRequestError(code, 'x', { execution: 'unknown', sessionLost: true, ...details });
const unsent = { execution: 'not-executed' } as const;
const noSession = 'Bad Request: No valid session ID provided';

const call = { during: 'call', withSessionId: true } as const;
const written = { reach: 'written' };
const notWritten = { reach: 'not-written' };

describe('what is observed of a failed request', () => {
  it.each([
    // SDK 1
    ['its HTTP error', new StreamableHTTPError(404, 'x'), { kind: 'http', status: 404 }],
    ['its 5xx', new StreamableHTTPError(502, 'x'), { kind: 'http', ...written }],
    ['its 4xx', new StreamableHTTPError(409, 'x'), { kind: 'http', reach: 'refused' }],
    [
      'its 400, with the body in the message',
      new StreamableHTTPError(400, noSession),
      { kind: 'http', status: 400, speaksOfSession: true },
    ],
    ['its need of a sign-in', new UnauthorizedError(), { kind: 'http', status: 401 }],
    ['its error that is no HTTP status', new StreamableHTTPError(-1, 'x'), { kind: 'other' }],
    ['its timeout', timeoutOf({ timeout: 10 }), { kind: 'timeout' }],
    ['its total timeout', timeoutOf({ maxTotalTimeout: 10 }), { kind: 'timeout' }],
    ['-32001 of a server', new McpError(-32_001, 'Session not found'), { kind: 'answer' }],
    ['-32001 with data of a server', timeoutOf({ reason: 'x' }), { kind: 'answer' }],
    ['-32000 of a server', new McpError(-32_000, 'x'), { kind: 'answer' }],
    ['its closed connection', new McpError(-32_000, 'Connection closed'), { kind: 'closed' }],
    ['not connected', new Error('Not connected'), { kind: 'closed', ...notWritten }],
    ['a JSON-RPC error of a tool', new McpError(7, 'x'), { kind: 'answer' }],
    // SDK 2
    [
      'its 404',
      { code: 'CLIENT_HTTP_NOT_IMPLEMENTED', status: 404 },
      { kind: 'http', status: 404 },
    ],
    [
      'its 400, with the body in data',
      { code: 'CLIENT_HTTP_NOT_IMPLEMENTED', status: 400, data: { text: noSession } },
      { kind: 'http', status: 400, speaksOfSession: true },
    ],
    ['its timeout', { code: 'REQUEST_TIMEOUT' }, { kind: 'timeout' }],
    ['its closed connection', { code: 'CONNECTION_CLOSED' }, { kind: 'closed', ...written }],
    ['not connected', { code: 'NOT_CONNECTED' }, { kind: 'closed', ...notWritten }],
    ['its JSON-RPC error', { name: 'ProtocolError', code: 12 }, { kind: 'answer' }],
    ['unauthorized', { name: 'UnauthorizedError' }, { kind: 'http', status: 401 }],
    // Node, undici, fetch
    ['connection refused', refused, { kind: 'refused', ...notWritten }],
    ['as fetch says it', fetchFailed(refused), { kind: 'refused', ...notWritten }],
    ['on all addresses', fetchFailed({ errors: [refused, refused] }), { kind: 'refused' }],
    [
      'refused on one of two',
      { errors: [refused, { code: 'ETIMEDOUT', syscall: 'connect' }] },
      { kind: 'unreached', ...notWritten },
    ],
    ['no such host', fetchFailed({ code: 'ENOTFOUND' }), { kind: 'unreached', ...notWritten }],
    ['connect timeout', { code: 'UND_ERR_CONNECT_TIMEOUT' }, { kind: 'unreached', ...notWritten }],
    ['reset in connect', { code: 'ECONNRESET', syscall: 'connect' }, { kind: 'unreached' }],
    ['certificate', { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }, { kind: 'unreached', ...notWritten }],
    ['reset', fetchFailed({ code: 'ECONNRESET' }), { kind: 'cut', ...written }],
    ['socket closed', fetchFailed({ code: 'UND_ERR_SOCKET' }), { kind: 'cut', ...written }],
    ['broken pipe', { code: 'EPIPE' }, { kind: 'cut', ...written }],
    ['an abort', new DOMException('a', 'AbortError'), { kind: 'other', ...written }],
    // Ours
    ['404', own(404, unsent), { kind: 'http', status: 404, reach: 'refused' }],
    ['503', own(503, { retryAfterMs: 5 }), { kind: 'http', retryAfterMs: 5, ...written }],
    [
      '429 with a date for a number',
      own(429, { retryAfterMs: Number.NaN }),
      { kind: 'http', retryAfterMs: undefined },
    ],
    ['400', own(400, { ...unsent, body: noSession }), { status: 400, speaksOfSession: true }],
    ['400 about rain', own(400, { ...unsent, body: 'rain' }), { speaksOfSession: false }],
    ['refused', own('CONNECT_FAILED', { ...unsent, cause: refused }), { kind: 'refused' }],
    ['unreached', own('CONNECT_FAILED', unsent), { kind: 'unreached', ...notWritten }],
    ['lost', own('CONNECTION_LOST'), { kind: 'cut', ...written }],
    ['cut', own('RESPONSE_CUT'), { kind: 'cut', ...written }],
    ['not resumed', own('RESUME_FAILED', { cause: own(500) }), { kind: 'cut', ...written }],
    [
      'not resumed, for the session is gone',
      own('RESUME_FAILED', { cause: own(404, unsent) }),
      { kind: 'http', status: 404, ...written },
    ],
    ['too large', own('MESSAGE_TOO_LARGE'), { kind: 'oversized', ...written }],
    ['no response', own('NO_RESPONSE', { sessionLost: false }), { kind: 'other', ...written }],
    ['saturated', own('SATURATED', { ...unsent, sessionLost: false }), notWritten],
    ['lost, unsent', new SessionLostError('x', 'not-executed'), { kind: 'closed', ...notWritten }],
    ['lost', new SessionLostError('x', 'unknown'), { kind: 'closed', ...written }],
    // Nobody's
    ['a cycle of causes', cyclic, { kind: 'other', ...written }],
    ['nothing', undefined, { kind: 'other', ...written }],
    ['null', null, { kind: 'other', ...written }],
    ['a string', 'ECONNREFUSED', { kind: 'other', ...written }],
    ['an empty list of errors', { errors: [] }, { kind: 'other' }],
  ])('%s: %o', (_, error, expected) => {
    const seen = observe(error, call);
    expect(seen).toMatchObject({ ...call, aborted: false, ...expected });
    // Nothing that a foreign error has makes its request certain not to have run, but for these.
    if (seen.reach === 'not-written') expect(['cut', 'http', 'answer']).not.toContain(seen.kind);
  });

  it('is what the circumstances say where they say it', () => {
    expect(observe(timeoutOf({ timeout: 1 }), { ...call, isAnswer: true }).kind).toBe('answer');
    expect(observe(new Error('x'), { ...call, aborted: true }).aborted).toBe(true);
    const headersFunction = observe(fetchFailed(refused), { ...call, isToldAll: true });
    expect(headersFunction).toMatchObject({ kind: 'other', reach: 'not-written' });
    expect(observe(own('RESPONSE_CUT'), { ...call, isToldAll: true }).kind).toBe('cut');
  });

  it('is nothing in particular when the error throws as it is read', () => {
    expect(observe(unreadable, call)).toMatchObject({ kind: 'other', ...written });
  });

  it('has an HTTP status only where the number can be one', () => {
    expect(statusOf({ code: -32_000 })).toBeUndefined();
    expect(statusOf({ code: -1 })).toBeUndefined();
    expect(statusOf({ code: '404' })).toBeUndefined();
    expect(statusOf({ status: 410 })).toBe(410);
  });
});
