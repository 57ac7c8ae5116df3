// What the requests of a transport carry: the protocol's own headers, which nobody can set, and the
// caller's, whatever the function that gives them does.

import { ManualClock } from 'mcp-session-pool/testing';
import { describe, expect, test, vi } from 'vitest';
import type { HeaderRecord } from '../../src/target.ts';
import {
  answerInitialize,
  answerJson,
  beginEvents,
  pause,
  type RawExchange,
  type RawServer,
  until,
} from '../support/raw-server.ts';
import {
  notification,
  rejectionOf,
  request,
  stateWithin,
  useTransports,
} from '../support/transport-fixture.ts';

const { serve, make, start, connect } = useTransports();

const answered = { 'tools/call': (each: RawExchange) => answerJson(each, { content: [] }) };

/** What anybody may try to smuggle, in any case. */
const SMUGGLED: HeaderRecord = {
  'MCP-Session-Id': 'stolen',
  'Mcp-Session-ID': 'stolen too',
  'mcp-session-id': 'stolen as well',
  'MCP-Protocol-Version': '1999-01-01',
  'mcp-protocol-version': '1999-01-02',
  'Last-Event-ID': 'e99',
  'Content-Type': 'text/plain',
  'content-TYPE': 'text/html',
  ACCEPT: 'text/html',
  Host: 'evil.example',
  'Content-Length': '1',
  'Transfer-Encoding': 'chunked',
  Connection: 'close',
  Expect: '100-continue',
  'X-Fine': 'yes',
};

describe('the headers of the protocol', () => {
  test('can be smuggled in by nobody, on no kind of request', async () => {
    const server = await serve({ ...answered, GET: (each) => void beginEvents(each) });
    const { client, transport } = await connect(server.url, { headers: () => SMUGGLED });
    await client.callTool({ name: 'x' });
    await until(() => server.count('GET') === 1);
    await transport.terminateSession();
    expect(server.exchanges).toHaveLength(5);
    for (const { method, headers, message } of server.exchanges) {
      const isFirst = message.method === 'initialize';
      expect(headers['mcp-session-id']).toBe(isFirst ? undefined : 'session-1');
      expect(headers['mcp-protocol-version']).toBe(isFirst ? undefined : transport.protocolVersion);
      expect(headers['last-event-id']).toBeUndefined();
      expect(headers['content-type']).toBe(method === 'POST' ? 'application/json' : undefined);
      expect(headers.accept).toBe(
        { POST: 'application/json, text/event-stream', GET: 'text/event-stream' }[method],
      );
      expect(headers.host).toBe(server.url.host);
      expect(headers['transfer-encoding']).toBeUndefined();
      expect(headers.connection).not.toBe('close');
      expect(headers['x-fine']).toBe('yes');
    }
  });

  test('can be smuggled in by no message of its own headers either', async () => {
    const server = await serve(answered);
    const { transport } = await start(server.url, { headers: { 'x-session': 's' } });
    await transport.send(request(1), { headers: () => SMUGGLED });
    expect(server.exchanges[0]?.headers).toMatchObject({
      'mcp-session-id': 'session-1',
      'mcp-protocol-version': '2025-06-18',
      'content-type': 'application/json',
      'x-fine': 'yes',
    });
    expect(server.exchanges[0]?.headers['last-event-id']).toBeUndefined();
    expect(server.exchanges[0]?.headers['x-session']).toBeUndefined();
  });

  test.each(Object.keys(SMUGGLED).filter((name) => name !== 'X-Fine'))(
    'are refused in a record at the door: %s',
    (name) => {
      expect(() => make('http://127.0.0.1:1/mcp', { headers: { [name]: 'x' } })).toThrow(
        `Header \`${name}\` belongs to the transport`,
      );
    },
  );
});

describe('the session id', () => {
  test('comes with the answer to `initialize` and is taken from no later one', async () => {
    const other = { 'mcp-session-id': 'session-2' };
    const server = await serve({
      'tools/call': (each) => answerJson(each, { content: [] }, other),
      'notifications/initialized': ({ response }) => response.writeHead(202, other).end(),
      'notifications/x': ({ response }) => response.writeHead(500, other).end(),
      GET: ({ response }) => {
        response.writeHead(200, { ...other, 'content-type': 'text/event-stream' }).flushHeaders();
      },
    });
    const { client, transport } = await connect(server.url);
    await client.callTool({ name: 'x' });
    await rejectionOf(transport.send(notification()));
    await until(() => server.count('GET') === 1);
    await client.callTool({ name: 'x' });
    expect(transport.sessionId).toBe('session-1');
    const ids = server.exchanges.slice(1).map(({ headers }) => headers['mcp-session-id']);
    expect(new Set(ids)).toEqual(new Set(['session-1']));
  });

  test.each([
    ['none', {}],
    ['an empty one', { 'mcp-session-id': '' }],
  ])('is none when the server gives %s, and nothing is deleted then', async (_, given) => {
    const server = await serve({
      ...answered,
      initialize: (each) => {
        const { response } = each;
        const writeHead = response.writeHead.bind(response);
        response.writeHead = ((status: number) =>
          writeHead(status, { 'content-type': 'application/json', ...given })) as never;
        answerInitialize(each);
      },
    });
    const { client, transport } = await connect(server.url);
    await client.callTool({ name: 'x' });
    expect(transport.sessionId).toBeUndefined();
    await transport.terminateSession();
    expect(server.count('DELETE')).toBe(0);
    expect(server.exchanges.every(({ headers }) => !('mcp-session-id' in headers))).toBe(true);
  });

  test('is forgotten once the server has ended the session', async () => {
    const server = await serve(answered);
    const { transport } = await connect(server.url);
    await transport.terminateSession();
    expect(transport.sessionId).toBeUndefined();
    await transport.terminateSession();
    expect(server.count('DELETE')).toBe(1);
  });
});

describe('a function that gives headers', () => {
  const posts = (server: RawServer): number => server.count('POST');

  test('is asked anew for every request', async () => {
    let asked = 0;
    const server = await serve(answered);
    const headers = (): HeaderRecord => {
      asked += 1;
      return { 'x-n': String(asked) };
    };
    const { client, transport } = await connect(server.url, { headers, notifications: false });
    await client.callTool({ name: 'x' });
    await transport.terminateSession();
    const seen = server.exchanges.map((each) => each.headers['x-n']);
    expect(seen).toEqual(['1', '2', '3', '4']);
  });

  test.each<[string, () => HeaderRecord | Promise<HeaderRecord>]>([
    [
      'throws',
      () => {
        throw new Error('no headers');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no headers'))],
  ])(
    'that %s fails what it was asked for with its error, and nothing is sent',
    async (_, headers) => {
      const server = await serve(answered);
      const { transport, errors } = await start(server.url, { headers });
      for (const message of [request(1), notification()]) {
        expect(await rejectionOf(transport.send(message))).toMatchObject({ message: 'no headers' });
      }
      expect(await rejectionOf(transport.terminateSession())).toMatchObject({
        message: 'no headers',
      });
      transport.listen();
      await until(() => errors.length === 1);
      expect(server.connections).toBe(0);
    },
  );

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a promise of undefined', Promise.resolve(undefined)],
    ['a promise of null', Promise.resolve(null)],
    ['a value with a line break', { 'x-a': 'b\r\nmcp-session-id: stolen' }],
    ['a promise of a line break', Promise.resolve({ 'x-a': 'b\r\nmcp-session-id: stolen' })],
    ['a name that is none', { 'no name': 'x' }],
    ['an object as a value', { 'x-a': {} }],
    ['a symbol as a value', { 'x-a': Symbol('x') }],
  ])('that gives %s fails what it was asked for, and nothing is sent', async (_, junk) => {
    const server = await serve(answered);
    const { transport, errors } = await start(server.url, { headers: () => junk as never });
    for (const message of [request(1), notification()]) {
      const sent = transport.send(message);
      expect(await stateWithin(1_000, sent)).toBe('rejected');
    }
    expect(await stateWithin(1_000, transport.terminateSession())).toBe('rejected');
    transport.listen();
    await until(() => errors.length === 1);
    expect(server.count('POST') + server.count('GET') + server.count('DELETE')).toBe(0);
  });

  test.each<[string, unknown]>([
    ['a number as a value', { 'x-a': 5 }],
    ['undefined as a value', { 'x-a': undefined }],
    ['an array', []],
    ['a string', ''],
    ['an inherited member', Object.create({ 'mcp-session-id': 'stolen' })],
  ])('that gives %s can not break what it was asked for', async (_, junk) => {
    const server = await serve(answered);
    const { transport } = await start(server.url, { headers: () => junk as never });
    await transport.send(request(1));
    expect(server.exchanges[0]?.headers['mcp-session-id']).toBe('session-1');
  });

  test.each(['throws', 'rejects'])(
    'that %s without a reason breaks nothing but its requests',
    async (how) => {
      const nothing: unknown = undefined;
      const headers = (): Promise<HeaderRecord> => {
        if (how === 'rejects') return Promise.reject(nothing);
        throw nothing as Error;
      };
      const server = await serve(answered);
      const { transport, errors } = await start(server.url, { headers });
      const resumed = transport.send(request(1), { resumptionToken: 'e1' });
      for (const sent of [transport.send(request(2)), transport.send(notification())]) {
        expect(await rejectionOf(sent)).toBeInstanceOf(Error);
      }
      expect(await rejectionOf(transport.resumeStream('e1'))).toBeInstanceOf(Error);
      expect(await rejectionOf(transport.terminateSession())).toBeInstanceOf(Error);
      await until(() => errors.length === 1);
      await transport.close();
      await rejectionOf(resumed);
      expect(server.connections).toBe(0);
    },
  );

  test('that hangs holds nothing: calls are aborted, messages time out, close ends all', async () => {
    const server = await serve(answered);
    const never = new Promise<HeaderRecord>(() => {});
    const { transport } = await start(server.url, { headers: () => never, acceptTimeoutMs: 80 });
    const call = transport.send(request(1));
    const other = rejectionOf(transport.send(request(2)));
    const message = rejectionOf(transport.send(notification()));
    transport.listen();
    const cancelled = { method: 'notifications/cancelled', params: { requestId: 1 } };
    // The server can't know the call: there is nothing to tell it.
    await transport.send({ jsonrpc: '2.0', ...cancelled });
    await call;
    expect(await message).toMatchObject({ code: 'TIMEOUT' });
    const signal = AbortSignal.timeout(50);
    await rejectionOf(transport.terminateSession({ signal }));
    await transport.close();
    expect(await other).toMatchObject({ code: 'SESSION_LOST' });
    expect(server.connections).toBe(0);
  });

  test('that answers after the transport was closed sends nothing', async () => {
    const server = await serve(answered);
    let give = (_: HeaderRecord): void => {};
    const headers = (): Promise<HeaderRecord> =>
      new Promise((resolve) => {
        give = resolve;
      });
    const { transport } = await start(server.url, { headers });
    const call = rejectionOf(transport.send(request(1)));
    await transport.close();
    await call;
    give({});
    await pause(30);
    expect(posts(server)).toBe(0);
    expect(server.connections).toBe(0);
  });

  // Of the token service that it asks, say.
  test('that throws with a status of its own says nothing of the server', async () => {
    const onLost = vi.fn();
    const clock = new ManualClock();
    let status: number | undefined;
    const server = await serve({
      GET: (each) => void beginEvents(each, 'data: {"jsonrpc":"2.0","method":"x"}\n\n').end(),
    });
    const { transport } = await start(server.url, {
      clock,
      wiring: { onLost },
      headers: () => {
        if (status === undefined) return {};
        throw Object.assign(new Error('no token'), { status });
      },
    });
    transport.listen();
    await until(() => server.count('GET') === 1 && clock.pendingCount === 1);
    for (status of [404, 405]) {
      expect(await rejectionOf(transport.terminateSession())).toMatchObject({ status });
      await clock.advance(clock.nextDueMs);
      await until(() => clock.pendingCount === 1);
    }
    expect(onLost).not.toHaveBeenCalled();
    status = undefined;
    await clock.advance(clock.nextDueMs);
    await until(() => server.count('GET') === 2);
  });

  test('that closes the transport sends nothing', async () => {
    const server = await serve(answered);
    const { transport } = await start(server.url, {
      headers: () => {
        void transport.close();
        return {};
      },
    });
    expect(await rejectionOf(transport.send(request(1)))).toMatchObject({ code: 'SESSION_LOST' });
    await pause(30);
    expect(server.connections).toBe(0);
  });
});
