// What a server writes to its stderr: line by line to whoever logs it, and the last of it kept, to
// tell why the server ended. Bounded in every direction, for it costs us and says little.

import type { Readable } from 'node:stream';
import type { Clock, Timer } from '../clock.ts';

/** In characters. What is longer is cut. */
const MAX_LINE = 4_096;
const TAIL = 4_096;
/** Lines handed on in a period, and bytes read in one: beyond that, the server waits for us. */
const PERIOD_MS = 1_000;
const LINES_PER_PERIOD = 100;
const BYTES_PER_PERIOD = 4 * 1024 * 1024;

/** See the file header. */
export class StderrLines {
  readonly #stream: Readable;
  readonly #clock: Clock;
  /** May not throw. */
  readonly #onLine: ((line: string) => void) | undefined;
  readonly #decoder = new TextDecoder();
  /** The last that came, lines and all. */
  #tail = '';
  /** The beginning of a line whose end has not come. */
  #line = '';
  #periodEndsAt = Number.NEGATIVE_INFINITY;
  /** In this period. */
  #lines = 0;
  #bytes = 0;
  /** Lines that nobody was told of, since somebody was last told. */
  #dropped = 0;
  /** Runs while nothing is read. */
  #timer: Timer | undefined;

  constructor(stream: Readable, clock: Clock, onLine: ((line: string) => void) | undefined) {
    this.#stream = stream;
    this.#clock = clock;
    this.#onLine = onLine;
    stream.on('data', (chunk: Buffer) => this.#onData(chunk));
    stream.on('end', () => this.#flush());
  }

  /** The last that the server wrote. Empty: nothing. */
  get tail(): string {
    return printable(this.#tail).trim();
  }

  /** Reads no more. */
  stop(): void {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flush();
    this.#stream.destroy();
  }

  #onData(chunk: Buffer): void {
    const now = this.#clock.now();
    if (now >= this.#periodEndsAt) this.#startPeriod(now);
    const text = this.#decoder.decode(chunk, { stream: true });
    this.#tail = (this.#tail + text).slice(-TAIL);
    if (this.#onLine !== undefined) this.#cut(text);
    this.#bytes += chunk.length;
    if (this.#bytes < BYTES_PER_PERIOD || this.#timer !== undefined) return;
    this.#stream.pause();
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = undefined;
      this.#stream.resume();
    }, this.#periodEndsAt - now);
    this.#timer.unref();
  }

  #startPeriod(now: number): void {
    this.#periodEndsAt = now + PERIOD_MS;
    this.#lines = 0;
    this.#bytes = 0;
  }

  #cut(text: string): void {
    let at = 0;
    for (;;) {
      const newlineAt = text.indexOf('\n', at);
      const end = newlineAt < 0 ? text.length : newlineAt;
      const room = MAX_LINE - this.#line.length;
      this.#line += text.slice(at, Math.min(end, at + room));
      if (newlineAt < 0) return;
      this.#hand();
      at = newlineAt + 1;
    }
  }

  #hand(): void {
    const line = this.#line;
    this.#line = '';
    if (line.trim() === '') return;
    if (this.#lines >= LINES_PER_PERIOD) {
      this.#dropped += 1;
      return;
    }
    this.#lines += 1;
    this.#tellDropped();
    this.#onLine?.(printable(line).trimEnd());
  }

  #flush(): void {
    if (this.#line !== '') this.#hand();
    this.#tellDropped();
  }

  #tellDropped(): void {
    if (this.#dropped === 0) return;
    this.#onLine?.(`(${this.#dropped} lines were dropped)`);
    this.#dropped = 0;
  }
}

/** A log is no terminal: what would move its cursor or forge a line of it is made visible. */
const printable = (text: string): string =>
  text.replaceAll(/\p{Cc}/gu, (control) => (/[\n\t\r]/.test(control) ? control : '\u{fffd}'));
