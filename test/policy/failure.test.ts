// What kind of failure an open ended with: a table from the structure of errors to kinds.

import { describe, expect, test } from 'vitest';
import { failureOf } from '../../src/policy/failure.ts';

const withCode = (code: unknown, more: object = {}): Error =>
  Object.assign(new Error('the words of a peer'), { code, ...more });
const wrapping = (cause: unknown): Error => new TypeError('fetch failed', { cause });

class UnauthorizedError extends Error {}
const cyclic = new Error('cyclic');
cyclic.cause = cyclic;
const unreadable = Object.defineProperty(new Error('x'), 'code', {
  get() {
    throw new Error('not to be read');
  },
});

describe('failureOf', () => {
  test.each([
    { name: 'connection refused', error: withCode('ECONNREFUSED'), kind: 'refused' },
    { name: 'no such host', error: withCode('ENOTFOUND'), kind: 'refused' },
    {
      name: 'refused, inside fetch failed',
      error: wrapping(withCode('ECONNREFUSED')),
      kind: 'refused',
    },
    {
      name: 'refused on all addresses',
      error: wrapping(new AggregateError([withCode('ECONNREFUSED')])),
      kind: 'refused',
    },
    {
      name: 'connect timeout of undici',
      error: withCode('UND_ERR_CONNECT_TIMEOUT'),
      kind: 'timeout',
    },
    { name: 'reset', error: wrapping(withCode('ECONNRESET')), kind: 'network' },
    {
      name: 'a broken certificate',
      error: wrapping(withCode('DEPTH_ZERO_SELF_SIGNED_CERT')),
      kind: 'network',
    },
    {
      name: 'a certificate that is asked for',
      error: wrapping(withCode('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED')),
      kind: 'network',
    },
    { name: 'an answer that is cut', error: withCode('RESPONSE_CUT'), kind: 'network' },
    { name: 'a lost connection', error: withCode('CONNECTION_LOST'), kind: 'network' },
    {
      name: 'a connection that was refused, as our transport tells it',
      error: withCode('CONNECT_FAILED', { cause: withCode('ECONNREFUSED') }),
      kind: 'refused',
    },
    {
      name: 'a connection that failed for whatever reason',
      error: withCode('CONNECT_FAILED', { cause: withCode('secret words') }),
      kind: 'network',
    },
    { name: 'an answer without the response', error: withCode('NO_RESPONSE'), kind: 'protocol' },
    { name: 'an answer in HTML', error: withCode('UNEXPECTED_CONTENT'), kind: 'protocol' },
    { name: 'a message over the bound', error: withCode('MESSAGE_TOO_LARGE'), kind: 'protocol' },
    { name: 'a message that was not taken', error: withCode('TIMEOUT'), kind: 'timeout' },
    {
      name: 'a process that could not be started',
      error: withCode('SPAWN_FAILED', { cause: withCode('ENOENT', { syscall: 'spawn node' }) }),
      kind: 'process',
    },
    { name: 'such a process, as Node tells it', error: withCode('SPAWN_FAILED'), kind: 'process' },
    {
      name: 'a process that ended, whatever it said',
      error: withCode('PROCESS_ENDED', { cause: new Error('the words of a peer') }),
      kind: 'process',
    },
    { name: 'a process that closed its pipes', error: withCode('PIPE_CLOSED'), kind: 'process' },
    { name: 'a process that floods', error: withCode('FLOODED'), kind: 'protocol' },
    { name: 'socket error of undici', error: withCode('UND_ERR_SOCKET'), kind: 'network' },
    { name: 'HTTP 401 in code', error: withCode(401), kind: 'unauthorized', status: 401 },
    {
      name: 'HTTP 403 in status',
      error: withCode('X', { status: 403 }),
      kind: 'unauthorized',
      status: 403,
    },
    { name: 'HTTP 500', error: withCode(500), kind: 'http', status: 500 },
    { name: 'HTTP 503 inside', error: wrapping(withCode(503)), kind: 'http', status: 503 },
    { name: 'the SDK says unauthorized', error: new UnauthorizedError('x'), kind: 'unauthorized' },
    { name: 'a JSON-RPC error', error: withCode(-32_600), kind: 'protocol' },
    { name: 'no JSON', error: new SyntaxError('Unexpected token'), kind: 'protocol' },
    { name: 'a plain error', error: new Error('x'), kind: 'other' },
    { name: 'a string', error: 'ECONNREFUSED', kind: 'other' },
    { name: 'undefined', error: undefined, kind: 'other' },
    { name: 'null', error: null, kind: 'other' },
    { name: 'an object without a prototype', error: Object.create(null) as unknown, kind: 'other' },
    { name: 'a cycle of causes', error: cyclic, kind: 'other' },
    { name: 'an object that throws when it is read', error: unreadable, kind: 'other' },
    { name: 'a code that is no code of ours', error: withCode('secret words'), kind: 'other' },
    { name: 'a status that is none', error: withCode(99), kind: 'protocol' },
  ])('$name: $kind', ({ error, kind, status }) => {
    const failure = failureOf(error, false);
    expect(failure.kind).toBe(kind);
    expect(failure.status).toBe(status);
  });

  test('our own deadline is a timeout, whatever the error says', () => {
    expect(failureOf(withCode('ECONNREFUSED'), true)).toMatchObject({ kind: 'timeout' });
  });

  test('no words of the peer get into it', () => {
    class MadeUp extends Error {}
    Object.defineProperty(MadeUp, 'name', { value: 'Bearer secret token' });
    for (const error of [new MadeUp('secret'), withCode('secret token'), wrapping('secret')]) {
      expect(JSON.stringify(failureOf(error, false))).not.toContain('secret');
    }
  });
});
