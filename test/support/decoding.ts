// A content decoder under test, with what it tells written down, and bodies coded for it.

import { brotliCompressSync, constants, deflateSync, gzipSync } from 'node:zlib';
import {
  type ContentDecoder,
  createContentDecoder,
  type DecodedReader,
} from '../../src/http/content-decoder.ts';

/** A decoder and what it told. */
export class Decoding implements DecodedReader {
  readonly decoder: ContentDecoder;
  readonly chunks: Buffer[] = [];
  readonly over: Promise<this>;
  /** `end`, `failure`, or undefined while it goes on. */
  outcome: string | undefined;
  error: unknown;
  drains = 0;
  onChunk: () => void = () => {};
  #settle: (self: this) => void = () => {};

  readonly #violations: string[];

  /** What is told against the contract is added to `violations`. */
  constructor(codings: string, violations: string[]) {
    this.#violations = violations;
    this.over = new Promise((resolve) => {
      this.#settle = resolve;
    });
    const decoder = createContentDecoder(codings, this);
    if (decoder === undefined) throw new Error('Nothing to decode');
    this.decoder = decoder;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  async received(text: string): Promise<void> {
    while (this.bytes.toString() !== text) {
      await new Promise<void>((resolve) => {
        this.onChunk = resolve;
      });
    }
  }

  abort(): void {
    this.outcome = 'aborted';
    this.decoder.abort();
  }

  onData(chunk: Buffer): void {
    if (this.outcome !== undefined) this.#violations.push(`data after ${this.outcome}`);
    this.chunks.push(chunk);
    this.onChunk();
  }

  onEnd(): void {
    this.#finish('end');
  }

  onFailure(error: unknown): void {
    this.error = error;
    this.#finish('failure');
  }

  onDrain(): void {
    this.drains += 1;
  }

  #finish(outcome: string): void {
    if (this.outcome !== undefined) this.#violations.push(`${outcome} after ${this.outcome}`);
    this.outcome = outcome;
    this.#settle(this);
  }
}

/** The quickest brotli: how well it compresses is nobody's business here. */
export const brotli: (data: Buffer | string) => Buffer = (data) =>
  brotliCompressSync(data, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });

const encoders: Record<string, (data: Buffer) => Buffer> = {
  gzip: gzipSync,
  'x-gzip': gzipSync,
  deflate: deflateSync,
  br: brotli,
  identity: (data) => data,
};

/** Codes `data` as a server does that names `codings`. */
export function encode(data: string | Buffer, codings: string): Buffer {
  return codings
    .split(',')
    .reduce<Buffer>(
      (bytes, coding) => encoders[coding.trim().toLowerCase()]!(bytes),
      Buffer.from(data),
    );
}
