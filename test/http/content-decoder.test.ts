import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  BrotliDecompress,
  brotliCompressSync,
  createBrotliCompress,
  createDeflate,
  createDeflateRaw,
  createGzip,
  deflateRawSync,
  deflateSync,
  Gunzip,
  gzipSync,
  Inflate,
} from 'node:zlib';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createContentDecoder, type DecodedReader } from '../../src/http/content-decoder.ts';
import { brotli, Decoding, encode } from '../support/decoding.ts';

const violations: string[] = [];
afterEach(async () => {
  // What comes too late comes within this.
  await nextTurn();
  await nextTurn();
  expect(violations.splice(0)).toEqual([]);
});

const decode = (codings: string): Decoding => new Decoding(codings, violations);

const text = JSON.stringify({ jsonrpc: '2.0', id: 1, result: { text: 'Grüße '.repeat(5) } });
/** Bytes that no coding makes smaller. */
const noiseAt = (n: number): number => (Math.imul(n * n + 7 * n + 1, 2_654_435_761) >>> 13) & 255;
const noise = Buffer.from(Array.from({ length: 100_000 }, (_, n) => noiseAt(n)));

describe('createContentDecoder', () => {
  it.each([undefined, '', ' ', ',', 'identity', 'Identity , identity'])(
    'has nothing to decode for %j',
    (codings) => {
      expect(createContentDecoder(codings, {} as DecodedReader)).toBeUndefined();
    },
  );

  it.each(['zstd', 'gzip, nonsense', 'chunked', 'constructor'])('refuses %j', (codings) => {
    expect(() => createContentDecoder(codings, {} as DecodedReader)).toThrow(
      /^Unknown content coding "/,
    );
  });

  it('refuses six codings and names only the beginning of one that it does not know', () => {
    const six = 'gzip, gzip, gzip, identity, gzip, gzip, gzip';
    expect(() => createContentDecoder(six, {} as DecodedReader)).toThrow('more than 5');
    expect(() => createContentDecoder('x'.repeat(9_000), {} as DecodedReader)).toThrow(/^.{0,80}$/);
  });
});

describe('a content decoder', () => {
  const codings = [
    ...['gzip', 'x-gzip', 'deflate', 'br', 'GZip', ' gzip ,', 'identity, gzip'],
    ...[
      'gzip, br',
      'br, gzip',
      'deflate, gzip',
      'gzip, deflate',
      'br,br',
      'gzip,br,deflate,gzip,br',
    ],
  ];

  it.each(codings)('undoes %j', async (coding) => {
    for (const data of [Buffer.from(text), noise]) {
      const coded = encode(data, coding.replace(/,$/, ''));
      const decoding = decode(coding);
      decoding.decoder.write(coded);
      decoding.decoder.end();
      await decoding.over;
      expect(decoding.outcome).toBe('end');
      expect(decoding.bytes.equals(data)).toBe(true);
    }
  });

  it.each(['gzip', 'deflate', 'br', 'gzip, br', 'br, deflate'])(
    'undoes %j wherever it is split, and byte by byte',
    async (coding) => {
      const coded = encode(text, coding);
      for (let at = 0; at <= coded.length; at += 1) {
        const decoding = decode(coding);
        const parts =
          at === 0
            ? [...coded].map((byte) => Buffer.from([byte]))
            : [coded.subarray(0, at), coded.subarray(at)];
        for (const part of parts) decoding.decoder.write(part);
        decoding.decoder.end();
        await decoding.over;
        expect([at, decoding.outcome, decoding.bytes.toString()]).toEqual([at, 'end', text]);
      }
    },
  );

  it('undoes raw deflate, and zlib with any window', async () => {
    const windows = [9, 12, 15].map((windowBits) => deflateSync(text, { windowBits }));
    const levels = [0, 1, 9].map((level) => deflateRawSync(text, { level }));
    for (const coded of [...windows, ...levels, deflateRawSync(noise), deflateSync(noise)]) {
      const decoding = decode('deflate');
      decoding.decoder.write(coded);
      decoding.decoder.end();
      await decoding.over;
      expect(decoding.outcome).toBe('end');
      expect([text, noise.toString()]).toContain(decoding.bytes.toString());
    }
  });

  it.each([
    ['gzip', () => createGzip()],
    ['deflate', () => createDeflate()],
    ['deflate', () => createDeflateRaw()],
    ['br', () => createBrotliCompress()],
  ])(
    'tells what a flushed part of %s holds before there is more',
    async (coding, createEncoder) => {
      const encoder = createEncoder();
      const decoding = decode(coding);
      encoder.on('data', (chunk: Buffer) => void decoding.decoder.write(chunk));
      let expected = '';
      for (const event of ['data: 1\n\n', 'data: 2\n\n', ': ping\n\n', 'data: 3\n\n']) {
        encoder.write(event);
        encoder.flush();
        expected += event;
        await decoding.received(expected);
      }
      encoder.end();
      await once(encoder, 'end');
      decoding.decoder.end();
      await decoding.over;
      expect(decoding.outcome).toBe('end');
    },
  );

  it('tells parts of several codings as they come', async () => {
    const inner = createGzip();
    const outer = createBrotliCompress();
    const decoding = decode('gzip, br');
    inner.on('data', (chunk: Buffer) => {
      outer.write(chunk);
      outer.flush();
    });
    outer.on('data', (chunk: Buffer) => void decoding.decoder.write(chunk));
    inner.write('data: 1\n\n');
    inner.flush();
    await decoding.received('data: 1\n\n');
    decoding.abort();
    inner.destroy();
    outer.destroy();
  });

  it.each(['gzip', 'deflate', 'br', 'gzip, br'])('ends an empty body of %j', async (coding) => {
    const decoding = decode(coding);
    decoding.decoder.write(Buffer.alloc(0));
    decoding.decoder.end();
    expect((await decoding.over).outcome).toBe('end');
    expect(decoding.chunks).toEqual([]);
  });

  it.each([
    ['gzip', Buffer.concat([gzipSync('one'), gzipSync('two'), Buffer.alloc(9)])],
    ['deflate', Buffer.concat([deflateSync('onetwo'), Buffer.from('garbage')])],
    ['deflate', Buffer.concat([deflateRawSync('onetwo'), Buffer.from('garbage')])],
    ['br', Buffer.concat([brotliCompressSync('onetwo'), Buffer.from('garbage')])],
    ['identity, br', Buffer.concat([brotliCompressSync('onetwo'), Buffer.from('garbage')])],
  ])('ends with the coded data of %s, and drops what follows it', async (coding, bytes) => {
    const decoding = decode(coding);
    decoding.decoder.write(bytes);
    await decoding.over;
    expect([decoding.outcome, decoding.bytes.toString()]).toEqual(['end', 'onetwo']);
    expect(decoding.decoder.write(Buffer.from('more of it'.repeat(9_999)))).toBe(true);
    decoding.decoder.end();
    decoding.decoder.cut(new Error('late'));
  });

  it('undoes gzip members that come one by one', async () => {
    const decoding = decode('gzip');
    decoding.decoder.write(gzipSync('one'));
    await decoding.received('one');
    decoding.decoder.write(gzipSync('two'));
    await decoding.received('onetwo');
    decoding.decoder.end();
    expect((await decoding.over).outcome).toBe('end');
  });

  it.each([
    ['gzip', gzipSync(text).subarray(0, -8)],
    ['gzip', gzipSync(text).subarray(0, -1)],
    ['deflate', deflateSync(text).subarray(0, -4)],
  ])('does without the trailer of %s', async (coding, coded) => {
    const decoding = decode(coding);
    decoding.decoder.write(coded);
    decoding.decoder.end();
    await decoding.over;
    expect([decoding.outcome, decoding.bytes.toString()]).toEqual(['end', text]);
  });

  it.each(['gzip', 'deflate', 'br', 'gzip, br', 'br, gzip'])(
    'tells what can be decoded of a %j body that broke off, and then why',
    async (coding) => {
      const coded = encode(noise, coding);
      for (const share of [0, 0.001, 0.5, 0.99]) {
        const decoding = decode(coding);
        const error = new Error('cut');
        decoding.decoder.write(coded.subarray(0, Math.floor(coded.length * share)));
        decoding.decoder.cut(error);
        await decoding.over;
        expect([decoding.outcome, decoding.error]).toEqual(['failure', error]);
        const { bytes } = decoding;
        expect(bytes.equals(noise.subarray(0, bytes.length))).toBe(true);
        // Brotli holds back a block that is not complete.
        if (share > 0.9 && coding !== 'br') expect(bytes.length).toBeGreaterThan(50_000);
      }
    },
  );

  it.each([
    ['gzip', Buffer.from('this is not gzip')],
    ['deflate', Buffer.from([0x78, 0x9c, 0xff, 0xff, 0xff])],
    ['deflate', Buffer.from([0xff, 0xff, 0xff])],
    ['br', Buffer.alloc(100, 0xff)],
    ['gzip, br', brotliCompressSync('this is not gzip')],
  ])('fails a %j body that is none', async (coding, bytes) => {
    const decoding = decode(coding);
    decoding.decoder.write(bytes);
    await decoding.over;
    expect(decoding.outcome).toBe('failure');
    expect(decoding.error).toBeInstanceOf(Error);
    expect(decoding.decoder.write(bytes)).toBe(true);
    decoding.decoder.end();
    decoding.decoder.cut(new Error('late'));
  });

  it('tells what came before a body went bad', async () => {
    const encoder = createGzip();
    const decoding = decode('gzip');
    encoder.on('data', (chunk: Buffer) => void decoding.decoder.write(chunk));
    encoder.write('data: 1\n\n');
    encoder.flush();
    await decoding.received('data: 1\n\n');
    decoding.decoder.write(Buffer.alloc(64, 0xff));
    await decoding.over;
    expect([decoding.outcome, decoding.bytes.toString()]).toEqual(['failure', 'data: 1\n\n']);
    encoder.destroy();
  });

  it('checks the sums of a body that is complete', async () => {
    const coded = gzipSync(text);
    coded.writeUInt32LE(1, coded.length - 8);
    const decoding = decode('gzip');
    decoding.decoder.write(coded);
    decoding.decoder.end();
    expect((await decoding.over).outcome).toBe('failure');
  });
});

describe('a content decoder under load', () => {
  const bombOf = (coding: string): Buffer => encode(Buffer.alloc(16 * 2 ** 20), coding);

  it.each(['gzip', 'deflate', 'br', 'gzip, br', 'gzip, gzip'])(
    'stops a bomb of %j at the chunk in which its reader aborts',
    async (coding) => {
      const decoding = decode(coding);
      // Every part that is decoded anywhere in the chain passes one of these.
      const pushes = [Gunzip, Inflate, BrotliDecompress].map((stage) =>
        vi.spyOn(stage.prototype as Readable, 'push'),
      );
      const calls = (): unknown[] => pushes.flatMap(({ mock }) => mock.contexts);
      let callsAtAbort: unknown[] = [];
      const aborted = new Promise<void>((resolve) => {
        decoding.onChunk = () => {
          if (decoding.chunks.length < 3) return;
          decoding.abort();
          callsAtAbort = calls();
          resolve();
        };
      });
      decoding.decoder.write(bombOf(coding));
      decoding.decoder.end();
      await aborted;
      // What the second decodes all of, the first could have gone on with.
      const second = decode(coding);
      second.decoder.write(bombOf(coding));
      second.decoder.end();
      await second.over;
      expect(second.bytes).toHaveLength(16 * 2 ** 20);
      expect(decoding.chunks).toHaveLength(3);
      expect(callsAtAbort.length).toBeGreaterThanOrEqual(3);
      const streams = new Set(callsAtAbort);
      expect(calls().filter((stream) => streams.has(stream))).toHaveLength(callsAtAbort.length);
    },
  );

  it('tells its writer to wait, and when there is room again', async () => {
    const decoding = decode('gzip, gzip');
    const coded = encode(noise, 'gzip, gzip');
    expect(decoding.decoder.write(coded)).toBe(false);
    await expect.poll(() => decoding.drains).toBe(1);
    decoding.decoder.end();
    await decoding.over;
    expect(decoding.bytes.equals(noise)).toBe(true);
  });

  it('holds a stage off while the next one is full', async () => {
    // Eight bits of each byte are one: what the first stage does at once is work for the second.
    const data = Buffer.from(Array.from({ length: 4 * 2 ** 20 }, (_, n) => noiseAt(n) & 1));
    const { write } = BrotliDecompress.prototype as Writable;
    let mostWaiting = 0;
    const observed = function (this: Writable, ...args: unknown[]): boolean {
      const hasRoom = Reflect.apply(write, this, args) as boolean;
      mostWaiting = Math.max(mostWaiting, this.writableLength);
      return hasRoom;
    };
    vi.spyOn(BrotliDecompress.prototype as Writable, 'write').mockImplementation(observed);
    const decoding = decode('br, gzip');
    const coded = brotli(data);
    expect(coded.length).toBeGreaterThan(400_000);
    decoding.decoder.write(gzipSync(coded, { level: 0 }));
    decoding.decoder.end();
    await decoding.over;
    expect(decoding.outcome).toBe('end');
    expect(decoding.bytes.equals(data)).toBe(true);
    expect(mostWaiting).toBeGreaterThan(0);
    expect(mostWaiting).toBeLessThan(70_000);
  });

  it('tells nothing after an abort at any moment', async () => {
    const coded = encode(noise, 'gzip, br');
    for (let turns = 0; turns < 30; turns += 1) {
      const decoding = decode('gzip, br');
      decoding.decoder.write(coded.subarray(0, 60_000));
      if (turns % 3 === 0) decoding.decoder.end();
      if (turns % 3 === 1) decoding.decoder.cut(new Error('cut'));
      for (let turn = 0; turn < turns && decoding.outcome === undefined; turn += 1)
        await nextTurn();
      if (decoding.outcome !== undefined) continue;
      decoding.abort();
      decoding.decoder.abort();
      decoding.decoder.write(coded);
      decoding.decoder.end();
    }
  });

  it('aborted before it began tells nothing', () => {
    const decoding = decode('gzip, br');
    decoding.abort();
    decoding.decoder.write(encode(text, 'gzip, br'));
    decoding.decoder.end();
  });
});
