import { Agent, type Dispatcher } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { answerOf, chunkOf, writeInParts } from '../support/byte-server.ts';
import { ExchangeLab } from '../support/exchange-lab.ts';

const lab = new ExchangeLab();
afterEach(() => lab.close());

const headOf = (status: string, ...lines: string[]): string =>
  [`HTTP/1.1 ${status}`, ...lines, '', ''].join('\r\n');

describe('an exchange', () => {
  it('sends method, path with query, headers and body as planned', async () => {
    const server = await lab.serve(({ socket }) => socket.write(answerOf('ok')));
    const url = new URL('/some/path?a=1&b=%20#fragment', server.url);
    const headers = { accept: 'application/json', 'x-one': 'two' };
    const { over } = lab.send(url, { method: 'POST', headers, body: '{"täg":1}' });
    await over;
    const { text, line } = await server.request(1);
    expect(line).toBe('POST /some/path?a=1&b=%20');
    expect(text).toContain(`host: ${url.host}\r\n`);
    expect(text).toContain('accept: application/json\r\nx-one: two\r\n');
    expect(text).toContain('content-length: 10\r\n');
    expect(Buffer.from(text, 'latin1').toString()).toMatch(/\r\n\r\n\{"täg":1\}$/);
  });

  it('tells head, body and end of an answer, in this order', async () => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, result: {} });
    const server = await lab.serve(({ socket }) =>
      socket.write(answerOf(body, { 'Content-Type': 'application/json', 'X-Twice': 'a' })),
    );
    const recording = lab.send(server.url, { method: 'POST', body: '{}' });
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
    expect(recording.head?.headers['content-type']).toBe('application/json');
    expect(recording.text).toBe(body);
    expect(recording.exchange.progress).toBe('answered');
  });

  it('tells the head before any of the body has come, and each part as it comes', async () => {
    const server = await lab.serve(() => {});
    const recording = lab.send(server.url, {
      within: { onHead: () => void socket.write(chunkOf('one')) },
    });
    const { socket } = await server.request(1);
    expect(recording.trace).toEqual([]);
    socket.write(headOf('200 OK', 'transfer-encoding: chunked'));
    await recording.received(3);
    expect(recording.trace).toEqual(['head 200', 'data']);
    socket.write(chunkOf('two'));
    await recording.received(6);
    expect(recording.text).toBe('onetwo');
    socket.write('0\r\n\r\n');
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
  });

  it('tells several values of a header as a list', async () => {
    const server = await lab.serve(({ socket }) =>
      socket.write(headOf('200 OK', 'X-A: 1', 'x-a: 2', 'x-b: 3', 'content-length: 0')),
    );
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.head?.headers).toMatchObject({ 'x-a': ['1', '2'], 'x-b': '3' });
  });

  it.each([
    ['a body of known length', answerOf('{"a":1}', { 'x-header': 'y' }), '{"a":1}'],
    [
      'a chunked body with a trailer',
      Buffer.concat([
        Buffer.from(headOf('200 OK', 'transfer-encoding: chunked')),
        chunkOf('{"a"'),
        chunkOf(':1}'),
        Buffer.from('0\r\nx-trailer: t\r\n\r\n'),
      ]),
      '{"a":1}',
    ],
    [
      'interim answers before it',
      Buffer.concat([
        Buffer.from(headOf('102 Processing')),
        Buffer.from(headOf('103 Early Hints', 'link: </x>')),
        answerOf('{"a":1}'),
      ]),
      '{"a":1}',
    ],
  ])('reads an answer with %s wherever it is split', async (_name, bytes, text) => {
    const server = await lab.serve(({ socket, line }) => {
      const at = Number(line.split('/').at(-1));
      const parts =
        at === 0 ? bytes.toString('latin1') : [bytes.subarray(0, at), bytes.subarray(at)];
      void writeInParts(socket, parts);
    });
    // At 0, each byte comes alone.
    for (let at = 0; at <= bytes.length; at += 1) {
      const recording = lab.send(new URL(`/${at}`, server.url));
      await recording.over;
      expect([at, recording.trace]).toEqual([at, ['head 200', 'data', 'end']]);
      expect(recording.text).toBe(text);
    }
  });

  it.each(['102 Processing', '103 Early Hints'])(
    'is not answered by %s, and goes on to the answer',
    async (status) => {
      const server = await lab.serve(() => {});
      const recording = lab.send(server.url);
      const { socket } = await server.request(1);
      await writeInParts(socket, [headOf(status, 'link: </x>')]);
      expect(recording.trace).toEqual([]);
      expect(recording.exchange.progress).toBe('written');
      socket.write(answerOf('', {}, '404 Not Found'));
      await recording.over;
      expect(recording.trace).toEqual(['head 404', 'end']);
    },
  );

  it.each([
    ['204 No Content', headOf('204 No Content')],
    ['202 Accepted', headOf('202 Accepted', 'content-length: 0')],
    ['304 Not Modified', headOf('304 Not Modified', 'content-length: 0')],
    ['200 OK', headOf('200 OK', 'transfer-encoding: chunked').concat('0\r\n\r\n')],
  ])('ends %s without a body', async (status, bytes) => {
    const server = await lab.serve(({ socket }) => socket.write(bytes));
    const recording = lab.send(server.url, { method: 'POST', body: '{}' });
    await recording.over;
    expect(recording.trace).toEqual([`head ${Number.parseInt(status, 10)}`, 'end']);
  });

  it('ends a body without a length when the server closes', async () => {
    const server = await lab.serve(({ socket }) => socket.end(`${headOf('200 OK')}all of it`));
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
    expect(recording.text).toBe('all of it');
  });

  it('leaves its connection to the next one', async () => {
    const server = await lab.serve(({ socket }) => socket.write(answerOf('ok')));
    for (let count = 1; count <= 3; count += 1) {
      await lab.send(server.url, { method: 'POST', body: '{}' }).over;
      // Undici takes a turn to see that the socket is free.
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(server.connections).toBe(1);
  });

  it('is not written before it is sent, and not while its connection is being made', async () => {
    const server = await lab.serve(() => {});
    const recording = lab.prepare(server.url);
    expect(recording.exchange.progress).toBe('not-written');
    recording.exchange.send();
    expect(recording.exchange.progress).toBe('not-written');
    await server.request(1);
    expect(recording.exchange.progress).toBe('written');
  });

  it('asks for no timeouts, whatever those of the dispatcher are', async () => {
    const asked: Dispatcher.DispatchOptions[] = [];
    const agent = new Agent({ headersTimeout: 1, bodyTimeout: 1 });
    lab.adopt(() => agent.destroy());
    const dispatcher = agent.compose((dispatch) => (options, handler) => {
      asked.push(options);
      return dispatch(options, handler);
    });
    const server = await lab.serve(({ socket }) => socket.write(answerOf('ok')));
    const recording = lab.send(server.url, { dispatcher });
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
    expect(asked).toMatchObject([{ headersTimeout: 0, bodyTimeout: 0 }]);
  });

  it('shows nothing but its contract', () => {
    const { exchange } = lab.prepare('http://127.0.0.1:1/');
    expect(Object.keys(exchange)).toEqual([]);
    expect(Object.getOwnPropertyNames(Object.getPrototypeOf(exchange)).sort()).toEqual([
      'abort',
      'constructor',
      'progress',
      'send',
    ]);
  });
});
