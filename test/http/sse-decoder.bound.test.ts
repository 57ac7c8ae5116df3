// What SseDecoder holds of a stream, and when it refuses to hold more.

import { describe, expect, test } from 'vitest';
import { MessageTooLargeError } from '../../src/http/message-too-large.ts';
import { SseDecoder, type SseReader } from '../../src/http/sse-decoder.ts';
import {
  data,
  piecesOf,
  readEvents,
  recordingReader,
  referenceEvents,
} from '../support/sse-reference.ts';

/** What an event may hold beside its data, as the decoder has it. */
const ENVELOPE_BYTES = 1_024;

describe('the bound is the same however the bytes are cut:', () => {
  const max = 5_000;
  const envelope = 'x'.repeat(ENVELOPE_BYTES);
  const full = 'x'.repeat(max);
  const within: Readonly<Record<string, string>> = {
    'data of maxMessageBytes': `data: ${full}\n\n`,
    'data of maxMessageBytes in two-byte letters': `data: ${'é'.repeat(max / 2)}\n\n`,
    'data of maxMessageBytes in three-byte letters': `data: ${'漢'.repeat(1_666)}xx\n\n`,
    'data of maxMessageBytes without a space': `data:${full}\n\n`,
    'data of maxMessageBytes in two lines': `data: ${full.slice(2)}\ndata: x\n\n`,
    'data of maxMessageBytes in empty lines': `${'data\n'.repeat(max + 1)}\n`,
    'data of maxMessageBytes with an id and a name': `id: 1\nevent: x\ndata: ${full}\nid: 2\n\n`,
    'many such events': `data: ${full}\n\n`.repeat(3),
    'many events without data': 'id: 1\nevent: message\n\n'.repeat(1_000),
    'comments without end between events': `: ${'c'.repeat(100)}\n`.repeat(1_000),
    'fields without meaning, without end': `x: ${'c'.repeat(100)}\nretry: 1\n`.repeat(1_000),
    'a comment over maxMessageBytes by less than the envelope': `:${full}${envelope.slice(1)}\n`,
  };
  const over: Readonly<Record<string, string>> = {
    'data of one byte more': `data: ${full}x\n\n`,
    'data of one byte more without a space': `data:${full}x\n\n`,
    'data of one byte more in two-byte letters': `data: ${'é'.repeat(max / 2)}x\n\n`,
    'data of one letter more': `data: ${full.slice(1)}é\n\n`,
    'data of one byte more in two lines': `data: ${full.slice(1)}\ndata: x\n\n`,
    'data of one byte more in empty lines': `${'data\n'.repeat(max + 2)}\n`,
    'a comment over maxMessageBytes and the envelope': `:${full}${envelope}\n`,
    'a field without meaning of that length': `x${full}${envelope}\n`,
    'a retry of that length': `retry:${'0'.repeat(max + ENVELOPE_BYTES)}\n`,
    'an id of that length': `id:${full}${envelope}\n`,
    'ids that together are of that length': `id: ${'x'.repeat(96)}\n`.repeat(61),
    'names that together are of that length': `event: ${'x'.repeat(93)}\n`.repeat(61),
    'an id longer than the envelope beside full data': `id: ${envelope}\ndata: ${full}\n\n`,
  };

  test.each(Object.entries(within))('%s passes', (_name, text) => {
    const bytes = Buffer.from(text);
    const whole = readEvents([bytes], max);
    expect(whole).toEqual(referenceEvents(bytes));
    for (const size of [1, 7, 4_096]) expect(readEvents(piecesOf(bytes, size), max)).toEqual(whole);
  });

  test.each(Object.entries(over))('%s is refused', (_name, text) => {
    const bytes = Buffer.from(text);
    for (const size of [1, 7, 4_096, bytes.length]) {
      const reader = recordingReader();
      const decoder = new SseDecoder(max, reader);
      const write = () => {
        for (const piece of piecesOf(bytes, size)) decoder.write(piece);
      };
      expect(write).toThrow(new MessageTooLargeError(max));
      expect(reader.told).toEqual([]);
      // Of no more use, and quiet.
      decoder.write(Buffer.from('\n\ndata: a\n\n'));
      expect(reader.told).toEqual([]);
    }
  });
});

test('events before the one over the bound are told', () => {
  const reader = recordingReader();
  const decoder = new SseDecoder(5, reader);
  const bytes = Buffer.from('data: a\n\ndata: 123456\n\ndata: b\n\n');
  expect(() => decoder.write(bytes)).toThrow(MessageTooLargeError);
  expect(reader.told).toEqual([data('a')]);
});

test('an endless line is refused one chunk after the bound at the latest, whatever it is', () => {
  const chunk = Buffer.alloc(1_000, 'x');
  for (const start of ['data: ', 'data', 'id:', ': ', 'event: ', 'retry: ', 'field', '']) {
    const decoder = new SseDecoder(10_000, silentReader());
    decoder.write(Buffer.from(start));
    let written = start.length;
    const writeOn = () => {
      for (; written < 1_000_000; written += chunk.length) decoder.write(chunk);
    };
    expect(writeOn).toThrow(MessageTooLargeError);
    expect(written + chunk.length).toBeLessThanOrEqual(10_000 + ENVELOPE_BYTES + chunk.length);
  }
});

test('lines of data without end are refused, though they hold next to nothing', () => {
  const decoder = new SseDecoder(1 << 30, silentReader());
  const lines = Buffer.from('data\n'.repeat(100_000));
  for (let n = 0; n < 10; n += 1) decoder.write(lines);
  expect(() => decoder.write(lines)).toThrow(MessageTooLargeError);
});

/** Milliseconds of this process that a line of `bytes` takes in chunks of `size`. */
function timeOf(bytes: number, size: number): number {
  const chunk = Buffer.alloc(size, 'x');
  const decoder = new SseDecoder(1 << 30, silentReader());
  const before = process.cpuUsage();
  decoder.write(Buffer.from('data: '));
  for (let at = 0; at < bytes; at += size) decoder.write(chunk);
  decoder.write(Buffer.from('\n\n'));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

test('a line takes time in proportion to its length, in chunks and byte by byte', () => {
  // 50 and 150 ms. Were it the square of the length, minutes.
  expect(timeOf(1 << 24, 1_024)).toBeLessThan(3_000);
  expect(timeOf(1 << 20, 1)).toBeLessThan(3_000);
});

test('a line that comes byte by byte takes less than four times its length in memory', () => {
  const byte = Buffer.from('x');
  const decoder = new SseDecoder(1 << 30, silentReader());
  decoder.write(Buffer.from('data: '));
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let n = 0; n < 1 << 21; n += 1) decoder.write(byte);
  globalThis.gc?.();
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(4 << 21);
  decoder.write(Buffer.from('\n\n'));
});

test('an endless comment takes no memory', () => {
  const chunk = Buffer.alloc(1 << 16, 'x');
  const decoder = new SseDecoder(1 << 30, silentReader());
  decoder.write(Buffer.from(': '));
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let n = 0; n < 256; n += 1) decoder.write(chunk);
  globalThis.gc?.();
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(1 << 20);
});

function silentReader(): SseReader {
  return { onEvent: () => {}, onRetry: () => {} };
}
