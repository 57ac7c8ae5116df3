import type { Readable } from 'node:stream';
import { brotliCompressSync, createGzip, Gunzip, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { answerOf, chunkOf, writeInParts } from '../support/byte-server.ts';
import { ExchangeLab } from '../support/exchange-lab.ts';

const lab = new ExchangeLab();
afterEach(() => lab.close());

const text = '{"jsonrpc":"2.0","id":1,"result":{}}';
const gzipped = { 'content-encoding': 'gzip' };
const gzipStream =
  'HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n';

describe('an exchange with a coded answer', () => {
  it('tells the decoded body, and the head as it came', async () => {
    const server = await lab.serve(({ socket }) => socket.write(answerOf(gzipSync(text), gzipped)));
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
    expect(recording.text).toBe(text);
    expect(recording.head?.headers['content-encoding']).toBe('gzip');
  });

  it('decodes it wherever it is split', async () => {
    const bytes = answerOf(brotliCompressSync(text), { 'Content-Encoding': 'br' });
    const server = await lab.serve(({ socket, line }) => {
      const at = Number(line.split('/').at(-1));
      const bytewise = Array.from(bytes, (byte) => Buffer.from([byte]));
      const parts = at === 0 ? bytewise : [bytes.subarray(0, at), bytes.subarray(at)];
      void writeInParts(socket, parts);
    });
    for (let at = 0; at <= bytes.length; at += 1) {
      const recording = lab.send(new URL(`/${at}`, server.url));
      await recording.over;
      expect([at, recording.text]).toEqual([at, text]);
      expect(recording.trace).toEqual(['head 200', 'data', 'end']);
    }
  });

  it('takes several content-encoding headers as one list', async () => {
    const body = brotliCompressSync(gzipSync(text));
    const head =
      'HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-encoding: br\r\n' +
      `content-length: ${body.length}\r\n\r\n`;
    const server = await lab.serve(({ socket }) => {
      socket.write(head);
      socket.write(body);
    });
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.text).toBe(text);
  });

  it('tells each event of a coded stream as it comes', async () => {
    const server = await lab.serve(({ socket }) => socket.write(gzipStream));
    const recording = lab.send(server.url);
    const { socket } = await server.request(1);
    const encoder = createGzip();
    encoder.on('data', (chunk: Buffer) => socket.write(chunkOf(chunk)));
    for (let count = 1; count <= 3; count += 1) {
      encoder.write('data: 1\n\n');
      encoder.flush();
      await recording.received(9 * count);
    }
    expect(recording.text).toBe('data: 1\n\n'.repeat(3));
    recording.abort();
    await (await server.request(1)).gone;
    encoder.destroy();
  });

  it.each([
    ['204 No Content', 'HTTP/1.1 204 No Content\r\ncontent-encoding: gzip\r\n\r\n'],
    ['an empty body', answerOf('', gzipped)],
    ['an empty body of an unknown coding', answerOf('', { 'content-encoding': 'zstd' })],
    ['an empty chunked body', `${gzipStream}0\r\n\r\n`],
  ])('ends %s', async (_name, bytes) => {
    const server = await lab.serve(({ socket }) => socket.write(bytes));
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.trace.slice(1)).toEqual(['end']);
  });

  it('leaves a body alone that says identity', async () => {
    const server = await lab.serve(({ socket }) =>
      socket.write(answerOf(text, { 'content-encoding': 'identity' })),
    );
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.text).toBe(text);
  });

  it('fails after the head, and frees the socket, when it does not know the coding', async () => {
    const server = await lab.serve(({ socket }) =>
      socket.write(answerOf(text, { 'content-encoding': 'zstd', 'content-length': '999' })),
    );
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'failure']);
    expect(recording.error?.message).toBe('Unknown content coding "zstd"');
    await (await server.request(1)).gone;
  });

  it('fails, and frees the socket, when the body is corrupt', async () => {
    const server = await lab.serve(({ socket }) => {
      socket.write(gzipStream);
      socket.write(chunkOf('this is not gzip'));
    });
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'failure']);
    await (await server.request(1)).gone;
  });

  it('tells what could be decoded when the connection is cut, and then the failure', async () => {
    const big = gzipSync(Buffer.from(Array.from({ length: 50_000 }, (_, n) => (n * n) % 251)));
    const server = await lab.serve(({ socket }) => {
      // The end is there before the decoder has done anything.
      socket.end(Buffer.concat([Buffer.from(gzipStream), chunkOf(big.subarray(0, 5_000))]));
    });
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'failure']);
    expect(recording.error?.code).toBe('UND_ERR_SOCKET');
  });

  it('ends as its body did, whatever its dispatcher tells after that', async () => {
    const server = await lab.serve(({ socket }) => socket.write(answerOf(gzipSync(text), gzipped)));
    const recording = lab.send(server.url, {
      dispatcher: lab.hold.for(server.url.origin).compose((dispatch) => (options, handler) => {
        const { onResponseEnd } = handler;
        handler.onResponseEnd = (controller, trailers) => {
          onResponseEnd?.call(handler, controller, trailers);
          handler.onResponseError?.(controller, new Error('late'));
        };
        return dispatch(options, handler);
      }),
    });
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
  });

  it('aborted while its end is being decoded tells nothing more, and decodes no more', async () => {
    const pushes = vi.spyOn(Gunzip.prototype as Readable, 'push');
    const coded = gzipSync(Buffer.alloc(4 * 2 ** 20));
    const server = await lab.serve(({ socket }) => socket.write(answerOf(coded, gzipped)));
    const recording = lab.send(server.url, { within: { onData: () => recording.abort() } });
    await recording.received(1);
    const [decoder] = pushes.mock.contexts;
    // What the second decodes all of, the first could have gone on with.
    await lab.send(server.url).over;
    expect(recording.chunks).toHaveLength(1);
    expect(pushes.mock.contexts.filter((each) => each === decoder)).toHaveLength(1);
  });

  it('ends with the coded data; what the peer sends behind it is cut', async () => {
    const server = await lab.serve(({ socket }) => {
      socket.write(gzipStream);
      socket.write(chunkOf(Buffer.concat([gzipSync(text), Buffer.alloc(9)])));
    });
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
    await (await server.request(1)).gone;
  });

  it('stops a bomb when its reader aborts, and frees the socket', async () => {
    const bomb = chunkOf(gzipSync(Buffer.alloc(16 * 2 ** 20)));
    const server = await lab.serve(({ socket }) => {
      socket.write(gzipStream);
      const flood = (): void => {
        while (socket.writable && socket.write(bomb));
      };
      socket.on('drain', flood);
      flood();
    });
    let bytes = 0;
    const recording = lab.send(server.url, {
      within: {
        onData: (chunk) => {
          bytes += chunk.length;
          if (bytes > 100_000) recording.abort();
        },
      },
    });
    await (await server.request(1)).gone;
    expect(bytes).toBeLessThan(200_000);
  });

  it('holds the peer off while it decodes, and hears it again after that', async () => {
    const noise = Array.from({ length: 4 * 2 ** 20 }, (_, n) => Math.imul(n, 2_654_435_761) >>> 24);
    const coded = gzipSync(Buffer.from(noise), { level: 1 });
    let pauses = 0;
    const server = await lab.serve(({ socket }) => socket.write(answerOf(coded, gzipped)));
    const recording = lab.send(server.url, {
      dispatcher: lab.hold.for(server.url.origin).compose((dispatch) => (options, handler) => {
        const { onResponseData } = handler;
        handler.onResponseData = (controller, chunk) => {
          onResponseData?.call(handler, controller, chunk);
          if (controller.paused) pauses += 1;
        };
        return dispatch(options, handler);
      }),
    });
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
    expect(Buffer.concat(recording.chunks).equals(Buffer.from(noise))).toBe(true);
    expect(pauses).toBeGreaterThan(0);
  });
});
