import { setImmediate as nextTurn } from 'node:timers/promises';
import { Agent, Client, type Dispatcher } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import type { AnswerReader } from '../../src/http/answer-reader.ts';
import { Exchange } from '../../src/http/exchange.ts';
import { answerOf, type ByteServer, chunkOf, writeInParts } from '../support/byte-server.ts';
import { ExchangeLab } from '../support/exchange-lab.ts';

// That nothing is told after an abort is checked by the lab, for every recording.
const lab = new ExchangeLab();
afterEach(() => lab.close());

const streamHead = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';

/** A server that answers `/answers`, and does for every other path what `handle` does. */
const serveBeside = (...[handle, options]: Parameters<ExchangeLab['serve']>): Promise<ByteServer> =>
  lab.serve((request) => {
    if (request.line.endsWith('/answers')) request.socket.write(answerOf('ok'));
    else handle(request);
  }, options);

/**
 * Expects that all connections of `server` close, that `connections` were made, and that the next
 * exchange makes one more: a spare one would have been used, or counted.
 */
async function expectFreed(server: ByteServer, connections: number): Promise<void> {
  await expect.poll(() => server.openSockets).toBe(0);
  const next = lab.send(new URL('/answers', server.url));
  await next.over;
  expect(next.trace).toEqual(['head 200', 'data', 'end']);
  expect(server.connections).toBe(connections + 1);
}

describe('abort', () => {
  it('before send keeps anything from being sent', async () => {
    const server = await serveBeside(() => {});
    const recording = lab.prepare(server.url);
    recording.abort();
    recording.exchange.send();
    await expectFreed(server, 0);
    expect(recording.trace).toEqual([]);
    expect(recording.exchange.progress).toBe('not-written');
  });

  it('while connecting keeps the request from being written, and ends the connection', async () => {
    const server = await serveBeside(() => {});
    const recording = lab.send(server.url, { method: 'POST', body: '{}' });
    recording.abort();
    recording.abort();
    await server.connection(1);
    await expectFreed(server, 1);
    expect(server.requests.map(({ line }) => line)).toEqual(['GET /answers']);
    expect(recording.exchange.progress).toBe('not-written');
  });

  it('while undici looks at an idle connection keeps the request from being written', async () => {
    const server = await serveBeside(() => {});
    await lab.send(new URL('/answers', server.url)).over;
    await nextTurn();
    const recording = lab.send(server.url);
    recording.abort();
    await expectFreed(server, 1);
    expect(server.requests.map(({ line }) => line)).toEqual(['GET /answers', 'GET /answers']);
  });

  it('while the request is queued takes it out of the queue when its turn comes', async () => {
    const server = await lab.serve(() => {});
    const client = new Client(server.url.origin);
    lab.adopt(() => client.destroy());
    const first = lab.send(server.url, { dispatcher: client });
    const queued = lab.send(new URL('/queued', server.url), { dispatcher: client });
    const last = lab.send(new URL('/last', server.url), { dispatcher: client });
    queued.abort();
    (await server.request(1)).socket.write(answerOf('ok'));
    await first.over;
    (await server.request(2)).socket.write(answerOf('ok'));
    await last.over;
    expect(server.requests.map(({ line }) => line)).toEqual(['GET /mcp', 'GET /last']);
  });

  it('while the request is queued lets go of its reader and its plan at once', async () => {
    const server = await lab.serve(() => {});
    const client = new Client(server.url.origin);
    lab.adopt(() => client.destroy());
    lab.send(server.url, { dispatcher: client });
    // Half of them are kept by their owner: then they hold nothing either.
    const kept: Exchange[] = [];
    const refs = Array.from({ length: 20 }, (_, n) => {
      const reader = { onHead() {}, onData() {}, onEnd() {}, onFailure() {} };
      const dispatcherFor = (): Client => client;
      const plan = { url: server.url, method: 'GET', headers: {}, dispatcherFor } as const;
      const exchange = new Exchange(plan, reader);
      exchange.send();
      exchange.abort();
      const own = [new WeakRef(reader), new WeakRef(dispatcherFor)];
      if (n % 2 === 0) kept.push(exchange);
      return n % 2 === 0 ? own : [...own, new WeakRef(exchange)];
    }).flat();
    await server.request(1);
    const alive = async (): Promise<number> => {
      await nextTurn();
      globalThis.gc?.();
      return refs.filter((ref) => ref.deref() !== undefined).length;
    };
    // One more may be held by what the engine optimizes.
    await expect.poll(alive).toBeLessThanOrEqual(3);
    expect(client.stats.pending).toBe(20);
    expect(kept).toHaveLength(10);
  });

  it('is not needed for an open stream to let go of what was sent for it', async () => {
    const server = await lab.serve(({ socket }) => socket.write(streamHead));
    const send = async (): Promise<WeakRef<object>> => {
      const dispatcherFor = (origin: string): Dispatcher => lab.hold.for(origin);
      const recording = lab.send(server.url, { dispatcherFor });
      await expect.poll(() => recording.trace).toEqual(['head 200']);
      return new WeakRef(dispatcherFor);
    };
    const refs = [await send(), await send(), await send()];
    const alive = async (): Promise<number> => {
      await nextTurn();
      globalThis.gc?.();
      return refs.filter((ref) => ref.deref() !== undefined).length;
    };
    await expect.poll(alive).toBe(0);
    expect(server.openSockets).toBe(3);
  });

  it.each([
    ['before the answer', []],
    ['in mid-head', ['HTTP/1.1 200 OK\r\nx: y']],
    ['after an interim answer', ['HTTP/1.1 103 Early Hints\r\n\r\n']],
    ['after the head', [streamHead]],
    ['in mid-body', [streamHead, chunkOf('some')]],
    ['in mid-chunk', [streamHead, 'ff\r\nsome']],
  ])('%s frees the socket, and opens no spare one (row 13b)', async (_name, parts) => {
    let written = 0;
    const server = await serveBeside(({ socket }) => {
      void writeInParts(socket, parts).then(() => {
        written += 1;
      });
    });
    const plan = { method: 'POST', body: '{}' } as const;
    const recordings = Array.from({ length: 10 }, () => lab.send(server.url, plan));
    await expect.poll(() => written).toBe(10);
    const told = recordings.map(({ trace }) => trace.length);
    for (const recording of recordings) recording.abort();
    await expectFreed(server, 10);
    expect(recordings.map(({ trace }) => trace.length)).toEqual(told);
  });

  it.each([
    ['onHead', ['head 200']],
    ['onData', ['head 200', 'data']],
  ] as const)('within %s is the last thing that is told', async (callback, trace) => {
    const server = await serveBeside(({ socket }) => {
      // All in one packet, so that undici has the rest at hand, and then a flood.
      socket.write(Buffer.concat([Buffer.from(streamHead), chunkOf('one'), chunkOf('two')]));
      const flood = (): void => {
        if (socket.write(chunkOf('x'.repeat(10_000)))) setImmediate(flood);
      };
      flood();
    });
    const recording = lab.send(server.url, { within: { [callback]: () => recording.abort() } });
    await (await server.request(1)).gone;
    expect(recording.trace).toEqual(trace);
    await expectFreed(server, 1);
  });

  it('within onHead of an answer that is complete is the last thing that is told', async () => {
    const server = await serveBeside(({ socket }) => socket.write(answerOf('{}')));
    const recording = lab.send(server.url, { within: { onHead: () => recording.abort() } });
    await (await server.request(1)).gone;
    expect(recording.trace).toEqual(['head 200']);
  });

  it('within onData that ends the body keeps the end from being told', async () => {
    const server = await serveBeside(({ socket }) => socket.write(answerOf('{}')));
    const recording = lab.send(server.url, { within: { onData: () => recording.abort() } });
    await (await server.request(1)).gone;
    expect(recording.trace).toEqual(['head 200', 'data']);
  });

  it('within onEnd, and after it, leaves the connection to the next exchange', async () => {
    const server = await lab.serve(({ socket }) => socket.write(answerOf('ok')));
    const recording = lab.send(server.url, { within: { onEnd: () => recording.abort() } });
    await recording.over;
    await nextTurn();
    recording.abort();
    await lab.send(server.url).over;
    expect(server.connections).toBe(1);
  });

  it('within onFailure does nothing', async () => {
    const server = await serveBeside(({ socket }) => socket.destroy());
    const recording = lab.send(server.url, { within: { onFailure: () => recording.abort() } });
    await recording.over;
    expect(recording.trace).toEqual(['failure']);
    await expectFreed(server, 1);
  });

  it('within dispatcherFor keeps the request from being dispatched', async () => {
    const server = await serveBeside(() => {});
    const recording = lab.prepare(server.url, {
      dispatcherFor: (origin) => {
        recording.abort();
        return lab.hold.for(origin);
      },
    });
    recording.exchange.send();
    await expectFreed(server, 0);
  });

  it('of one exchange never reaches another on the same dispatcher', async () => {
    const server = await lab.serve(() => {});
    const [aborted, kept] = [lab.send(server.url), lab.send(server.url)];
    const last = await server.request(2);
    const first = await server.request(1);
    aborted.abort();
    for (const { socket } of [first, last]) socket.write(answerOf('ok'));
    await kept.over;
    expect(kept.trace).toEqual(['head 200', 'data', 'end']);
  });

  it('passes the same reason each time, which holds nothing of who aborted', async () => {
    const reasons: unknown[] = [];
    const agent = new Agent();
    lab.adopt(() => agent.destroy());
    const spying = agent.compose((dispatch) => (options, handler) => {
      const spy: typeof handler = {
        onRequestStart: (...args) => handler.onRequestStart?.(...args),
        onResponseStart: (...args) => handler.onResponseStart?.(...args),
        onResponseError: (_controller, error) => void reasons.push(error),
      };
      return dispatch(options, spy);
    });
    const server = await lab.serve(() => {});
    const written = [
      lab.send(server.url, { dispatcher: spying }),
      lab.send(server.url, { dispatcher: spying }),
    ];
    await server.request(2);
    for (const recording of written) recording.abort();
    lab.send(server.url, { dispatcher: spying }).abort();
    await expect.poll(() => reasons.length).toBe(3);
    expect(new Set(reasons).size).toBe(1);
    expect(reasons[0]).toMatchObject({ name: 'AbortError' });
  });

  it('leaves no more than a reader can do in one turn to a server that floods', async () => {
    const server = await serveBeside(({ socket }) => {
      socket.write(streamHead);
      const flood = (): void => {
        while (socket.writable && socket.write(chunkOf('y'.repeat(60_000))));
      };
      socket.on('drain', flood);
      flood();
    });
    const chunks: number[] = [];
    const within: Partial<AnswerReader> = { onData: ({ length }) => void chunks.push(length) };
    const recording = lab.send(server.url, { within });
    await recording.received(1_000_000);
    recording.abort();
    const count = chunks.length;
    await expectFreed(server, 1);
    expect(chunks).toHaveLength(count);
  });
});
