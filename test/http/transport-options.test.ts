import { describe, expect, test } from 'vitest';
import { StreamableHttpTransport } from '../../src/http/streamable-http-transport.ts';

const url = 'http://127.0.0.1:1/mcp';
const make = (options: unknown, at: unknown = url): StreamableHttpTransport =>
  new StreamableHttpTransport(at as string, options as never);

describe('an option', () => {
  test.each<[object, typeof TypeError, RegExp]>([
    [{ requestInit: {} }, TypeError, /^Unknown option `requestInit`; known: .*dispatcher.*headers/],
    [{ reconnectionOptions: {} }, TypeError, /^Unknown option `reconnectionOptions`/],
    [
      { maxMessageBytes: 0 },
      RangeError,
      /`maxMessageBytes` to be a number ≥ 1, got `0` \(number\)/,
    ],
    [{ connectTimeoutMs: Number.NaN }, RangeError, /`connectTimeoutMs`.*`NaN`/],
    [{ acceptTimeoutMs: '30' }, RangeError, /`acceptTimeoutMs`.*`30` \(string\)/],
    [{ headers: 'x' }, TypeError, /`headers`/],
    [{ notifications: 'no' }, TypeError, /`notifications` to be a boolean, got a string/],
    [{ authProvider: 5 }, TypeError, /`authProvider` to be an object, got a number/],
    [{ dispatcher: 'agent' }, TypeError, /`dispatcher` to have a method `dispatch`, or to be a/],
    [{ dispatcher: {} }, TypeError, /`dispatcher` to have a method `dispatch`/],
    [{ onStreamSlowed: true }, TypeError, /`onStreamSlowed` to be a function, got a boolean/],
    [{ sessionId: 5 }, TypeError, /`sessionId` to be a string.*, got a number/],
    [{ sessionId: 'a\r\nb: c' }, TypeError, /^Expected `sessionId` to be a string .*line/],
    [{ protocolVersion: '' }, TypeError, /`protocolVersion`/],
  ])('that can not be is refused at the door: %j', (options, kind, message) => {
    expect(() => make(options)).toThrow(kind);
    expect(() => make(options)).toThrow(message);
  });

  test('that is undefined counts as left out', () => {
    const names = ['headers', 'authProvider', 'dispatcher', 'notifications', 'sessionId', 'clock'];
    make(Object.fromEntries(names.map((name) => [name, undefined])));
  });
});

test.each(['mcp', 'ftp://x/', '', null])('the URL %j is refused', (at) => {
  expect(() => make({}, at)).toThrow(/`url` to be an absolute http: or https: URL/);
});
