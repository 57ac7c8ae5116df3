// Garbles the bytes of an answer: a valid beginning and then something else, wrong lengths, huge or
// broken headers, a second answer nobody asked for. Knows bytes only.

import type { Dice } from './dice.ts';
import type { FuzzAnswer } from './fuzz-answers.ts';

/** `answer`, garbled in a way that `dice` chooses. */
export function garbled(dice: Dice, answer: FuzzAnswer): FuzzAnswer {
  const bytes = Buffer.concat(answer.pieces);
  const kind = dice.of([
    ...(['noise', 'flip', 'truncate', 'insert', 'huge header', 'wrong length', 'twice'] as const),
    ...(['odd header', 'wrong coding', 'no head'] as const),
  ]);
  const pieces = [garble(dice, kind, bytes)];
  return { kind: `${answer.kind}, ${kind}`, pieces, tail: answer.tail };
}

type Kind =
  | ('noise' | 'flip' | 'truncate' | 'insert' | 'huge header' | 'wrong length' | 'twice')
  | ('odd header' | 'wrong coding' | 'no head');

function garble(dice: Dice, kind: Kind, bytes: Buffer): Buffer {
  switch (kind) {
    case 'noise':
      return noise(dice, dice.between(1, 5_000));
    case 'flip':
      return flipped(dice, bytes);
    case 'truncate':
      return bytes.subarray(0, dice.between(0, bytes.length));
    case 'insert': {
      const at = dice.between(0, bytes.length);
      return Buffer.concat([bytes.subarray(0, at), noise(dice, 50), bytes.subarray(at)]);
    }
    case 'huge header':
      return withHeader(bytes, `x-huge: ${'h'.repeat(dice.between(10_000, 120_000))}`);
    case 'wrong length':
      return withHeader(bytes, `content-length: ${dice.of(['0', '1', '5', '999999', '-1', 'x'])}`);
    case 'twice':
      return Buffer.concat([bytes, bytes]);
    case 'odd header':
      return withHeader(bytes, dice.of(['no colon', ': no name', 'a b: c', 'x: \u0001', '\u0000']));
    case 'wrong coding':
      return withHeader(bytes, `content-encoding: ${dice.of(['gzip', 'br', 'deflate', 'x', ','])}`);
    case 'no head':
      return bytes.subarray(Math.max(0, bytes.indexOf('\r\n\r\n')));
    default:
      return kind satisfies never;
  }
}

function noise(dice: Dice, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => dice.between(0, 255)));
}

/** A few bytes of it replaced by others. */
function flipped(dice: Dice, bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  if (copy.length === 0) return copy;
  for (let left = dice.between(1, 5); left > 0; left -= 1) {
    copy[dice.between(0, copy.length - 1)] = dice.between(0, 255);
  }
  return copy;
}

/** One more line before the first of the headers. */
function withHeader(bytes: Buffer, line: string): Buffer {
  const at = bytes.indexOf('\r\n') + 2;
  if (at < 2) return bytes;
  const added = Buffer.from(`${line}\r\n`, 'latin1');
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at)]);
}
