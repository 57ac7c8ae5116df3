// Watches the bytes of one event stream pass by: bounds each event, notes what the stream brought,
// and replaces the value of each `retry` field by the reconnect floor. Bytes without such a field
// pass as they came, uncopied. It dispatches no events and knows no fence, stream or timer.

import { MessageTooLargeError } from '../http/message-too-large.ts';
import { clampRetryMs, RECONNECT_FLOOR_MS } from '../policy/reconnect-governor.ts';
import type { BodyGuard } from './fenced-body.ts';

const LF = 10;
const CR = 13;
const SPACE = 32;
const COLON = 58;
const DIGIT_0 = 48;
const DIGIT_9 = 57;
const BYTE_ORDER_MARK: readonly number[] = [0xef, 0xbb, 0xbf];
/** Of the fields watched, `event` and `retry` have the longest names. */
const NAME_MAX_BYTES = 5;
/** Longer values of `id` and `event` are not remembered: they are compared, never sent. */
const VALUE_MAX_BYTES = 1_024;
/** As many digits as a number holds exactly. More of them are too large anyway. */
const RETRY_MAX_DIGITS = 15;
const NO_BYTES: Buffer = Buffer.alloc(0);
const FLOOR_DIGITS: Uint8Array = new TextEncoder().encode(String(RECONNECT_FLOOR_MS));

type Field = 'data' | 'event' | 'id' | 'retry' | 'other';

const FIELDS: ReadonlyMap<string, Field> = new Map([
  ['data', 'data'],
  ['event', 'event'],
  ['id', 'id'],
  ['retry', 'retry'],
]);

/** Where in a line the next byte stands. `rest`: nothing up to the line's end matters. */
type Phase = 'mark' | 'name' | 'space' | 'value' | 'rest';

/**
 * Scans one event stream, chunk by chunk; chunks may be cut anywhere.
 *
 * Why `retry` becomes the floor and not just a clamped value: the transport's timer that waits it
 * out can't be cleared from outside and keeps the process alive (hazard 5). So the transport waits
 * one second, and the governor, whose timers we own, makes it wait for the rest.
 */
export class EventStreamScanner implements BodyGuard {
  readonly #maxEventBytes: number;

  /** The chunk being scanned, and the next LF and CR in it (-1: none left). */
  #chunk: Buffer = NO_BYTES;
  #nextLf = -1;
  #nextCr = -1;
  /** What leaves instead of the chunk; undefined while the chunk is still good as it is. */
  #pieces: Uint8Array[] | undefined;
  /** Up to here the chunk has been copied to `#pieces`, or left out. */
  #copiedTo = 0;

  #phase: Phase = 'mark';
  /** Bytes of the byte order mark seen so far. */
  #markBytes = 0;
  /** Whether the last byte was a CR: an LF after it belongs to the same line end. */
  #isAfterCr = false;
  #name = '';
  #field: Field = 'other';
  /** The digits of the `retry` in hand. */
  #digits = '';
  /** The bytes of the `id` or `event` in hand, as Latin-1, up to one over `VALUE_MAX_BYTES`. */
  #value = '';

  /** The event in hand, from one blank line to the next. */
  #eventBytes = 0;
  #eventStartsAt = 0;
  #hasDataLine = false;
  #hasData = false;
  #isMessage = true;
  #id: string | undefined;

  #broughtMessage = false;
  #lastEventId: string | undefined;
  #retryMs: number | undefined;

  constructor(maxEventBytes: number) {
    this.#maxEventBytes = maxEventBytes;
  }

  /** Whether an event of type `message` with data in it has come. */
  get broughtMessage(): boolean {
    return this.#broughtMessage;
  }

  /** The id of the latest event that had one. */
  get lastEventId(): string | undefined {
    return this.#lastEventId;
  }

  /** The latest `retry`, clamped. */
  get retryMs(): number | undefined {
    return this.#retryMs;
  }

  /** Takes the next chunk, returns what may pass: most often the chunk itself. */
  take(chunk: Uint8Array): Uint8Array {
    // As a Buffer, because its indexOf takes 2 µs for 64 KiB, that of a Uint8Array 50.
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#chunk = bytes;
    this.#nextLf = bytes.indexOf(LF);
    this.#nextCr = bytes.indexOf(CR);
    this.#pieces = undefined;
    this.#copiedTo = 0;
    this.#eventStartsAt = 0;
    let at = 0;
    // Bound: each step moves forward, or changes to a phase that does.
    while (at < chunk.length) at = this.#step(at);
    this.#eventBytes += chunk.length - this.#eventStartsAt;
    this.#checkSize(this.#eventBytes);
    this.#chunk = NO_BYTES;
    return this.#pieces === undefined ? chunk : concat(this.#pieces, chunk, this.#copiedTo);
  }

  #step(at: number): number {
    const byte = this.#chunk[at];
    if (this.#isAfterCr) {
      this.#isAfterCr = false;
      if (byte === LF) return at + 1;
    }
    switch (this.#phase) {
      case 'mark':
        return this.#readMark(at, byte);
      case 'name':
        return this.#readName(at);
      case 'space':
        this.#phase = 'value';
        return byte === SPACE ? at + 1 : at;
      case 'value':
        return this.#readValue(at);
      case 'rest':
        return this.#skipLine(at);
    }
  }

  /** The stream may begin with a byte order mark, which is no part of the first line. */
  #readMark(at: number, byte: number | undefined): number {
    if (byte !== BYTE_ORDER_MARK[this.#markBytes]) {
      this.#phase = this.#markBytes === 0 ? 'name' : 'rest';
      return at;
    }
    this.#markBytes += 1;
    if (this.#markBytes === BYTE_ORDER_MARK.length) this.#phase = 'name';
    return at + 1;
  }

  #readName(from: number): number {
    for (let at = from; at < this.#chunk.length; at += 1) {
      const byte = this.#chunk[at] as number;
      if (byte === LF || byte === CR) return this.#endLine(at);
      if (byte === COLON) {
        this.#field = FIELDS.get(this.#name) ?? 'other';
        this.#phase = this.#field === 'other' ? 'rest' : 'space';
        return at + 1;
      }
      if (this.#name.length === NAME_MAX_BYTES) {
        this.#phase = 'rest';
        return at;
      }
      this.#name += String.fromCharCode(byte);
    }
    return this.#chunk.length;
  }

  #readValue(at: number): number {
    if (this.#field === 'retry') return this.#readRetry(at);
    const end = this.#lineEnd(at);
    const stop = end === -1 ? this.#chunk.length : end;
    if (this.#field === 'data') {
      if (stop > at) this.#hasData = true;
    } else {
      const room = VALUE_MAX_BYTES + 1 - this.#value.length;
      this.#value += this.#chunk.toString('latin1', at, Math.min(stop, at + room));
    }
    return end === -1 ? stop : this.#endLine(end);
  }

  /** Only digits make a value. The first of them is replaced by the floor, the others left out. */
  #readRetry(from: number): number {
    const isFirst = this.#digits === '';
    let at = from;
    while (at < this.#chunk.length && isDigit(this.#chunk[at] as number)) {
      if (this.#digits.length < RETRY_MAX_DIGITS) {
        this.#digits += String.fromCharCode(this.#chunk[at] as number);
      }
      at += 1;
    }
    if (at > from) {
      this.#pieces ??= [];
      this.#pieces.push(this.#chunk.subarray(this.#copiedTo, from));
      if (isFirst) this.#pieces.push(FLOOR_DIGITS);
      this.#copiedTo = at;
    }
    if (at === this.#chunk.length) return at;
    const byte = this.#chunk[at];
    if (byte === LF || byte === CR) return this.#endLine(at);
    this.#field = 'other';
    this.#phase = 'rest';
    return at;
  }

  #skipLine(at: number): number {
    const end = this.#lineEnd(at);
    return end === -1 ? this.#chunk.length : this.#endLine(end);
  }

  /** The first LF or CR at or after `from`. Each is searched for once per line, not per byte. */
  #lineEnd(from: number): number {
    if (this.#nextLf !== -1 && this.#nextLf < from) this.#nextLf = this.#chunk.indexOf(LF, from);
    if (this.#nextCr !== -1 && this.#nextCr < from) this.#nextCr = this.#chunk.indexOf(CR, from);
    if (this.#nextCr === -1) return this.#nextLf;
    return this.#nextLf === -1 ? this.#nextCr : Math.min(this.#nextLf, this.#nextCr);
  }

  #endLine(at: number): number {
    this.#isAfterCr = this.#chunk[at] === CR;
    if (this.#phase === 'name' && this.#name === '') {
      this.#endEvent(at);
    } else {
      // A line without a colon is a field without a value.
      const field = this.#phase === 'name' ? FIELDS.get(this.#name) : this.#field;
      this.#endField(field ?? 'other');
    }
    this.#phase = 'name';
    this.#name = '';
    this.#field = 'other';
    this.#digits = '';
    this.#value = '';
    return at + 1;
  }

  #endField(field: Field): void {
    switch (field) {
      case 'data':
        this.#hasDataLine = true;
        return;
      case 'event': {
        const type = this.#valueText();
        this.#isMessage = type === '' || type === 'message';
        return;
      }
      case 'id':
        this.#id = this.#valueText();
        return;
      case 'retry':
        if (this.#digits !== '') this.#retryMs = clampRetryMs(Number(this.#digits));
        return;
      case 'other':
        return;
    }
  }

  /** Undefined: too long to be remembered. */
  #valueText(): string | undefined {
    if (this.#value.length > VALUE_MAX_BYTES) return undefined;
    return Buffer.from(this.#value, 'latin1').toString();
  }

  /** A blank line. An event without a data line is no event, and its id does not count. */
  #endEvent(at: number): void {
    this.#checkSize(this.#eventBytes + at - this.#eventStartsAt);
    this.#eventBytes = 0;
    this.#eventStartsAt = at + 1;
    if (this.#hasDataLine) {
      if (this.#id) this.#lastEventId = this.#id;
      // A priming event has an id and an empty data line: it is no message.
      if (this.#hasData && this.#isMessage) this.#broughtMessage = true;
    }
    this.#hasDataLine = false;
    this.#hasData = false;
    this.#isMessage = true;
    this.#id = undefined;
  }

  #checkSize(eventBytes: number): void {
    if (eventBytes > this.#maxEventBytes) throw new MessageTooLargeError(this.#maxEventBytes);
  }
}

function isDigit(byte: number): boolean {
  return byte >= DIGIT_0 && byte <= DIGIT_9;
}

/** `pieces`, then what follows `from` in `chunk`. */
function concat(pieces: readonly Uint8Array[], chunk: Uint8Array, from: number): Uint8Array {
  const all = [...pieces, chunk.subarray(from)];
  const whole = new Uint8Array(all.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of all) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
