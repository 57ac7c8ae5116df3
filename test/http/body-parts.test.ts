import { expect, test } from 'vitest';
import { BodyParts } from '../../src/http/body-parts.ts';
import { MessageTooLargeError } from '../../src/http/message-too-large.ts';

const text = JSON.stringify({ text: 'ä🙂'.repeat(60_000) });

test.each([1, 7, 1_000, 65_536, 10_000_000])('a body in parts of %i bytes is the same', (size) => {
  const bytes = Buffer.from(text);
  const parts = new BodyParts(bytes.length);
  for (let at = 0; at < bytes.length; at += size) parts.add(bytes.subarray(at, at + size));
  expect(parts.text() === text).toBe(true);
});

test('a byte order mark is left out, and an empty body is empty', () => {
  const marked = new BodyParts(100);
  marked.add(Buffer.from('\uFEFF{}'));
  expect(marked.text()).toBe('{}');
  expect(new BodyParts(100).text()).toBe('');
});

test('the byte over the bound is refused', () => {
  const parts = new BodyParts(3);
  parts.add(Buffer.from('12'));
  parts.add(Buffer.from('3'));
  expect(() => parts.add(Buffer.from('4'))).toThrow(MessageTooLargeError);
});

test('a body that comes byte by byte takes less than four times its length in memory', () => {
  const length = 1 << 21;
  const parts = new BodyParts(length);
  const used = (): number => {
    globalThis.gc?.();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = used();
  // Each byte comes in a packet of its own, as `undici` hands it on.
  for (let n = 0; n < length; n += 1) parts.add(Buffer.from('x'));
  expect(used() - before).toBeLessThan(4 * length);
  expect(parts.text()).toHaveLength(length);
});
