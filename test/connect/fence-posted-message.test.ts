// What the fence reads off a POST body, by the shortcut and by the parse.

import { expect, test } from 'vitest';
import { readPostedMessage } from '../../src/connect/posted-message.ts';

const NOTHING = { requestId: undefined, cancels: undefined };
const call = (requestId: string | number) => ({ requestId, cancels: undefined });

test.each([
  ['the SDK’s layout', '{"method":"tools/call","params":{"id":9},"jsonrpc":"2.0","id":3}', call(3)],
  ['an id of 0', '{"method":"initialize","params":{},"jsonrpc":"2.0","id":0}', call(0)],
  ['a negative id', '{"method":"a","jsonrpc":"2.0","id":-4}', call(-4)],
  ['a text id', '{"method":"a","jsonrpc":"2.0","id":"3"}', call('3')],
  ['the id first', '{"jsonrpc":"2.0","id":8,"method":"a","params":{}}', call(8)],
  ['blanks', ' { "jsonrpc": "2.0", "method": "a", "id": 8 } ', call(8)],
  ['an id within params only', '{"method":"a","params":{"x":1,"id":3}}', NOTHING],
  ['an id within a text', '{"method":"a","params":",\\"id\\":3}"}', NOTHING],
  ['a member that ends in id', '{"method":"a","x\\",\\"id":3}', NOTHING],
  ['a fractional id', '{"method":"a","id":1.5}', call(1.5)],
  [
    'an id of many digits',
    '{"method":"a","jsonrpc":"2.0","id":9007199254740991}',
    call(9007199254740991),
  ],
  ['an id of null', '{"method":"a","id":null}', NOTHING],
  ['a notification', '{"method":"notifications/initialized","jsonrpc":"2.0"}', NOTHING],
  ['an answer', '{"result":{},"jsonrpc":"2.0","id":3}', NOTHING],
  ['an error', '{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":""}}', NOTHING],
  ['a batch', '[{"method":"a","id":3}]', NOTHING],
  ['no JSON', 'grant_type=refresh_token', NOTHING],
  ['nothing', '', NOTHING],
])('%s', (_name, body, expected) => {
  expect(readPostedMessage(body)).toEqual(expected);
});

test.each([7, 'seven'])('a cancel of %j', (requestId) => {
  const method = 'notifications/cancelled';
  const sdk = { method, params: { requestId, reason: 'x' }, jsonrpc: '2.0' };
  expect(readPostedMessage(JSON.stringify(sdk))).toEqual({
    requestId: undefined,
    cancels: requestId,
  });
  expect(readPostedMessage(JSON.stringify({ method, params: {} }))).toEqual(NOTHING);
  expect(readPostedMessage(JSON.stringify({ method }))).toEqual(NOTHING);
});

test('bodies that are no text are of no interest', () => {
  expect(readPostedMessage(undefined)).toEqual(NOTHING);
  expect(readPostedMessage(new Uint8Array(3))).toEqual(NOTHING);
  expect(readPostedMessage(new URLSearchParams('id=3'))).toEqual(NOTHING);
});

test('a long call is read without parsing it', () => {
  const body = `{"method":"a","params":${'['.repeat(1_000_000)},"jsonrpc":"2.0","id":3}`;
  expect(readPostedMessage(body)).toEqual(call(3));
});
