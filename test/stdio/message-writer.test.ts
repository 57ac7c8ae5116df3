// Messages to a server that reads them, slowly or not at all: in order, and each told truly how far
// it came.

import { Writable } from 'node:stream';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { ManualClock } from 'mcp-session-pool/testing';
import { expect, test } from 'vitest';
import { MessageWriter } from '../../src/stdio/message-writer.ts';

const request = (id: number, more = ''): JSONRPCMessage => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { more },
});

/** A pipe whose other end reads when it is told to. */
function newPipe() {
  const written: string[] = [];
  let reads: (() => void)[] = [];
  const stream = new Writable({
    decodeStrings: false,
    write: (text: string, _encoding, done) => {
      written.push(text);
      reads.push(() => done());
    },
  });
  const read = async (): Promise<void> => {
    const due = reads;
    reads = [];
    for (const each of due) each();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { stream, written, read };
}

/** How a promise has ended so far. */
function watch(promise: Promise<void>): { end: unknown } {
  const seen: { end: unknown } = { end: 'pending' };
  promise.then(
    () => {
      seen.end = 'written';
    },
    (error) => {
      seen.end = error;
    },
  );
  return seen;
}

const idsIn = (text: string): number[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { id: number }).id);

function newWriter() {
  const pipe = newPipe();
  const clock = new ManualClock();
  return { ...pipe, clock, writer: new MessageWriter(pipe.stream, clock) };
}

test('one write is under way at a time, and what waits goes out together, in order', async () => {
  const { writer, written, read } = newWriter();
  const sent = [1, 2, 3].map((id) => watch(writer.send(request(id))));
  expect(written.map(idsIn)).toEqual([[1]]);
  await read();
  expect(written.map(idsIn)).toEqual([[1], [2, 3]]);
  expect(sent.map(({ end }) => end)).toEqual(['written', 'pending', 'pending']);
  await read();
  expect(sent.map(({ end }) => end)).toEqual(['written', 'written', 'written']);
});

test('what goes out together is little, so that the fate of little is unknown', async () => {
  const { writer, written, read } = newWriter();
  for (let id = 1; id <= 5; id += 1) void writer.send(request(id, 'x'.repeat(30_000)));
  await read();
  await read();
  expect(written.map(idsIn)).toEqual([[1], [2, 3], [4, 5]]);
});

test('a failure tells what was begun from what was not', async () => {
  const { writer } = newWriter();
  const [begun, waiting] = [1, 2].map((id) => watch(writer.send(request(id))));
  const [unsent, sent] = [new Error('unsent'), new Error('sent')];
  writer.fail(unsent, sent);
  const late = watch(writer.send(request(3)));
  await new Promise((resolve) => setImmediate(resolve));
  expect([begun?.end, waiting?.end, late.end]).toEqual([sent, unsent, unsent]);
});

test('a request that was not written is taken back, and nobody hears of it', async () => {
  const { writer, written, read } = newWriter();
  const [, second] = [1, 2, 3].map((id) => watch(writer.send(request(id))));
  expect([1, 2, 2, 9].map((id) => writer.withdraw(id))).toEqual([false, true, false, false]);
  await read();
  expect(second?.end).toMatchObject({ code: 'WITHDRAWN', execution: 'not-executed' });
  expect(written.map(idsIn)).toEqual([[1], [3]]);
});

test('what waits for a server that reads nothing for 30 s is given up, not executed', async () => {
  const { writer, clock, read } = newWriter();
  const begun = watch(writer.send(request(1)));
  await clock.advance(10_000);
  const waiting = watch(writer.send(request(2)));
  expect(clock.referencedCount).toBe(0);
  await clock.advance(29_999);
  expect(waiting.end).toBe('pending');
  await clock.advance(1);
  expect(waiting.end).toMatchObject({
    code: 'TIMEOUT',
    execution: 'not-executed',
    sessionLost: false,
  });
  expect(begun.end).toBe('pending');
  await read();
  expect([begun.end, clock.pendingCount]).toEqual(['written', 0]);
});

test('a server that reads on has all the time again', async () => {
  const { writer, clock, read } = newWriter();
  const sent = [1, 2].map((id) => watch(writer.send(request(id, 'x'.repeat(70_000)))));
  const last = watch(writer.send(request(3)));
  await clock.advance(29_000);
  await read();
  await clock.advance(29_000);
  expect([sent[0]?.end, last.end]).toEqual(['written', 'pending']);
  await read();
  await read();
  expect([last.end, clock.pendingCount]).toEqual(['written', 0]);
});

test('1,024 messages wait, and 64 MiB; more are refused', async () => {
  const { writer, read } = newWriter();
  const sent = Array.from({ length: 1_026 }, (_, n) => watch(writer.send(request(n))));
  await new Promise((resolve) => setImmediate(resolve));
  expect(sent.at(-1)?.end).toMatchObject({ code: 'SATURATED', execution: 'not-executed' });
  expect(sent.at(-2)?.end).toBe('pending');
  await read();
  await read();
  void writer.send(request(1));
  const large = watch(writer.send(request(2, 'x'.repeat(40 * 1024 * 1024))));
  const tooMuch = watch(writer.send(request(3, 'x'.repeat(40 * 1024 * 1024))));
  await new Promise((resolve) => setImmediate(resolve));
  expect(large.end).toBe('pending');
  expect(tooMuch.end).toMatchObject({ code: 'SATURATED' });
});

test('a last word goes past what waits', () => {
  const { writer, stream } = newWriter();
  for (const id of [1, 2]) void writer.send(request(id)).catch(() => {});
  writer.fail(new Error('closing'), new Error('closing'));
  writer.sendLastWord(request(3));
  writer.end();
  expect(stream.writableLength).toBeGreaterThan(0);
  expect(stream.writableEnded).toBe(true);
  // Neither is an error of the stream.
  writer.sendLastWord(request(4));
  writer.end();
});

test('what is no JSON is the fault of who sends it', () => {
  const { writer } = newWriter();
  const endless: Record<string, unknown> = {};
  endless['self'] = endless;
  const message = { jsonrpc: '2.0', method: 'a', params: endless } as JSONRPCMessage;
  expect(() => writer.send(message)).toThrow(TypeError);
});
