// Lines out of bytes, wherever those were cut, and no longer than allowed.

import { describe, expect, test } from 'vitest';
import { LineSplitter } from '../../src/stdio/line-splitter.ts';

const TEXT = 'one\n\ntwo ü €\r\n{"three":3}\nan emoji 🙂 at the end\n';
const BYTES = Buffer.from(TEXT);
const LINES = TEXT.split('\n').slice(0, -1);

function linesOf(splitter: LineSplitter, chunks: readonly Buffer[]): string[] {
  const lines: string[] = [];
  for (const chunk of chunks) {
    splitter.push(chunk);
    for (let line = splitter.next(); line !== undefined; line = splitter.next()) lines.push(line);
  }
  return lines;
}

function cutEvery(size: number, bytes: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
  return chunks;
}

test('lines are the same wherever the bytes are cut, in mid-character too', () => {
  for (let size = 1; size <= BYTES.length; size += 1) {
    expect(linesOf(new LineSplitter(1_000), cutEvery(size, BYTES))).toEqual(LINES);
  }
});

test('what has no end yet is no line', () => {
  const splitter = new LineSplitter(100);
  expect(linesOf(splitter, [Buffer.from('half a li')])).toEqual([]);
  expect(linesOf(splitter, [Buffer.from('ne\nand')])).toEqual(['half a line']);
  splitter.clear();
  expect(linesOf(splitter, [Buffer.from('more\n')])).toEqual(['more']);
});

test('chunks may be changed by their owner once they are cut', () => {
  const splitter = new LineSplitter(100);
  const chunk = Buffer.from('beginning');
  expect(linesOf(splitter, [chunk])).toEqual([]);
  chunk.fill('x');
  expect(linesOf(splitter, [Buffer.from('\n')])).toEqual(['beginning']);
});

describe('a line', () => {
  const longest = Buffer.from(`${'a'.repeat(5_000)}\n`);

  test.each([1, 7, 4_096, 5_000, 5_001])('of just what is allowed passes, by %i', (size) => {
    const lines = linesOf(new LineSplitter(5_000), cutEvery(size, longest));
    expect(lines.map((line) => line.length)).toEqual([5_000]);
  });

  test.each([1, 7, 4_096, 5_000, 5_001])('of one byte more does not, by %i', (size) => {
    const splitter = new LineSplitter(4_999);
    expect(() => linesOf(splitter, cutEvery(size, longest))).toThrow(
      expect.objectContaining({ code: 'MESSAGE_TOO_LARGE', maxMessageBytes: 4_999 }),
    );
    expect(splitter.next()).toBeUndefined();
  });

  test('that never ends is given up before it does', () => {
    const splitter = new LineSplitter(1_000);
    expect(() => linesOf(splitter, [Buffer.alloc(600, 'a'), Buffer.alloc(600, 'a')])).toThrow(
      'maxMessageBytes',
    );
  });
});
