import { setImmediate as nextTurn } from 'node:timers/promises';
import { Agent, Client } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { answerOf, type ByteRequest, writeInParts } from '../support/byte-server.ts';
import { ExchangeLab } from '../support/exchange-lab.ts';

const lab = new ExchangeLab();
afterEach(() => lab.close());

const redirectOf = (status: number, location: string, body = ''): Buffer =>
  answerOf(body, { location }, `${status} Redirect`);

/** Sends whoever asks for `/mcp` to `/there`, with `status`. */
const redirecting =
  (status: number) =>
  ({ line, socket }: ByteRequest): void => {
    const isThere = line.endsWith('/there');
    socket.write(isThere ? answerOf('arrived') : redirectOf(status, '/there', 'moved'));
  };

describe('an exchange that is redirected', () => {
  it.each([
    ['GET', 301],
    ['GET', 302],
    ['GET', 303],
    ['GET', 307],
    ['GET', 308],
    ['POST', 307],
    ['POST', 308],
    ['DELETE', 307],
    ['DELETE', 308],
  ] as const)('sends a %s on after %i, as it was', async (method, status) => {
    const server = await lab.serve(redirecting(status));
    const body = method === 'POST' ? '{"a":1}' : undefined;
    const headers = { authorization: 'Bearer token', 'mcp-session-id': '1' };
    const recording = lab.send(server.url, { method, body, headers });
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
    expect(recording.text).toBe('arrived');
    const [first, second] = server.requests;
    expect([first?.line, second?.line]).toEqual([`${method} /mcp`, `${method} /there`]);
    expect(second?.text).toBe(first?.text.replace('/mcp', '/there'));
  });

  it.each([
    ['POST', 301],
    ['POST', 302],
    ['POST', 303],
    ['DELETE', 301],
    ['DELETE', 302],
    ['DELETE', 303],
  ] as const)('gives a %s the %i itself', async (method, status) => {
    const server = await lab.serve(redirecting(status));
    const recording = lab.send(server.url, { method });
    await recording.over;
    expect(recording.trace).toEqual([`head ${status}`, 'data', 'end']);
    expect(recording.text).toBe('moved');
    expect(recording.head?.headers['location']).toBe('/there');
    expect(recording.exchange.progress).toBe('answered');
    expect(server.requests).toHaveLength(1);
  });

  it('gives away a redirect to another origin, and connects there not', async () => {
    const there = await lab.serve(({ socket }) => socket.write(answerOf('arrived')));
    const here = await lab.serve(({ socket }) => socket.write(redirectOf(307, there.url.href)));
    const recording = lab.send(here.url);
    await recording.over;
    expect(recording.trace).toEqual(['head 307', 'end']);
    await nextTurn();
    expect(there.connections).toBe(0);
  });

  it('follows five in a row, and gives away the sixth', async () => {
    const server = await lab.serve(({ socket, count }) =>
      socket.write(redirectOf(307, `/hop-${count}`, 'loop')),
    );
    const recording = lab.send(server.url, { method: 'POST', body: '{}' });
    await recording.over;
    expect(recording.trace).toEqual(['head 307', 'data', 'end']);
    expect(recording.head?.headers['location']).toBe('/hop-6');
    expect(server.requests.map(({ line }) => line)).toEqual([
      'POST /mcp',
      ...[1, 2, 3, 4, 5].map((hop) => `POST /hop-${hop}`),
    ]);
  });

  it('resolves each location against the URL that it came from', async () => {
    const server = await lab.serve(({ socket, line }) => {
      if (line === 'GET /mcp') socket.write(redirectOf(307, '/a/b/c'));
      else if (line === 'GET /a/b/c') socket.write(redirectOf(307, '../d?e=1'));
      else socket.write(answerOf('ok'));
    });
    await lab.send(server.url).over;
    expect(server.requests.at(-1)?.line).toBe('GET /a/d?e=1');
  });

  it('asks for the dispatcher of the origin that an upgrade to https leads to', async () => {
    const server = await lab.serve(({ socket, line }) => {
      if (line.endsWith('/there')) socket.write(answerOf('arrived'));
      else socket.write(redirectOf(308, 'https://upgraded.example/there'));
    });
    // Stands for a server on port 80 and its https form on 443.
    const client = new Client(server.url.origin);
    lab.adopt(() => client.destroy());
    const asked: string[] = [];
    const dispatcherFor = (origin: string): Client => {
      asked.push(origin);
      return client;
    };
    const recording = lab.send('http://upgraded.example/mcp', { dispatcherFor });
    await recording.over;
    expect(recording.text).toBe('arrived');
    expect(asked).toEqual(['http://upgraded.example', 'https://upgraded.example']);
  });

  it('fails as not written when there is no dispatcher for where it leads', async () => {
    const server = await lab.serve(redirecting(307));
    const error = new Error('none');
    const recording = lab.send(server.url, {
      dispatcherFor: (origin) => {
        if (server.requests.length > 0) throw error;
        return lab.hold.for(origin);
      },
    });
    await recording.over;
    expect(recording.trace).toEqual(['failure']);
    expect(recording.error).toBe(error);
    expect(recording.exchange.progress).toBe('not-written');
  });

  it('is not written until the next request is, and answered by its answer alone', async () => {
    const server = await lab.serve(({ socket, count }) => {
      if (count === 1) socket.write(redirectOf(307, '/there'));
      else if (count === 2) socket.destroy();
    });
    const seen: string[] = [];
    const recording = lab.prepare(server.url, {
      method: 'POST',
      dispatcherFor: (origin) => {
        seen.push(recording.exchange.progress);
        return lab.hold.for(origin);
      },
    });
    recording.exchange.send();
    await recording.over;
    expect(seen).toEqual(['not-written', 'not-written']);
    expect(recording.trace).toEqual(['failure']);
    expect(recording.exchange.progress).toBe('written');
  });

  it('keeps the connection of a redirect that came as a whole', async () => {
    const server = await lab.serve(redirecting(307));
    await lab.send(server.url).over;
    await nextTurn();
    expect(server.openSockets).toBe(2);
  });

  it.each([
    ['never ends', 'content-length: 1000000\r\n\r\nsome'],
    ['never begins', 'content-length: 10\r\n\r\n'],
    ['is endless', 'transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n'],
  ])('cuts the connection of a redirect whose body %s', async (_name, rest) => {
    const server = await lab.serve(({ socket, line }) => {
      if (line.endsWith('/there')) socket.write(answerOf('arrived'));
      else socket.write(`HTTP/1.1 307 Redirect\r\nlocation: /there\r\n${rest}`);
    });
    const recording = lab.send(server.url, { method: 'POST', body: '{}' });
    await recording.over;
    expect(recording.text).toBe('arrived');
    await server.requests[0]!.gone;
    expect(server.openSockets).toBe(1);
    expect(server.connections).toBe(2);
  });

  it('goes on when the redirecting connection is reset behind its head', async () => {
    const server = await lab.serve(({ socket, line }) => {
      if (line.endsWith('/there')) socket.write(answerOf('arrived'));
      else {
        const head = 'HTTP/1.1 307 Redirect\r\nlocation: /there\r\ncontent-length: 9\r\n\r\n';
        void writeInParts(socket, [head]).then(() => socket.resetAndDestroy());
      }
    });
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
  });

  it('goes on through a dispatcher with one connection', async () => {
    const server = await lab.serve(({ socket, line }) => {
      if (line.endsWith('/there')) socket.write(answerOf('arrived'));
      else socket.write('HTTP/1.1 307 R\r\nlocation: /there\r\ncontent-length: 9\r\n\r\n');
    });
    const agent = new Agent({ connections: 1 });
    lab.adopt(() => agent.destroy());
    const recording = lab.send(server.url, { dispatcher: agent });
    await recording.over;
    expect(recording.text).toBe('arrived');
  });

  it('aborted between the redirect and the next request sends nothing more', async () => {
    const server = await lab.serve(redirecting(307));
    const agent = new Agent();
    lab.adopt(() => agent.destroy());
    const dispatcher = agent.compose((dispatch) => (options, handler) => {
      const { onResponseStart } = handler;
      handler.onResponseStart = (...args) => {
        onResponseStart?.apply(handler, args);
        recording.abort();
      };
      return dispatch(options, handler);
    });
    const recording = lab.send(server.url, { dispatcher });
    await (await server.request(1)).gone;
    await lab.send(new URL('/there', server.url)).over;
    expect(server.requests.map(({ line }) => line)).toEqual(['GET /mcp', 'GET /there']);
    expect(recording.trace).toEqual([]);
  });

  it('aborted after the next request was sent frees its socket', async () => {
    const server = await lab.serve(({ socket, line }) => {
      if (!line.endsWith('/there')) socket.write(redirectOf(307, '/there'));
    });
    const recording = lab.send(server.url);
    const second = await server.request(2);
    recording.abort();
    await second.gone;
    expect(recording.trace).toEqual([]);
  });
});
