// SseDecoder against the standard, as a second parser reads it, however the bytes are cut.

import { describe, expect, test } from 'vitest';
import { SseDecoder, type StreamEvent } from '../../src/http/sse-decoder.ts';
import { Dice } from '../support/random.ts';
import { data, piecesOf, readEvents, referenceEvents } from '../support/sse-reference.ts';

const MAX_BYTES = 1 << 20;

const read = (chunks: readonly Buffer[]) => readEvents(chunks, MAX_BYTES);
const bytesOf = (bytes: Buffer) => piecesOf(bytes, 1);

describe('what the standard says of an event stream holds:', () => {
  const table: Readonly<Record<string, readonly [text: string, ...told: unknown[]]>> = {
    'an event is told at its blank line': ['data: a\n\ndata: b\n\n', data('a'), data('b')],
    'an event without its blank line is not told': ['data: a\n'],
    'one space after the colon is left out': ['data:a\ndata: a\ndata:  a\n\n', data('a\na\n a')],
    'lines of data are joined by LF': ['data: a\ndata\ndata:\ndata: b\n\n', data('a\n\n\nb')],
    'an event may have empty data': ['data\n\ndata:\n\n', data(''), data('')],
    'an event has a name': [
      'event: x\ndata: a\n\ndata: b\n\n',
      data('a', { event: 'x' }),
      data('b'),
    ],
    'an empty name is none': ['event: x\nevent\ndata: a\n\n', data('a')],
    'the last of several names counts': [
      'event: x\nevent:y\ndata: a\n\n',
      data('a', { event: 'y' }),
    ],
    'an event without data or id is none': ['event: x\n\n: c\n\n\n\n'],
    'an event has an id': ['id: 1\ndata: a\n\ndata: b\n\n', data('a', { id: '1' }), data('b')],
    'an id may come after the data': ['data: a\nid: 1\n\n', data('a', { id: '1' })],
    'an empty id is an id': [
      'id\ndata: a\n\nid:\ndata: b\n\n',
      data('a', { id: '' }),
      data('b', { id: '' }),
    ],
    'an id with NUL is none': ['id: 1\0\ndata: a\n\n', data('a')],
    'comments are left out': [': c\ndata: a\n:\n: data: x\n\n:\n', data('a')],
    'unknown fields are left out': [
      'datax: 1\ndat: 1\ndata : 1\n data: 1\nDATA: 1\nids: 2\nidx\nevents: 1\nretrys: 1\ndata: a\n\n',
      data('a'),
    ],
    'retry is told at once': ['data: a\nretry: 250\ndata: b\n\n', { retryMs: 250 }, data('a\nb')],
    'a retry that is no number is left out': [
      'retry\nretry:\nretry: \nretry: 1s\nretry: -1\nretry: 1.5\nretry:  5\nretry: ５\ndata: a\n\n',
      data('a'),
    ],
    'retry may have leading zeros and no space': ['retry:007\n', { retryMs: 7 }],
    'a byte order mark is left out once': ['\uFEFFdata: a\n\n\uFEFFdata: b\n\n', data('a')],
    'a byte order mark in the data stays': ['data: \uFEFFa\n\n', data('\uFEFFa')],
    'what looks like the bytes of the mark is none': ['\u00EF\u00BB\u00BFdata: a\n\n'],
    'a value may hold colons': ['data: {"a":1}\nid: a:b\n\n', data('{"a":1}', { id: 'a:b' })],
    'line ends may be CR': ['data: a\rdata: b\r\rdata: c\r\r', data('a\nb'), data('c')],
    'line ends may be CRLF': ['data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n', data('a\nb'), data('c')],
    'line ends may be mixed': ['data: a\r\rdata: b\n\r\ndata: c\r\n\rdata: d\n\n', ...abcd()],
    'U+2028 and U+0085 end no line': ['data: a\u2028b\u0085c\n\n', data('a\u2028b\u0085c')],
  };

  test.each(Object.entries(table))('%s', (_name, [text, ...told]) => {
    expect(read([Buffer.from(text)])).toEqual(told);
    expect(referenceEvents(Buffer.from(text))).toEqual(told);
  });
});

describe('an event of an id without data', () => {
  test('is told with empty data, however it is named', () => {
    expect(read([Buffer.from('id: 5\n\nid: 6\nevent: x\n\ndata: a\n\n')])).toEqual([
      data('', { id: '5' }),
      data('', { id: '6', event: 'x' }),
      data('a'),
    ]);
  });

  test('is told when the id is empty, which takes the last one back', () => {
    expect(read([Buffer.from('id\n\nid:\n\n')])).toEqual([
      data('', { id: '' }),
      data('', { id: '' }),
    ]);
  });

  test('is not told when its id holds NUL', () => {
    expect(read([Buffer.from('id: \0\n\nid: 1\nid: \0\n\n')])).toEqual([data('', { id: '1' })]);
  });

  test('leaves no trace in the next event', () => {
    expect(read([Buffer.from('id: 5\n\ndata: a\ndata: b\n\n')])).toEqual([
      data('', { id: '5' }),
      data('a\nb'),
    ]);
  });
});

/** Everything at once; the characters take one to four bytes. */
const FIXTURE = Buffer.from(
  '\uFEFF: hello\r\nretry: 100\r\n\r\nid: 1\r\n\r\nevent: message\r\nid: é漢🎈\r\ndata: {"a":"é漢🎈"}\r\n\r\n'
    .concat('data: x\rdata: y\r\rdata\r\rid\ndata: \n\nid: 2\nevent: ping\n\nfield: z\nretry: no\n')
    .concat('data:🎈\ndata:  two\nid: 3\n\n: end\n\nevent: lost\ndata: lost'),
);

test('a stream gives the same events when cut at any byte, and byte by byte', () => {
  const whole = read([FIXTURE]);
  expect(whole).toEqual([
    { retryMs: 100 },
    data('', { id: '1' }),
    data('{"a":"é漢🎈"}', { id: 'é漢🎈', event: 'message' }),
    data('x\ny'),
    data(''),
    data('', { id: '' }),
    data('', { id: '2', event: 'ping' }),
    data('🎈\n two', { id: '3' }),
  ]);
  expect(referenceEvents(FIXTURE)).toEqual(whole);
  for (let at = 0; at <= FIXTURE.length; at += 1) {
    const cut = [FIXTURE.subarray(0, at), FIXTURE.subarray(at)];
    expect(read(cut), `cut at ${at}`).toEqual(whole);
  }
  expect(read(bytesOf(FIXTURE))).toEqual(whole);
});

test('2,000 random streams, cut at random, give the events of the reference', () => {
  const seed = 20_260_701;
  const dice = new Dice(seed);
  let events = 0;
  for (let n = 0; n < 2_000; n += 1) {
    const bytes = randomStream(dice);
    const expected = referenceEvents(bytes);
    events += expected.length;
    const where = `seed=${seed} n=${n} ${JSON.stringify(bytes.toString('latin1'))}`;
    expect(read([bytes]), where).toEqual(expected);
    expect(read(randomCuts(bytes, dice)), where).toEqual(expected);
    expect(read(bytesOf(bytes)), where).toEqual(expected);
  }
  expect(events).toBeGreaterThan(4_000);
});

test('an event is told before the byte after its blank line, also when lines end in CR', () => {
  for (const lineEnd of ['\n', '\r', '\r\n']) {
    const text = `data: a${lineEnd}${lineEnd}`;
    expect(read(bytesOf(Buffer.from(text))), JSON.stringify(text)).toEqual([data('a')]);
  }
});

describe('stop', () => {
  test('from within onEvent, nothing more is told: neither of that chunk nor of later ones', () => {
    const told: unknown[] = [];
    const decoder = new SseDecoder(MAX_BYTES, {
      onEvent: (event) => {
        told.push(event.data);
        if (event.data === 'b') decoder.stop();
      },
      onRetry: (retryMs) => told.push(retryMs),
    });
    decoder.write(Buffer.from('data: a\n\ndata: b\n\nretry: 1\ndata: c\n\nid: 4\n\n'));
    decoder.write(Buffer.from('data: d\n\n'));
    expect(told).toEqual(['a', 'b']);
  });

  test('from within onRetry, the event in hand is not told', () => {
    const told: unknown[] = [];
    const decoder = new SseDecoder(MAX_BYTES, {
      onEvent: (event) => told.push(event),
      onRetry: (retryMs) => {
        told.push(retryMs);
        decoder.stop();
      },
    });
    decoder.write(Buffer.from('data: a\nretry: 1\nretry: 2\n\n'));
    expect(told).toEqual([1]);
  });

  test('makes later bytes of any size harmless', () => {
    const decoder = new SseDecoder(1, { onEvent: () => {}, onRetry: () => {} });
    decoder.stop();
    decoder.stop();
    decoder.write(Buffer.alloc(100_000, 'x'));
    expect(decoder).toBeDefined();
  });
});

test('a long retry that is cut is not taken for a short one', () => {
  const long = `retry: ${'0'.repeat(100)}`;
  expect(read([Buffer.from(long), Buffer.from('retry: 5\n')])).toEqual([]);
  expect(read([Buffer.from(`${long}retry: 5\n`)])).toEqual([]);
});

function abcd(): StreamEvent[] {
  return ['a', 'b', 'c', 'd'].map((each) => data(each));
}

function randomCuts(bytes: Buffer, dice: Dice): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = at + dice.between(0, 9);
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}

/** Lines that are sound, nearly so, or not at all; some bytes are no UTF-8. */
function randomStream(dice: Dice): Buffer {
  const names = [
    'data',
    'data',
    'data',
    'id',
    'event',
    'retry',
    '',
    'dat',
    'datas',
    'ID',
    '\uFEFF',
  ];
  const values = ['', ' ', 'a', ' b', '1', ' 20', '\0', 'é', ' 漢🎈', 'x:y', '\uFEFF', 'retry: 5'];
  const ends = ['\n', '\n', '\n\n', '\r', '\r\n', '\r\n\r\n', '\r\r', ''];
  const parts: Buffer[] = dice.chance(0.3) ? [Buffer.from('\uFEFF')] : [];
  for (let left = dice.between(1, 20); left > 0; left -= 1) {
    parts.push(Buffer.from(dice.of(names)));
    if (dice.chance(0.9)) parts.push(Buffer.from(`:${dice.of(values)}`));
    if (dice.chance(0.05)) parts.push(Buffer.from([dice.between(0x80, 0xff)]));
    parts.push(Buffer.from(dice.of(ends)));
  }
  return Buffer.concat(parts);
}
