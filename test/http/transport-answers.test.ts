// What servers may answer a call with, and what becomes of it: content types, batches, ids of every
// kind, answers that belong elsewhere, messages over the bound.

import { describe, expect, test } from 'vitest';
import { lend, textOf } from '../support/http-sessions.ts';
import {
  answerJson,
  beginEvents,
  eventOf,
  pause,
  type RawExchange,
  until,
} from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import {
  notification,
  rejectionOf,
  request,
  resultOf,
  stateWithin,
  useTransports,
} from '../support/transport-fixture.ts';

const { serve, start, connect } = useTransports();
const { newSessions, serveRaw } = useSessions();

/** Answers with these bytes and nothing else. */
const answer =
  (status: number, type: string | undefined, body = '') =>
  ({ response }: RawExchange): void => {
    response.writeHead(status, type === undefined ? {} : { 'content-type': type }).end(body);
  };

const jsonOf = (...messages: unknown[]): string =>
  JSON.stringify(messages.length === 1 ? messages[0] : messages);

describe('an answer without the response fails its call at once, not the session', () => {
  test.each<[string, number, string | undefined, string, string]>([
    ['202', 202, undefined, '', 'NO_RESPONSE'],
    ['202 with JSON', 202, 'application/json', '{}', 'UNEXPECTED_CONTENT'],
    ['204', 204, undefined, '', 'NO_RESPONSE'],
    ['HTML', 200, 'text/html; charset=utf-8', '<h1>Sign in</h1>', 'UNEXPECTED_CONTENT'],
    ['plain text', 200, 'text/plain', 'ok', 'UNEXPECTED_CONTENT'],
    ['no content type', 200, undefined, jsonOf(resultOf(1)), 'UNEXPECTED_CONTENT'],
    ['an empty content type', 200, ' ; x=y', jsonOf(resultOf(1)), 'UNEXPECTED_CONTENT'],
    ['a JSON body that is empty', 200, 'application/json', '', 'UNEXPECTED_CONTENT'],
    ['a JSON body cut in half', 200, 'application/json', '{"jsonrpc":', 'UNEXPECTED_CONTENT'],
    ['JSON that is no JSON-RPC', 200, 'application/json', '{"ok":true}', 'UNEXPECTED_CONTENT'],
    ['an empty batch', 200, 'application/json', '[]', 'UNEXPECTED_CONTENT'],
    ['JSON of another call', 200, 'application/json', jsonOf(resultOf(77)), 'NO_RESPONSE'],
    ['a notification', 200, 'application/json', jsonOf(notification()), 'NO_RESPONSE'],
    ['a stream of comments', 200, 'text/event-stream', ': hello\n\n', 'RESPONSE_CUT'],
    ['an empty stream', 200, 'text/event-stream', '', 'RESPONSE_CUT'],
  ])('%s', async (_, status, type, body, code) => {
    const server = await serve({
      'tools/call': (each) => (each.count === 1 ? answer(status, type, body) : answerOk)(each),
    });
    const { transport, messages } = await start(server.url);
    const error = await rejectionOf(transport.send(request(1)));
    const sessionLost = code === 'RESPONSE_CUT';
    expect(error).toMatchObject({ code, execution: 'unknown', sessionLost });
    await transport.send(request(2));
    expect(messages.some(({ message }) => 'id' in message && message.id === 2)).toBe(true);
  });
});

const answerOk = (each: RawExchange): void => answerJson(each, { content: [] });

describe('content types are compared as HTTP says', () => {
  test.each([
    ['application/json;charset=UTF-8'],
    ['Application/JSON'],
    ['application/json ; charset="x"'],
  ])('%s is JSON', async (type) => {
    const server = await serve({ 'tools/call': answer(200, type, jsonOf(resultOf(1))) });
    const { transport, messages } = await start(server.url);
    await transport.send(request(1));
    expect(messages).toHaveLength(1);
  });

  test('Text/Event-Stream; charset=utf-8 is an event stream', async () => {
    const type = 'Text/Event-Stream; charset=utf-8';
    const server = await serve({ 'tools/call': answer(200, type, eventOf(resultOf(1))) });
    const { transport, messages } = await start(server.url);
    await transport.send(request(1));
    expect(messages).toHaveLength(1);
  });
});

describe('batches of servers before 2025-06-18', () => {
  test('a JSON array hands on all its messages, in order', async () => {
    const batch = jsonOf(notification('notifications/a'), resultOf(1), notification());
    const server = await serve({ 'tools/call': answer(200, 'application/json', batch) });
    const { transport, messages } = await start(server.url);
    await transport.send(request(1));
    await until(() => messages.length === 3);
    expect(messages[0]?.message).toEqual(notification('notifications/a'));
    expect(messages[1]?.message).toEqual(resultOf(1));
    expect(messages.map(({ extra }) => extra?.relatedRequestId)).toEqual([1, 1, 1]);
  });

  test('an array in an event is a batch too', async () => {
    const batch = [notification('notifications/a'), resultOf(1)];
    const server = await serve({
      'tools/call': answer(200, 'text/event-stream', eventOf(batch)),
    });
    const { transport, messages } = await start(server.url);
    await transport.send(request(1));
    await until(() => messages.length === 2);
  });

  test('a batch without the response fails the call once what it holds is handed on', async () => {
    const batch = jsonOf(notification('notifications/a'), resultOf(9));
    const server = await serve({ 'tools/call': answer(200, 'application/json', batch) });
    const { transport, messages } = await start(server.url);
    expect(await rejectionOf(transport.send(request(1)))).toMatchObject({ code: 'NO_RESPONSE' });
    expect(messages[0]?.message).toEqual(notification('notifications/a'));
  });

  test('a batch with one bad message is refused whole: nothing of it is handed on', async () => {
    const batch = jsonOf(resultOf(1), { jsonrpc: '1.0' });
    const server = await serve({ 'tools/call': answer(200, 'application/json', batch) });
    const { transport } = await start(server.url);
    const error = await rejectionOf(transport.send(request(1)));
    expect(error).toMatchObject({ code: 'UNEXPECTED_CONTENT' });
  });
});

describe('ids of the wrong type', () => {
  test('"5" answers call 5', async () => {
    const server = await serve({
      'tools/call': ({ message, response }) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(jsonOf(resultOf(String(message.id), 'from a string')));
      },
    });
    const { client } = await connect(server.url);
    const result = await client.callTool({ name: 'x' });
    expect(result.content).toEqual([{ type: 'text', text: 'from a string' }]);
  });

  test('"5" on a stream that stays open answers call 5, and frees its socket', async () => {
    const server = await serve({
      'tools/call': (each) => {
        beginEvents(each, eventOf(resultOf(String(each.message.id))));
      },
    });
    const { client } = await connect(server.url);
    await client.callTool({ name: 'x' });
    await until(() => server.pending === 0);
  });

  test.each([
    ['null', null],
    ['absent', undefined],
    ['a float', 1.5],
    ['an object', {}],
    ['true', true],
  ])('a result whose id is %s answers nothing', async (_, id) => {
    const body = jsonOf({ jsonrpc: '2.0', id, result: {} });
    const server = await serve({ 'tools/call': answer(200, 'application/json', body) });
    const { transport, messages } = await start(server.url);
    const error = await rejectionOf(transport.send(request(1)));
    expect(error).toMatchObject({ code: 'UNEXPECTED_CONTENT', execution: 'unknown' });
    expect(messages.map(({ message }) => message)).not.toContainEqual(
      expect.objectContaining({ result: {} }),
    );
  });

  test.each([
    ['application/json', (body: string) => body],
    ['text/event-stream', (body: string) => `data: ${body}\n\n`],
  ])('an error without an id in %s is for the call it answers', async (type, frame) => {
    const error = { code: -32_700, message: 'Parse error' };
    for (const id of [null, undefined]) {
      const body = frame(jsonOf({ jsonrpc: '2.0', id, error }));
      const server = await serve({ 'tools/call': answer(200, type, body) });
      const { client } = await connect(server.url);
      await expect(client.callTool({ name: 'x' })).rejects.toMatchObject({ code: -32_700 });
    }
  });

  test('an event with a malformed message is reported, and the response after it counts', async () => {
    const text = `data: {"jsonrpc":\n\ndata: [1]\n\n${eventOf(resultOf(1.5))}`;
    const server = await serve({
      'tools/call': (each) => {
        beginEvents(each, `${text}${eventOf(resultOf(each.message.id))}`).end();
      },
    });
    const { client, errors } = await connect(server.url);
    await client.callTool({ name: 'x' });
    expect(errors).toHaveLength(3);
  });

  test('events of another name, and events without data, are no messages', async () => {
    const text = `event: ping\ndata: {"not":"rpc"}\n\nid: e1\ndata:\n\nevent: message\n`;
    const server = await serve({
      'tools/call': (each) => {
        beginEvents(each, `${text}${eventOf(resultOf(each.message.id))}`).end();
      },
    });
    const { client, errors } = await connect(server.url);
    await client.callTool({ name: 'x' });
    expect(errors).toEqual([]);
  });
});

describe('answers that belong elsewhere', () => {
  test('an answer to an unknown id is reported by the client, and harms no call', async () => {
    const server = await serve({
      'tools/call': (each) => {
        beginEvents(each, `${eventOf(resultOf(999))}${eventOf(resultOf(each.message.id))}`).end();
      },
    });
    const { client, errors } = await connect(server.url);
    await client.callTool({ name: 'x' });
    expect(errors.map(({ message }) => message)).toEqual([expect.stringContaining('unknown')]);
  });

  test("another call's answer on this call's stream ends both, and frees both sockets", async () => {
    const server = await serve({
      'tools/call': (each) => {
        const { id } = each.message;
        // The first is never answered on its own request.
        if (each.message.params?.['name'] === 'first') return;
        const first = Number(id) - 1;
        beginEvents(each, `${eventOf(resultOf(first, 'one'))}${eventOf(resultOf(id, 'two'))}`);
      },
    });
    const { client } = await connect(server.url);
    const first = client.callTool({ name: 'first' });
    await until(() => server.count('POST', 'tools/call') === 1);
    const second = client.callTool({ name: 'second' });
    expect((await first).content).toEqual([{ type: 'text', text: 'one' }]);
    expect((await second).content).toEqual([{ type: 'text', text: 'two' }]);
    await until(() => server.pending === 0);
  });

  test('an answer on the notification stream ends its call, and frees its socket', async () => {
    const server = await serve({
      GET: (each) => void beginEvents(each),
      'tools/call': ({ message }) => {
        const stream = server.exchanges.find(({ method }) => method === 'GET');
        stream?.response.write(eventOf(resultOf(message.id)));
      },
    });
    const { client, errors } = await connect(server.url);
    await until(() => server.count('GET') === 1);
    await client.callTool({ name: 'x' });
    await until(() => server.pending === 1);
    expect(errors).toEqual([]);
  });

  test('a second answer to the same call is nothing to it', async () => {
    const server = await serve({
      'tools/call': (each) => {
        const { id } = each.message;
        beginEvents(each, `${eventOf(resultOf(id, 'one'))}${eventOf(resultOf(id, 'two'))}`).end();
      },
    });
    const { client } = await connect(server.url);
    const result = await client.callTool({ name: 'x' });
    expect(result.content).toEqual([{ type: 'text', text: 'one' }]);
  });

  test('a response to a message that is no request is not read', async () => {
    const server = await serve({
      'notifications/x': answer(200, 'application/json', jsonOf(resultOf(1))),
    });
    const { transport, messages } = await start(server.url);
    await transport.send(notification());
    await pause(20);
    expect(messages).toEqual([]);
  });
});

describe('answers to the calls of two leases that share a session', () => {
  test('reach the lease that asked, on whatever stream they come', async () => {
    const streams: RawExchange[] = [];
    const server = await serveRaw({
      GET: (each) => void beginEvents(each),
      'tools/call': (each) => {
        streams.push(each);
        beginEvents(each);
        const [first, second] = streams;
        if (first === undefined || second === undefined) return;
        // Crosswise, and a third answer that nobody waits for.
        first.response.write(eventOf(resultOf(second.message.id, 'second')));
        first.response.write(eventOf(resultOf(4_711)));
        const get = server.exchanges.find(({ method }) => method === 'GET');
        get?.response.write(eventOf(resultOf(first.message.id, 'first')));
      },
    });
    const session = await newSessions().open({
      ...{ url: server.url, leasesPerSession: 2, notifications: true },
    });
    await until(() => server.count('GET') === 1);
    const [one, two] = [lend(session), lend(session)];
    const calls = [one.client.callTool({ name: 'x' })];
    await until(() => streams.length === 1);
    calls.push(two.client.callTool({ name: 'x' }));
    expect((await Promise.all(calls)).map(textOf)).toEqual(['first', 'second']);
    await until(() => server.pending === 1);
    expect(session.lost?.aborted).toBe(false);
  });
});

describe('the order of messages', () => {
  test('a response in the packet of a progress notification does not overtake it', async () => {
    const server = await serve({
      'tools/call': (each) => {
        const progress = (value: number): string =>
          eventOf({
            jsonrpc: '2.0',
            method: 'notifications/progress',
            params: { progressToken: each.message.id, progress: value },
          });
        const all = [1, 2, 3].map(progress).join('');
        beginEvents(each, `${all}${eventOf(resultOf(each.message.id))}`).end();
      },
    });
    const { client, errors } = await connect(server.url);
    const seen: number[] = [];
    const onprogress = ({ progress }: { progress: number }): void => void seen.push(progress);
    await client.callTool({ name: 'x' }, undefined, { onprogress });
    expect(seen).toEqual([1, 2, 3]);
    expect(errors).toEqual([]);
  });
});

describe('a message over the bound', () => {
  const maxMessageBytes = 10_000;
  const tooLarge = { code: 'MESSAGE_TOO_LARGE', execution: 'unknown' };

  test('in JSON fails the call and frees the socket, however it is cut', async () => {
    const server = await serve({
      'tools/call': ({ response }) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        const more = (): void => {
          if (response.destroyed) return;
          response.write('"'.padEnd(500, 'x'), () => setImmediate(more));
        };
        more();
      },
    });
    const { transport } = await start(server.url, { maxMessageBytes });
    expect(await rejectionOf(transport.send(request(1)))).toMatchObject(tooLarge);
    await until(() => server.pending === 0);
  });

  // Row 10d.
  test.each([
    ['a line of data', 'data: '],
    ['a comment', ': '],
    ['an id', 'id: '],
    ['a line that is nothing', 'x'],
  ])('as %s without end fails the call and frees the socket', async (_, begin) => {
    const server = await serve({
      'tools/call': (each) => {
        const response = beginEvents(each, begin);
        const more = (): void => {
          if (response.destroyed) return;
          response.write('x'.repeat(700), () => setImmediate(more));
        };
        more();
      },
    });
    const { transport } = await start(server.url, { maxMessageBytes });
    expect(await rejectionOf(transport.send(request(1)))).toMatchObject(tooLarge);
    await until(() => server.pending === 0);
  });

  test('is not reached by many small messages on one stream', async () => {
    const server = await serve({
      'tools/call': (each) => {
        const many = eventOf(notification()).repeat(1_000);
        beginEvents(each, `${many}${eventOf(resultOf(each.message.id))}`).end();
      },
    });
    const { transport, messages } = await start(server.url, { maxMessageBytes });
    const sent = transport.send(request(1));
    expect(await stateWithin(5_000, sent)).toBe('fulfilled');
    await until(() => messages.length === 1_001);
  });
});
