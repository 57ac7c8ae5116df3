import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { Agent, Dispatcher, interceptors, MockAgent, Pool, ProxyAgent } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { answerOf } from '../support/byte-server.ts';
import { ExchangeLab } from '../support/exchange-lab.ts';

const lab = new ExchangeLab();
afterEach(() => lab.close());

const post = { method: 'POST', body: '{"a":1}' } as const;

describe('an exchange over another dispatcher', () => {
  it('works on a MockAgent', async () => {
    const agent = new MockAgent();
    agent.disableNetConnect();
    lab.adopt(() => agent.close());
    const pool = agent.get('http://mock.example');
    const headers = { 'content-type': 'application/json', 'x-upper': 'A' };
    pool.intercept({ path: '/mcp', method: 'POST' }).reply(200, { ok: true }, { headers });
    pool.intercept({ path: '/empty', method: 'GET' }).reply(204, '');
    pool
      .intercept({ path: '/old', method: 'GET' })
      .reply(308, '', { headers: { location: '/empty' } });
    pool.intercept({ path: '/error', method: 'GET' }).replyWithError(new Error('mocked'));
    const answer = lab.send('http://mock.example/mcp', { ...post, dispatcher: agent });
    await answer.over;
    expect(answer.trace).toEqual(['head 200', 'data', 'end']);
    expect(answer.text).toBe('{"ok":true}');
    expect(answer.head?.headers).toMatchObject(headers);
    const moved = lab.send('http://mock.example/old', { dispatcher: agent });
    await moved.over;
    expect(moved.trace).toEqual(['head 204', 'end']);
    const failed = lab.send('http://mock.example/error', { dispatcher: agent });
    expect(failed.trace).toEqual(['failure']);
    expect(failed.error?.message).toBe('mocked');
    const unknown = lab.send('http://mock.example/unknown', { dispatcher: agent });
    await unknown.over;
    expect(unknown.error?.code).toBe('UND_MOCK_ERR_MOCK_NOT_MATCHED');
    expect(unknown.exchange.progress).toBe('not-written');
  });

  it('is not told what a MockAgent goes on to tell after an abort', async () => {
    const agent = new MockAgent();
    lab.adopt(() => agent.close());
    agent.get('http://mock.example').intercept({ path: '/' }).reply(200, 'body').times(2);
    const recording = lab.prepare('http://mock.example/', {
      dispatcher: agent,
      within: { onHead: () => recording.abort() },
    });
    recording.exchange.send();
    expect(recording.trace).toEqual(['head 200']);
    const other = lab.prepare('http://mock.example/', {
      dispatcher: agent,
      within: { onData: () => other.abort() },
    });
    other.exchange.send();
    expect(other.trace).toEqual(['head 200', 'data']);
  });

  it('works on a unix socket', async () => {
    const socketPath = join(tmpdir(), `exchange-${process.pid}.sock`);
    rmSync(socketPath, { force: true });
    const server = await lab.serve(({ socket }) => socket.write(answerOf('ok')), { socketPath });
    const pool = new Pool('http://localhost', { connect: { socketPath } });
    lab.adopt(() => pool.destroy());
    const recording = lab.send('http://localhost/mcp', { ...post, dispatcher: pool });
    await recording.over;
    expect(recording.text).toBe('ok');
    expect((await server.request(1)).line).toBe('POST /mcp');
  });

  it('works through an HTTP proxy, and is not written when that refuses', async () => {
    let tunnels = 0;
    const proxy = await lab.serve(({ line, socket }) => {
      tunnels += 1;
      const [, host = '', port = ''] = /^CONNECT (.*):(\d+)$/.exec(line) ?? [];
      if (tunnels > 1)
        return void socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n');
      const upstream = connect(Number(port), host, () => {
        socket.removeAllListeners('data');
        socket.write('HTTP/1.1 200 Connected\r\n\r\n');
        socket.pipe(upstream).pipe(socket);
      });
      upstream.on('error', () => socket.destroy());
      socket.once('close', () => upstream.destroy());
    });
    const server = await lab.serve(({ socket }) => socket.write(answerOf('ok')));
    const agent = new ProxyAgent({ uri: proxy.url.origin, proxyTunnel: true });
    lab.adopt(() => agent.destroy());
    const recording = lab.send(server.url, { ...post, dispatcher: agent });
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
    expect(tunnels).toBe(1);
    const elsewhere = await lab.serve(() => {});
    const refused = lab.send(elsewhere.url, { ...post, dispatcher: agent });
    await refused.over;
    expect(refused.trace).toEqual(['failure']);
    expect(refused.exchange.progress).toBe('not-written');
    expect(elsewhere.connections).toBe(0);
  });

  it('lets a dispatcher send it again as long as there was no answer', async () => {
    const server = await lab.serve(({ socket, count }) => {
      if (count === 1) socket.destroy();
      else socket.write(answerOf('ok'));
    });
    const agent = new Agent().compose(interceptors.retry({ minTimeout: 1 }));
    lab.adopt(() => agent.destroy());
    const recording = lab.send(server.url, { dispatcher: agent });
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
    expect(server.requests).toHaveLength(2);
  });

  it('fails rather than be answered twice when undici sends it again in mid-answer', async () => {
    const server = await lab.serve(({ socket, line }) => {
      if (line === 'POST /mcp') {
        socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n');
      }
    });
    const pool = new Pool(server.url.origin, { pipelining: 2, connections: 1 });
    lab.adopt(() => pool.destroy());
    const recording = lab.send(server.url, { ...post, dispatcher: pool });
    await recording.received(4);
    const behind = lab.send(new URL('/behind', server.url), { dispatcher: pool });
    await server.request(2);
    behind.abort();
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'failure']);
    expect(recording.error?.message).toBe('The dispatcher sent the request again in mid-answer');
    for (let turn = 0; turn < 20; turn += 1) await nextTurn();
    expect(server.requests.map(({ line }) => line)).toEqual(['POST /mcp', 'GET /behind']);
  });
});

describe('an exchange over a dispatcher that misbehaves', () => {
  type Handler = Required<
    Pick<
      Dispatcher.DispatchHandler,
      'onRequestStart' | 'onResponseStart' | 'onResponseData' | 'onResponseEnd' | 'onResponseError'
    >
  >;

  const aborts: unknown[] = [];
  const controller = {
    aborted: false,
    paused: false,
    reason: null,
    abort: (reason: Error) => void aborts.push(reason),
    pause() {},
    resume() {},
  } satisfies Dispatcher.DispatchController;

  class Misbehaving extends Dispatcher {
    readonly #act: (handler: Handler) => void;

    constructor(act: (handler: Handler) => void) {
      super();
      this.#act = act;
    }

    override dispatch(_options: unknown, handler: Dispatcher.DispatchHandler): boolean {
      aborts.length = 0;
      this.#act(handler as Handler);
      return true;
    }
  }

  const bytes = Buffer.from('bytes');
  const error = new Error('first');
  const start = (handler: Handler): void => handler.onRequestStart(controller, {});
  const head = (handler: Handler, status = 200, location?: string): void =>
    handler.onResponseStart(controller, status, location === undefined ? {} : { location });
  const data = (handler: Handler): void => handler.onResponseData(controller, bytes);
  const end = (handler: Handler): void => handler.onResponseEnd(controller, {});
  const fail = (handler: Handler, cause = error): void =>
    handler.onResponseError(controller, cause);

  it.each<[string, ((handler: Handler) => void)[], string[], number]>([
    ['fails twice', [fail, fail], ['failure'], 0],
    ['fails after the end', [start, head, data, end, fail], ['head 200', 'data', 'end'], 0],
    ['ends twice', [start, head, end, end], ['head 200', 'end'], 0],
    ['ends after a failure', [start, head, fail, end, data], ['head 200', 'failure'], 0],
    ['answers after the end', [start, head, end, head, data, end], ['head 200', 'end'], 0],
    ['answers twice', [start, head, data, head, end], ['head 200', 'data', 'failure'], 1],
    ['tells of a body without a head', [start, data, head, end], ['failure'], 1],
    ['tells of an end without a head', [start, end, head], ['failure'], 0],
    ['starts again in mid-answer', [start, head, start, data], ['head 200', 'failure'], 1],
    [
      'throws',
      [
        () => {
          throw error;
        },
      ],
      ['failure'],
      0,
    ],
    [
      'throws after the start',
      [
        start,
        () => {
          throw error;
        },
      ],
      ['failure'],
      1,
    ],
    [
      'throws after a failure',
      [
        fail,
        () => {
          throw new Error('second');
        },
      ],
      ['failure'],
      0,
    ],
    [
      'redirects and throws',
      [
        start,
        (h) => head(h, 307, '/'),
        () => {
          throw error;
        },
      ],
      ['head 307', 'failure'],
      1,
    ],
    [
      'throws after the end',
      [
        start,
        head,
        end,
        () => {
          throw error;
        },
      ],
      ['head 200', 'end'],
      0,
    ],
    [
      'answers with an empty part',
      [start, head, (h) => h.onResponseData(controller, Buffer.alloc(0)), end],
      ['head 200', 'end'],
      0,
    ],
    [
      'tells of an error without a start',
      [(h) => h.onResponseError(undefined as never, error)],
      ['failure'],
      0,
    ],
  ])('is told of one end when it %s', async (_name, steps, trace, abortCount) => {
    const dispatcher = new Misbehaving((handler) => {
      for (const step of steps) step(handler);
    });
    const recording = lab.send('http://any.example/', { dispatcher });
    await recording.over;
    await nextTurn();
    expect(recording.trace).toEqual(trace);
    expect(aborts).toHaveLength(abortCount);
  });

  it('hears nothing of a hop that is over', async () => {
    const hops: Handler[] = [];
    const dispatcher = new Misbehaving((handler) => {
      hops.push(handler);
      start(handler);
      if (hops.length === 1) head(handler, 307, '/there');
    });
    const recording = lab.send('http://any.example/', { dispatcher });
    const [first] = hops;
    data(first!);
    fail(first!);
    await nextTurn();
    head(first!);
    data(first!);
    end(first!);
    expect(recording.trace).toEqual([]);
    expect(recording.exchange.progress).toBe('written');
    const second = hops[1]!;
    head(second);
    end(second);
    expect(recording.trace).toEqual(['head 200', 'end']);
  });

  it('fails, and throws nothing at its dispatcher, when it does not know the coding', () => {
    let handler: Handler | undefined;
    const dispatcher = new Misbehaving((given) => {
      handler = given;
    });
    const recording = lab.send('http://any.example/', { dispatcher });
    handler?.onRequestStart(controller, {});
    handler?.onResponseStart(controller, 200, { 'content-encoding': 'zstd' });
    handler?.onResponseData(controller, bytes);
    expect(recording.trace).toEqual(['head 200', 'failure']);
    expect(aborts).toHaveLength(1);
  });

  it('tells what can be decoded before the failure that came with it', async () => {
    const coded = gzipSync('decoded');
    const dispatcher = new Misbehaving((handler) => {
      start(handler);
      handler.onResponseStart(controller, 200, { 'content-encoding': 'gzip' });
      handler.onResponseData(controller, coded);
      fail(handler);
      expect(recording.trace).toEqual(['head 200']);
    });
    const recording = lab.prepare('http://any.example/', { dispatcher });
    recording.exchange.send();
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'failure']);
    expect(recording.text).toBe('decoded');
    expect(recording.error).toBe(error);
  });

  it('fails with what dispatcherFor throws, before send returns', () => {
    const recording = lab.send('http://any.example/', {
      dispatcherFor: () => {
        throw error;
      },
    });
    expect(recording.trace).toEqual(['failure']);
    expect(recording.error).toBe(error);
    expect(recording.exchange.progress).toBe('not-written');
  });
});
