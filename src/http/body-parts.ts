// Collects the body of one JSON answer, within a bound that holds for its memory too: a server may
// send it byte by byte. Knows no JSON.

import { MessageTooLargeError } from './message-too-large.ts';

/** So many parts are kept as they came, which suits bodies of a mebibyte. Later ones are copied. */
const KEPT_PARTS_MAX = 256;
const TAIL_MIN_BYTES = 65_536;
const BYTE_ORDER_MARK = '\uFEFF';

/** See the file header. */
export class BodyParts {
  readonly #maxBytes: number;
  readonly #parts: Buffer[] = [];
  /**
   * Holds the bytes of what came after those: each part costs 100 bytes, and keeps the packet that
   * it came in. Grows by doubling.
   */
  #tail: Buffer | undefined;
  #tailBytes = 0;
  /** Of all of it. At most `#maxBytes`. */
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes the next part. Throws `MessageTooLargeError` when the body is over the bound. */
  add(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#maxBytes) throw new MessageTooLargeError(this.#maxBytes);
    if (this.#parts.length < KEPT_PARTS_MAX) this.#parts.push(chunk);
    else this.#copy(chunk);
  }

  /** All of it, without the byte order mark that some servers begin with; `fetch` drops it too. */
  text(): string {
    const [only] = this.#parts;
    const text = (this.#parts.length === 1 && only ? only : this.#joined()).toString();
    return text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text;
  }

  #joined(): Buffer {
    const tail = this.#tail?.subarray(0, this.#tailBytes);
    return Buffer.concat(tail === undefined ? this.#parts : [...this.#parts, tail]);
  }

  #copy(chunk: Buffer): void {
    const needed = this.#tailBytes + chunk.length;
    if (this.#tail === undefined || needed > this.#tail.length) {
      const grown = Buffer.allocUnsafe(Math.max(TAIL_MIN_BYTES, 2 * needed));
      this.#tail?.copy(grown, 0, 0, this.#tailBytes);
      this.#tail = grown;
    }
    chunk.copy(this.#tail, this.#tailBytes);
    this.#tailBytes = needed;
  }
}
