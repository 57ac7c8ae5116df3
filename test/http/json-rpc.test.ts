// What parseMessages takes for a message, next to what the SDK's schema does.

import { JSONRPCMessageSchema } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, test } from 'vitest';
import { isNotification, isRequest, isResponse, parseMessages } from '../../src/http/json-rpc.ts';
import { Dice } from '../support/random.ts';

const V = '"jsonrpc":"2.0"';

/** Messages that both accept, and that come out as they are. */
const ACCEPTED: Readonly<Record<string, string>> = {
  'a request': `{${V},"id":1,"method":"ping"}`,
  'a request with params': `{${V},"id":"a","method":"x","params":{"a":[1],"b":null}}`,
  'a request with an empty id and method': `{${V},"id":"","method":""}`,
  'a request with sound _meta': `{${V},"id":0,"method":"x","params":{"_meta":{"progressToken":7}}}`,
  'a request with a token that is text': `{${V},"id":-3,"method":"x","params":{"_meta":{"progressToken":"t"}}}`,
  'a request with a related task': `{${V},"id":1,"method":"x","params":{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}}}}`,
  'a notification': `{${V},"method":"notifications/x"}`,
  'a notification with params': `{${V},"method":"notifications/x","params":{"_meta":{"own":1}}}`,
  'an empty result': `{${V},"id":9007199254740991,"result":{}}`,
  'a result': `{${V},"id":1,"result":{"content":[],"isError":false,"_meta":{}}}`,
  'an error': `{${V},"id":1,"error":{"code":-32601,"message":"no"}}`,
  'an error with data': `{${V},"id":"x","error":{"code":0,"message":"","data":null}}`,
  'an error without an id': `{${V},"error":{"code":-32700,"message":"no"}}`,
  'members in another order': `{"result":{},"id":1,${V}}`,
};

describe('parseMessages accepts, as the SDK does,', () => {
  test.each(Object.entries(ACCEPTED))('%s', (_name, text) => {
    const parsed: unknown = JSON.parse(text);
    expect(JSONRPCMessageSchema.parse(parsed)).toEqual(parsed);
    expect(parseMessages(text)).toStrictEqual([parsed]);
  });
});

/** Messages that the SDK refuses, and what they count as here. */
const TOLERATED: Readonly<Record<string, readonly [text: string, message: object]>> = {
  'a request with members that nobody knows': [
    `{${V},"id":1,"method":"x","trace":{"a":1}}`,
    { id: 1, method: 'x' },
  ],
  'a result with members that nobody knows': [
    `{${V},"id":1,"result":{"own":1},"_meta":{},"time":3}`,
    { id: 1, result: { own: 1 } },
  ],
  'a result next to an error that is null': [
    `{${V},"id":1,"result":{},"error":null}`,
    { id: 1, result: {} },
  ],
  'an error next to a result that is null': [
    `{${V},"id":1,"result":null,"error":{"code":1,"message":"m"}}`,
    { id: 1, error: { code: 1, message: 'm' } },
  ],
  'an error with the id null': [
    `{${V},"id":null,"error":{"code":1,"message":"m"}}`,
    { error: { code: 1, message: 'm' } },
  ],
  'a request with params that are null': [
    `{${V},"id":1,"method":"x","params":null}`,
    { id: 1, method: 'x' },
  ],
  'a call with the id null, which is a notification': [
    `{${V},"id":null,"method":"x","params":{}}`,
    { method: 'x', params: {} },
  ],
  'a result with params beside it': [
    `{${V},"id":1,"result":{},"params":[]}`,
    { id: 1, result: {} },
  ],
};

describe('parseMessages accepts, though the SDK does not,', () => {
  test.each(Object.entries(TOLERATED))('%s', (_name, [text, message]) => {
    expect(JSONRPCMessageSchema.safeParse(JSON.parse(text)).success).toBe(false);
    const [parsed, ...more] = parseMessages(text);
    expect(parsed).toStrictEqual({ jsonrpc: '2.0', ...message });
    expect(more).toEqual([]);
    // What comes out, the SDK's `Protocol` takes.
    expect(JSONRPCMessageSchema.safeParse(parsed).success).toBe(true);
  });
});

/** Messages that both refuse, and what is said of them. */
const REFUSED: readonly (readonly [text: string, what: string])[] = [
  ['null', 'null'],
  ['1', 'a number'],
  ['"text"', 'a string'],
  ['true', 'a boolean'],
  ['{}', 'an object without jsonrpc 2.0'],
  ['{"id":1,"result":{}}', 'an object without jsonrpc 2.0'],
  ['{"jsonrpc":"1.0","id":1,"result":{}}', 'an object without jsonrpc 2.0'],
  ['{"jsonrpc":2,"id":1,"result":{}}', 'an object without jsonrpc 2.0'],
  [`{${V}}`, 'one without a method, result or error'],
  [`{${V},"id":1}`, 'one without a method, result or error'],
  [`{${V},"id":1,"result":null}`, 'one without a method, result or error'],
  [`{${V},"id":1,"result":null,"error":null}`, 'one without a method, result or error'],
  [`{${V},"id":1,"method":"x","result":{}}`, 'one with two of method, result and error'],
  [
    `{${V},"id":1,"method":"x","error":{"code":1,"message":""}}`,
    'one with two of method, result and error',
  ],
  [
    `{${V},"id":1,"result":{},"error":{"code":1,"message":""}}`,
    'one with two of method, result and error',
  ],
  [`{${V},"id":1.5,"result":{}}`, 'one whose id is neither a string nor a safe integer'],
  [
    `{${V},"id":9007199254740992,"result":{}}`,
    'one whose id is neither a string nor a safe integer',
  ],
  [`{${V},"id":{},"method":"x"}`, 'one whose id is neither a string nor a safe integer'],
  [`{${V},"id":true,"method":"x"}`, 'one whose id is neither a string nor a safe integer'],
  [
    `{${V},"id":[],"error":{"code":1,"message":""}}`,
    'one whose id is neither a string nor a safe integer',
  ],
  [`{${V},"id":1,"method":7}`, 'one whose method is no string'],
  [`{${V},"method":{}}`, 'one whose method is no string'],
  [`{${V},"id":1,"method":"x","params":[1]}`, 'one whose params are no object'],
  [`{${V},"method":"x","params":"p"}`, 'one whose params are no object'],
  [`{${V},"method":"x","params":{"_meta":null}}`, 'one with a malformed _meta in its params'],
  [`{${V},"result":{}}`, 'a result without an id'],
  [`{${V},"id":null,"result":{}}`, 'a result without an id'],
  [`{${V},"id":1,"result":[]}`, 'one whose result is no object'],
  [`{${V},"id":1,"result":"done"}`, 'one whose result is no object'],
  [`{${V},"id":1,"result":0}`, 'one whose result is no object'],
  [`{${V},"id":1,"result":{"_meta":[]}}`, 'one with a malformed _meta in its result'],
  [
    `{${V},"id":1,"result":{"_meta":{"progressToken":1.5}}}`,
    'one with a malformed _meta in its result',
  ],
  [
    `{${V},"id":1,"result":{"_meta":{"progressToken":null}}}`,
    'one with a malformed _meta in its result',
  ],
  [
    `{${V},"id":1,"result":{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":1}}}}`,
    'one with a malformed _meta in its result',
  ],
  [
    `{${V},"id":1,"result":{"_meta":{"io.modelcontextprotocol/related-task":null}}}`,
    'one with a malformed _meta in its result',
  ],
  [`{${V},"id":1,"error":"no"}`, 'one whose error is no object'],
  [`{${V},"id":1,"error":[]}`, 'one whose error is no object'],
  [`{${V},"id":1,"error":{}}`, 'one whose error has no integer code or no message'],
  [
    `{${V},"id":1,"error":{"code":1.5,"message":"m"}}`,
    'one whose error has no integer code or no message',
  ],
  [
    `{${V},"id":1,"error":{"code":"1","message":"m"}}`,
    'one whose error has no integer code or no message',
  ],
  [`{${V},"id":1,"error":{"code":1}}`, 'one whose error has no integer code or no message'],
  [
    `{${V},"id":1,"error":{"code":1,"message":null}}`,
    'one whose error has no integer code or no message',
  ],
];

describe('parseMessages refuses, as the SDK does,', () => {
  test.each(REFUSED)('%s', (text, what) => {
    expect(JSONRPCMessageSchema.safeParse(JSON.parse(text)).success).toBe(false);
    const error = errorOf(text);
    expect(error.message).toBe(`Expected a JSON-RPC message, got ${what}`);
    expect(errorOf(`[{${V},"method":"x"},${text}]`).message).toBe(
      `Expected a JSON-RPC message at place 1 of a batch, got ${what}`,
    );
  });
});

test('an error may hold members that nobody knows', () => {
  const text = `{${V},"id":1,"error":{"code":1,"message":"m","more":2}}`;
  expect(JSONRPCMessageSchema.safeParse(JSON.parse(text)).success).toBe(true);
  expect(parseMessages(text)).toMatchObject([{ id: 1, error: { code: 1, message: 'm' } }]);
});

test('a batch is all of its messages, in order', () => {
  const texts = Object.values(ACCEPTED);
  expect(parseMessages(`[${texts.join(',')}]`)).toStrictEqual(
    texts.map((text) => JSON.parse(text)),
  );
  expect(parseMessages(`[${texts[0]}]`)).toHaveLength(1);
});

test('an empty batch, and a batch in a batch, are refused', () => {
  expect(errorOf('[]').message).toBe('Expected a JSON-RPC message, got an empty batch');
  expect(errorOf(`[[${ACCEPTED['a request']}]]`).message).toBe(
    'Expected a JSON-RPC message at place 0 of a batch, got an array',
  );
});

test.each(['', 'secret words', `{${V}`, `${ACCEPTED['a request']}x`, '\u{FEFF}{}'])(
  '%j is refused as no JSON, without a word of it in the message',
  (text) => {
    const error = errorOf(text);
    expect(error).toBeInstanceOf(SyntaxError);
    expect(error.message).toBe(`Expected JSON, got ${text.length} characters that are none`);
    expect(error.cause).toBeInstanceOf(SyntaxError);
  },
);

test('a member called __proto__ becomes nobody’s prototype', () => {
  const texts = [
    `{${V},"id":1,"result":{"__proto__":{"evil":1}},"__proto__":{"evil":1}}`,
    `{${V},"id":1,"method":"x","params":{"__proto__":{"evil":1}},"__proto__":{"evil":1}}`,
    `{${V},"id":1,"error":{"code":1,"message":"m","__proto__":{"evil":1}},"__proto__":{"evil":1}}`,
  ];
  for (const message of texts.flatMap((text) => parseMessages(text))) {
    expect(Object.getPrototypeOf(message)).toBe(Object.prototype);
    expect(Object.hasOwn(message, '__proto__')).toBe(false);
    expect('evil' in message).toBe(false);
    for (const part of Object.values(message)) expect(part.evil).toBeUndefined();
  }
  expect(({} as { evil?: unknown }).evil).toBeUndefined();
});

test('members that a message inherits through __proto__ do not count', () => {
  expect(errorOf(`{"__proto__":{${V},"id":1,"result":{}}}`).message).toContain('without jsonrpc');
});

test('a result of 100,000 levels neither overflows the stack nor is changed', () => {
  const depth = 100_000;
  const text = `{${V},"id":1,"result":{"a":${'['.repeat(depth)}${']'.repeat(depth)}}}`;
  expect(parseMessages(text)).toHaveLength(1);
});

describe('of each message one of isRequest, isNotification and isResponse is true', () => {
  test.each(Object.entries(ACCEPTED))('%s', (name, text) => {
    const [message] = parseMessages(text);
    if (message === undefined) throw new Error('no message');
    expect([isRequest(message), isNotification(message), isResponse(message)]).toEqual([
      name.startsWith('a request'),
      name.startsWith('a notification'),
      /result|error|order/.test(name),
    ]);
  });
});

/** What random members are made of: each may be right for one of them and wrong for the next. */
const VALUES: readonly unknown[] = [
  ...[undefined, undefined, undefined, null, 0, 1, -1, 1.5, 2 ** 53, '', 'x', '2.0', true],
  ...[[], {}, { a: 1 }, { _meta: {} }, { _meta: null }, { _meta: { progressToken: 'x' } }],
  ...[{ _meta: { progressToken: {} } }, { code: 1, message: 'm' }, { code: 1 }, { message: 'm' }],
];

test('of 20,000 random messages, each that the SDK takes is taken, and comes out such', () => {
  const seed = 20_260_701;
  const dice = new Dice(seed);
  let accepted = 0;
  for (let n = 0; n < 20_000; n += 1) {
    const members: Record<string, unknown> = { jsonrpc: dice.chance(0.95) ? '2.0' : undefined };
    for (const name of ['id', 'method', 'params', 'result', 'error']) {
      if (dice.chance(0.6)) members[name] = dice.of(VALUES.map((value) => ({ value }))).value;
    }
    if (dice.chance(0.1)) members['more'] = 1;
    const text = JSON.stringify(members);
    const checked = JSONRPCMessageSchema.safeParse(JSON.parse(text));
    let parsed: readonly unknown[] | undefined;
    try {
      parsed = parseMessages(text);
    } catch (error) {
      expect(error).toBeInstanceOf(Error);
    }
    const where = `seed=${seed} n=${n} ${text}`;
    if (checked.success) expect(parsed, where).toStrictEqual([checked.data]);
    if (parsed !== undefined) {
      accepted += 1;
      expect(JSONRPCMessageSchema.safeParse(parsed[0]).success, where).toBe(true);
    }
  }
  expect(accepted).toBeGreaterThan(300);
});

test('an id that is undefined makes no request', () => {
  const message = { jsonrpc: '2.0', method: 'x', id: undefined } as never;
  expect([isRequest(message), isNotification(message)]).toEqual([false, true]);
});

function errorOf(text: string): Error {
  try {
    parseMessages(text);
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error(`accepted: ${text}`);
}
