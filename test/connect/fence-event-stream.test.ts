// The scanner of event streams, cut at every byte. The reference is the parser that the SDK reads
// with: what it makes of the scanned bytes must be what it makes of the original ones, but for the
// values of `retry`.

import { createParser } from 'eventsource-parser';
import { describe, expect, test } from 'vitest';
import { EventStreamScanner } from '../../src/connect/event-stream-scanner.ts';

const MAX = 1_000_000;
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

interface Read {
  readonly events: unknown[];
  readonly retries: number[];
}

/**
 * Reads bytes with the SDK's parser. In one piece: decoded in several, the TextDecoder of Node 26
 * strips a second byte order mark when the first one is cut.
 */
function read(bytes: Uint8Array): Read {
  const events: unknown[] = [];
  const retries: number[] = [];
  const parser = createParser({
    onEvent: (event) => events.push(event),
    onRetry: (retry) => retries.push(retry),
  });
  parser.feed(new TextDecoder().decode(bytes));
  // A last CR is a line end only once it is clear that no LF follows.
  parser.feed(':\n');
  return { events, retries };
}

function scan(chunks: readonly Uint8Array[]): { out: Uint8Array[]; scanner: EventStreamScanner } {
  const scanner = new EventStreamScanner(MAX);
  return { out: chunks.map((chunk) => scanner.take(chunk)), scanner };
}

/** Every way to cut `bytes` in two, every way to cut it in three, and byte by byte. */
function* cuts(bytes: Uint8Array): Generator<Uint8Array[]> {
  yield [bytes];
  yield [...bytes].map((_byte, at) => bytes.subarray(at, at + 1));
  for (let first = 0; first <= bytes.length; first += 1) {
    for (let second = first; second <= bytes.length; second += 1) {
      yield [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
    }
  }
}

interface Case {
  readonly name: string;
  readonly text: string;
  readonly passed?: string;
  readonly retryMs?: number;
  readonly lastEventId?: string;
  readonly broughtMessage?: boolean;
}

const MESSAGE = 'data: {"a":1}\n\n';

const CASES: readonly Case[] = [
  { name: 'a message', text: MESSAGE, broughtMessage: true },
  {
    name: 'CRLF',
    text: 'retry: 0\r\ndata: 1\r\n\r\n',
    passed: 'retry: 1000\r\ndata: 1\r\n\r\n',
    retryMs: 1_000,
    broughtMessage: true,
  },
  {
    name: 'CR alone',
    text: 'retry: 0\rid: 7\rdata: 1\r\r',
    passed: 'retry: 1000\rid: 7\rdata: 1\r\r',
    retryMs: 1_000,
    lastEventId: '7',
    broughtMessage: true,
  },
  {
    name: 'mixed line ends',
    text: 'id: 7\r\rid: 8\ndata:\r\n\r\ndata: 9\n\r',
    lastEventId: '8',
    broughtMessage: true,
  },
  {
    name: 'a byte order mark',
    text: '\uFEFFretry: 5\n\n',
    passed: '\uFEFFretry: 1000\n\n',
    retryMs: 1_000,
  },
  { name: 'two byte order marks', text: '\uFEFF\uFEFFretry: 5\n\n' },
  {
    name: 'half a byte order mark',
    text: '\u00EFretry: 5\n\nretry:6\n',
    passed: '\u00EFretry: 5\n\nretry:1000\n',
    retryMs: 1_000,
  },
  {
    name: 'an overflowing retry',
    text: 'retry: 3000000000\n\n',
    passed: 'retry: 1000\n\n',
    retryMs: 300_000,
  },
  {
    name: 'a retry of forty digits',
    text: `retry: ${'9'.repeat(40)}\n\n`,
    passed: 'retry: 1000\n\n',
    retryMs: 300_000,
  },
  {
    name: 'a retry in range, reported as it is',
    text: 'retry: 42000\n\n',
    passed: 'retry: 1000\n\n',
    retryMs: 42_000,
  },
  { name: 'a retry without a space', text: 'retry:0\n', passed: 'retry:1000\n', retryMs: 1_000 },
  {
    name: 'several retries',
    text: 'retry: 1\nretry: 22\nretry:333\ndata: x\n\n',
    passed: 'retry: 1000\nretry: 1000\nretry:1000\ndata: x\n\n',
    retryMs: 1_000,
    broughtMessage: true,
  },
  { name: 'a retry with two spaces, which is none', text: 'retry:  5\n\n' },
  {
    name: 'a retry with a letter, which is none',
    text: 'retry: 5s\n\n',
    passed: 'retry: 1000s\n\n',
  },
  { name: 'a retry without digits', text: 'retry: \nretry:\nretry\nretry: soon\n\n' },
  {
    name: 'other names',
    text: 'Retry: 5\n retry: 5\nretry : 5\nretryy: 5\nxretry: 5\n:retry: 5\n\n',
  },
  { name: 'a retry within data', text: 'data: retry: 0\ndata:retry: 0\n\n', broughtMessage: true },
  {
    name: 'a priming event',
    text: 'id: p1\nretry: 0\ndata: \n\n',
    passed: 'id: p1\nretry: 1000\ndata: \n\n',
    retryMs: 1_000,
    lastEventId: 'p1',
  },
  { name: 'an id without data, which does not count', text: 'id: 1\n\n' },
  { name: 'an event that never ends', text: 'id: 1\ndata: x\n' },
  {
    name: 'an empty id, which changes nothing',
    text: 'id: 1\ndata\n\nid:\ndata\n\nid\ndata\n\n',
    lastEventId: '1',
  },
  {
    name: 'multi-byte ids and data',
    text: 'id: ü€😀\ndata: ü€😀\n\n',
    lastEventId: 'ü€😀',
    broughtMessage: true,
  },
  { name: 'an event of another type', text: 'event: endpoint\ndata: /x\n\n' },
  { name: 'an event of type message', text: 'event: message\ndata: 1\n\n', broughtMessage: true },
  {
    name: 'another type, then none',
    text: 'event: endpoint\ndata: /x\n\ndata: 1\n\n',
    broughtMessage: true,
  },
  { name: 'comments', text: ': ping\n\n:\n\n' },
];

describe.each(CASES)('$name, cut anywhere,', (each) => {
  const bytes = encode(each.text);

  test('passes as it came but for `retry`, and is noted', () => {
    for (const chunks of cuts(bytes)) {
      const { out, scanner } = scan(chunks);
      const seen = {
        passed: Buffer.concat(out).toString(),
        retryMs: scanner.retryMs,
        lastEventId: scanner.lastEventId,
        broughtMessage: scanner.broughtMessage,
      };
      expect(seen, chunks.map((chunk) => chunk.length).join('+')).toEqual({
        passed: each.passed ?? each.text,
        retryMs: each.retryMs,
        lastEventId: each.lastEventId,
        broughtMessage: each.broughtMessage ?? false,
      });
    }
  });

  test('reads the same to the SDK, with each `retry` the floor', () => {
    const original = read(bytes);
    for (const chunks of cuts(bytes)) {
      const { events, retries } = read(Buffer.concat(scan(chunks).out));
      expect(events).toEqual(original.events);
      expect(retries).toEqual(original.retries.map(() => 1_000));
    }
  });
});

test('random streams read the same to the SDK, and the scanner knows their ids and retries', () => {
  const words = ['data', 'id', 'event', 'retry', ':', ':', ' ', '\n', '\n', '\r', '\r\n', '5', '0'];
  words.push('message', 'x', 'ü', '\uFEFF', '\n\n');
  // A fixed linear congruence: a failure comes back on the next run.
  let seed = 7;
  const next = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  for (let run = 0; run < 3_000; run += 1) {
    const text = Array.from({ length: 1 + next(24) }, () => words[next(words.length)]).join('');
    const bytes = encode(text);
    const at = next(bytes.length + 1);
    const { out, scanner } = scan([bytes.subarray(0, at), bytes.subarray(at)]);
    const original = read(bytes);
    const scanned = read(Buffer.concat(out));
    expect(scanned.events, JSON.stringify(text)).toEqual(original.events);
    expect(scanned.retries, JSON.stringify(text)).toEqual(original.retries.map(() => 1_000));
    const ids = (original.events as { id?: string }[]).flatMap(({ id }) => (id ? [id] : []));
    // What the reference reads after the end was added may be an event more than has ended.
    if (/[\n\r]$/.test(text)) expect(scanner.lastEventId, JSON.stringify(text)).toBe(ids.at(-1));
  }
});

test('a chunk without a retry field passes as the very same object', () => {
  const scanner = new EventStreamScanner(MAX);
  for (const text of ['data: 1\n', '\nid: 4\nda', 'ta: retry: 4\n\n', '', ': x\n']) {
    const chunk = encode(text);
    expect(scanner.take(chunk)).toBe(chunk);
  }
});

test('an event over the bound throws, however it is cut; two under it do not', () => {
  const event = encode(`data: ${'x'.repeat(50)}\n\n`);
  for (const size of [1, 7, 1_000]) {
    const feed = (scanner: EventStreamScanner): void => {
      for (let round = 0; round < 3; round += 1) {
        for (let at = 0; at < event.length; at += size) scanner.take(event.subarray(at, at + size));
      }
    };
    expect(() => feed(new EventStreamScanner(event.length))).not.toThrow();
    expect(() => feed(new EventStreamScanner(event.length - 4))).toThrow(
      expect.objectContaining({ code: 'MESSAGE_TOO_LARGE', maxMessageBytes: event.length - 4 }),
    );
  }
});

test('an id too long to be compared is forgotten, not kept in part', () => {
  const { scanner } = scan([encode(`id: ${'i'.repeat(5_000)}\ndata: 1\n\n`)]);
  expect(scanner.lastEventId).toBeUndefined();
  expect(scanner.broughtMessage).toBe(true);
});
