// Messages from a server that writes them, many at once and none: in order, in slices, and with a
// bound on what is no message.

import { PassThrough } from 'node:stream';
import { ManualClock } from 'mcp-session-pool/testing';
import { expect, test } from 'vitest';
import { MessageReader } from '../../src/stdio/message-reader.ts';

const note = (n: number): string => `{"jsonrpc":"2.0","method":"n/${n}"}\n`;

function newReader(maxMessageBytes = 1024 * 1024) {
  const stream = new PassThrough();
  const clock = new ManualClock();
  const methods: string[] = [];
  const nonsense: unknown[] = [];
  const failures: unknown[] = [];
  const reader = new MessageReader({
    stream,
    clock,
    maxMessageBytes,
    deliver: (message) => methods.push('method' in message ? message.method : 'answer'),
    onNonsense: (error) => nonsense.push(error),
    onFailed: (error) => failures.push(error),
  });
  return { stream, clock, reader, methods, nonsense, failures };
}

/** Lets streams and microtasks do what they can without the clock. */
const turn = (): Promise<void> =>
  new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

test('a notification in the same chunk is handled before the answer behind it', async () => {
  const { stream, methods } = newReader();
  stream.write(`${note(1)}{"jsonrpc":"2.0","id":1,"result":{}}\n${note(2)}`);
  await turn();
  expect(methods).toEqual(['n/1', 'answer', 'n/2']);
});

test('a byte order mark before the first message is none of it', async () => {
  const { stream, methods, nonsense } = newReader();
  stream.write(`\uFEFF${note(1)}${note(2)}`);
  await turn();
  expect([methods, nonsense]).toEqual([['n/1', 'n/2'], []]);
});

test('a batch of a server before 2025-06-18 is all of its messages', async () => {
  const { stream, methods } = newReader();
  stream.write(`[${note(1).trim()},${note(2).trim()}]\r\n`);
  await turn();
  expect(methods).toEqual(['n/1', 'n/2']);
});

test('of many lines in one chunk, others get their turn after every 256', async () => {
  const { stream, clock, methods } = newReader();
  const lines = Array.from({ length: 600 }, (_, n) => note(n));
  stream.write(lines.join(''));
  await turn();
  expect(methods).toHaveLength(256);
  expect(stream.isPaused()).toBe(true);
  await clock.settle();
  await turn();
  expect(methods).toEqual(lines.map((_, n) => `n/${n}`));
  stream.write(note(600));
  await turn();
  expect(methods).toHaveLength(601);
});

test('what came is delivered before the end of it is told, though the stream has ended', async () => {
  const { stream, clock, reader, methods } = newReader();
  const ends: number[] = [];
  reader.afterReading(() => ends.push(methods.length));
  stream.end(Array.from({ length: 600 }, (_, n) => note(n)).join(''));
  await turn();
  reader.afterReading(() => ends.push(methods.length));
  await clock.settle();
  await turn();
  expect([ends, methods.length]).toEqual([[0, 600], 600]);
});

test('nothing is lost of what comes while others have their turn', async () => {
  const { stream, clock, methods } = newReader();
  stream.write(Array.from({ length: 300 }, (_, n) => note(n)).join(''));
  await turn();
  // As Node does to the pipes of a process that has ended.
  stream.resume();
  stream.write(note(300));
  await turn();
  stream.resume();
  stream.write(note(301));
  await turn();
  await clock.settle();
  await turn();
  expect(methods).toEqual(Array.from({ length: 302 }, (_, n) => `n/${n}`));
});

test('after a large chunk others get their turn before the next', async () => {
  const { stream, clock, methods } = newReader();
  const large = `{"jsonrpc":"2.0","method":"large","params":{"x":"${'x'.repeat(40_000)}"}}\n`;
  stream.write(large);
  stream.write(note(2));
  await turn();
  expect(methods).toEqual(['large']);
  await clock.settle();
  await turn();
  expect(methods).toEqual(['large', 'n/2']);
});

test('10,000 lines in a minute may be no messages; more are a flood', async () => {
  const { stream, clock, nonsense, failures, methods } = newReader();
  stream.write('nonsense\n'.repeat(9_999));
  stream.write(`\n${note(1)}`);
  for (let n = 0; n < 50; n += 1) {
    await clock.settle();
    await turn();
  }
  // An empty line counts, and nobody need hear of it.
  expect([nonsense.length, methods.length, failures.length]).toEqual([9_999, 1, 0]);
  stream.write('nonsense\n');
  await turn();
  expect(failures).toEqual([expect.objectContaining({ code: 'FLOODED', sessionLost: true })]);
  expect(stream.destroyed).toBe(true);
});

test('lines that are no messages are forgiven with time', async () => {
  const { stream, clock, failures } = newReader();
  for (let minute = 0; minute < 3; minute += 1) {
    stream.write('nonsense\n'.repeat(9_000));
    for (let n = 0; n < 50; n += 1) {
      await clock.settle();
      await turn();
    }
    await clock.advance(60_000);
  }
  expect(failures).toEqual([]);
});

test('a line over the bound ends it all, once', async () => {
  const { stream, methods, failures } = newReader(100);
  stream.write(`${note(1)}${'x'.repeat(101)}`);
  await turn();
  expect(methods).toEqual(['n/1']);
  expect(failures).toEqual([
    expect.objectContaining({
      code: 'MESSAGE_TOO_LARGE',
      cause: expect.objectContaining({ maxMessageBytes: 100 }),
    }),
  ]);
  expect(stream.destroyed).toBe(true);
});

test('of what comes after the end a megabyte is thrown away, and then nothing is read', async () => {
  const { stream, clock, reader, methods } = newReader();
  stream.write(Array.from({ length: 600 }, (_, n) => note(n)).join(''));
  await turn();
  reader.discard();
  await clock.settle();
  for (let n = 0; n < 16; n += 1) stream.write(Buffer.alloc(64 * 1024));
  await turn();
  expect(stream.destroyed).toBe(false);
  stream.write('x');
  await turn();
  expect([stream.destroyed, methods.length]).toEqual([true, 256]);
});
