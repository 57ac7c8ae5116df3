// What a server writes to its stderr: few lines of it are told, the last of it is kept, and no more
// of it is read than is cheap.

import { PassThrough } from 'node:stream';
import { ManualClock } from 'mcp-session-pool/testing';
import { expect, test } from 'vitest';
import { StderrLines } from '../../src/stdio/stderr-lines.ts';

function newStderr() {
  const stream = new PassThrough({ highWaterMark: 16 * 1024 * 1024 });
  const clock = new ManualClock();
  const lines: string[] = [];
  const stderr = new StderrLines(stream, clock, (line) => void lines.push(line));
  return { stream, clock, lines, stderr };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('lines are told wherever the bytes are cut', async () => {
  const { stream, lines } = newStderr();
  for (const byte of Buffer.from('grüße\r\n\n  two\nthree')) stream.write(Buffer.of(byte));
  await turn();
  expect(lines).toEqual(['grüße', '  two']);
  stream.end();
  await turn();
  expect(lines).toEqual(['grüße', '  two', 'three']);
});

test('a line is cut at 4,096 characters', async () => {
  const { stream, lines } = newStderr();
  stream.write('x'.repeat(3_000));
  stream.write(`${'y'.repeat(3_000)}\nnext\n`);
  await turn();
  expect(lines).toEqual([`${'x'.repeat(3_000)}${'y'.repeat(1_096)}`, 'next']);
});

test('100 lines in a second are told, and how many were not', async () => {
  const { stream, lines, clock } = newStderr();
  stream.write('line\n'.repeat(350));
  await turn();
  expect(lines).toHaveLength(100);
  await clock.advance(1_000);
  stream.write('later\n');
  await turn();
  expect(lines.slice(100)).toEqual(['(250 lines were dropped)', 'later']);
});

test('how many were dropped is told at the end too', async () => {
  const { stream, lines, stderr } = newStderr();
  stream.write('line\n'.repeat(101));
  await turn();
  stderr.stop();
  expect(lines.at(-1)).toBe('(1 lines were dropped)');
  expect(stream.destroyed).toBe(true);
});

test('the last 4,096 characters are kept, also of what nobody was told', async () => {
  const { stream, stderr } = newStderr();
  expect(stderr.tail).toBe('');
  stream.write(`${'line\n'.repeat(5_000)}the last\n`);
  await turn();
  expect(stderr.tail.endsWith('line\nthe last')).toBe(true);
  expect(stderr.tail.length).toBeLessThanOrEqual(4_096);
});

test('control characters are made visible, in lines and in the tail', async () => {
  const { stream, lines, stderr } = newStderr();
  stream.write('a\u0000b\tc\u001b[2Jd\u0085e\n');
  await turn();
  const visible = 'a\u{fffd}b\tc\u{fffd}[2Jd\u{fffd}e';
  expect([lines, stderr.tail]).toEqual([[visible], visible]);
});

test('4 MiB are read in a second; for more the server waits', async () => {
  const { stream, clock, stderr } = newStderr();
  const mebibyte = Buffer.alloc(1024 * 1024, 'line of a chatterbox\n');
  for (let n = 0; n < 4; n += 1) stream.write(mebibyte);
  await turn();
  expect(stream.isPaused()).toBe(true);
  // An idle session must not keep the process alive.
  expect([clock.pendingCount, clock.referencedCount]).toEqual([1, 0]);
  await clock.advance(1_000);
  await turn();
  expect(stream.isPaused()).toBe(false);
  for (let n = 0; n < 5; n += 1) stream.write(mebibyte);
  await turn();
  expect([stream.isPaused(), clock.pendingCount]).toEqual([true, 1]);
  stderr.stop();
  expect(clock.pendingCount).toBe(0);
});
