// Cuts a stream of bytes into lines of text, and holds no more of an unfinished one than is
// allowed. Pure but for what it holds.

import { MessageTooLargeError } from '../http/message-too-large.ts';

const NEWLINE = 0x0a;
const NOTHING: Buffer = Buffer.alloc(0);

/** See the file header. */
export class LineSplitter {
  readonly #maxBytes: number;
  /** What is being cut, and from where on. */
  #chunk = NOTHING;
  #at = 0;
  /**
   * The beginning of a line whose end has not come, in the first `#heldBytes` of it. One buffer
   * that doubles, not a list: a peer that writes byte by byte would make that a hundred times as
   * large as the line.
   */
  #held = NOTHING;
  #heldBytes = 0;

  /** @param maxBytes Of one line, without its end. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Adds `chunk`. Only after `next` has given `undefined`. */
  push(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /**
   * The next line, without its end; `undefined`: more has to be pushed.
   * @throws MessageTooLargeError. Nothing is held then, and nothing more can be had.
   */
  next(): string | undefined {
    const chunk = this.#chunk;
    const newlineAt = chunk.indexOf(NEWLINE, this.#at);
    const endsAt = newlineAt < 0 ? chunk.length : newlineAt;
    if (this.#heldBytes + endsAt - this.#at > this.#maxBytes) {
      this.clear();
      throw new MessageTooLargeError(this.#maxBytes);
    }
    if (newlineAt >= 0 && this.#heldBytes === 0) {
      const line = chunk.toString('utf8', this.#at, endsAt);
      this.#at = endsAt + 1;
      return line;
    }
    this.#hold(chunk.subarray(this.#at, endsAt));
    this.#at = endsAt + 1;
    if (newlineAt < 0) {
      this.#chunk = NOTHING;
      this.#at = 0;
      return undefined;
    }
    const line = this.#held.toString('utf8', 0, this.#heldBytes);
    this.#held = NOTHING;
    this.#heldBytes = 0;
    return line;
  }

  /** Holds nothing any more. */
  clear(): void {
    this.#chunk = NOTHING;
    this.#at = 0;
    this.#held = NOTHING;
    this.#heldBytes = 0;
  }

  #hold(bytes: Buffer): void {
    if (bytes.length === 0) return;
    const length = this.#heldBytes + bytes.length;
    if (length > this.#held.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(length * 2, 1_024), this.#maxBytes));
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    bytes.copy(this.#held, this.#heldBytes);
    this.#heldBytes = length;
  }
}
