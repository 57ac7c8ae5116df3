// Undoes the `content-encoding` of a body as it comes: what a chunk completes is told before the
// next one is needed, so that compressed event streams stay live. Knows bytes only.

import {
  type BrotliDecompress,
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  type Gunzip,
  type Inflate,
  type InflateRaw,
} from 'node:zlib';

/** Who gets the decoded bytes. */
export interface DecodedReader {
  onData(chunk: Buffer): void;
  onEnd(): void;
  onFailure(error: unknown): void;
  /** There is room again, after a `write` that returned false. */
  onDrain?(): void;
}

/** Decodes one body. */
export interface ContentDecoder {
  /** False: so much is waiting that the peer should be held off until `onDrain`. */
  write(chunk: Buffer): boolean;
  /** The coded body is complete; `onEnd` comes when all of it is decoded. */
  end(): void;
  /** The coded body broke off: `onFailure(error)` comes when what there is of it is decoded. */
  cut(error: unknown): void;
  /** Nothing is told any more, and nothing is held. Idempotent. */
  abort(): void;
}

/** Each costs memory and time per byte, and no honest server uses more than two. */
const MAX_CODINGS = 5;

/** The peer may leave out the trailer, or break off: what can be decoded is. */
const ZLIB_OPTIONS = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH };
const BROTLI_OPTIONS = {
  flush: constants.BROTLI_OPERATION_FLUSH,
  finishFlush: constants.BROTLI_OPERATION_FLUSH,
};

/**
 * A decoder for `contentEncoding`, or `undefined` when there is nothing to decode. Throws for a
 * coding that is not known, and for more than five.
 */
export function createContentDecoder(
  contentEncoding: string | undefined,
  reader: DecodedReader,
): ContentDecoder | undefined {
  const codings = (contentEncoding ?? '')
    .split(',')
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== '' && coding !== 'identity');
  if (codings.length === 0) return undefined;
  if (codings.length > MAX_CODINGS) {
    throw new Error(`The body has more than ${MAX_CODINGS} content codings`);
  }
  const openers = codings.map(openerOf);
  // They are named in the order in which they were applied, so the last is undone first.
  let sink: Sink = new ReaderSink(reader);
  for (const open of openers) sink = new Stage(open, sink);
  sink.onDrain = () => reader.onDrain?.();
  return new Chain(sink);
}

type ZlibStream = Gunzip | Inflate | InflateRaw | BrotliDecompress;
type Opener = (firstByte: number) => ZlibStream;

function openerOf(coding: string): Opener {
  switch (coding) {
    case 'gzip':
    case 'x-gzip':
      return () => createGunzip(ZLIB_OPTIONS);
    case 'deflate':
      return openInflate;
    case 'br':
      return () => createBrotliDecompress(BROTLI_OPTIONS);
    default:
      throw new Error(`Unknown content coding ${JSON.stringify(coding.slice(0, 40))}`);
  }
}

/** By the standard it is zlib, yet some servers send it raw. 8 in the low bits: a zlib header. */
function openInflate(firstByte: number): ZlibStream {
  return (firstByte & 0x0f) === 0x08 ? createInflate(ZLIB_OPTIONS) : createInflateRaw(ZLIB_OPTIONS);
}

/** Why a body has no end. A box, because anything may be thrown. */
interface Failure {
  readonly error: unknown;
}

/** Takes bytes: one stage of the chain, or the reader behind the last. */
interface Sink {
  /** False: hold off until `onDrain`. */
  write(chunk: Buffer): boolean;
  /** No more bytes come. With a failure: because of it. */
  end(failure: Failure | undefined): void;
  abort(): void;
  /** Set by whoever writes. */
  onDrain: () => void;
}

/** What the exchange holds. */
class Chain implements ContentDecoder {
  readonly #first: Sink;

  constructor(first: Sink) {
    this.#first = first;
  }

  write(chunk: Buffer): boolean {
    return this.#first.write(chunk);
  }

  end(): void {
    this.#first.end(undefined);
  }

  cut(error: unknown): void {
    this.#first.end({ error });
  }

  abort(): void {
    this.#first.abort();
  }
}

/** The end of the chain. */
class ReaderSink implements Sink {
  onDrain = (): void => {};
  /** `undefined` from the moment on when nothing is to be told any more. */
  #reader: DecodedReader | undefined;

  constructor(reader: DecodedReader) {
    this.#reader = reader;
  }

  write(chunk: Buffer): boolean {
    this.#reader?.onData(chunk);
    return true;
  }

  end(failure: Failure | undefined): void {
    const reader = this.#reader;
    this.#reader = undefined;
    if (failure === undefined) reader?.onEnd();
    else reader?.onFailure(failure.error);
  }

  abort(): void {
    this.#reader = undefined;
  }
}

/** Undoes one coding. */
class Stage implements Sink {
  onDrain = (): void => {};
  readonly #open: Opener;
  readonly #next: Sink;
  /** Made with the first byte, so that an empty body needs no valid coding. */
  #stream: ZlibStream | undefined;
  /** What the end is to be told with, once all before it is through. */
  #failure: Failure | undefined;
  /** The next sink knows the end, or nobody wants to know. What still comes is dropped. */
  #isOver = false;

  constructor(open: Opener, next: Sink) {
    this.#open = open;
    this.#next = next;
    next.onDrain = () => this.#stream?.resume();
  }

  write(chunk: Buffer): boolean {
    const firstByte = chunk[0];
    if (this.#isOver || firstByte === undefined) return true;
    this.#stream ??= this.#start(firstByte);
    return this.#stream.write(chunk);
  }

  end(failure: Failure | undefined): void {
    if (this.#isOver) return;
    this.#failure = failure;
    if (this.#stream === undefined) this.#finish();
    else this.#stream.end();
  }

  abort(): void {
    this.#isOver = true;
    this.#stream?.destroy();
    this.#next.abort();
  }

  #start(firstByte: number): ZlibStream {
    const stream = this.#open(firstByte);
    stream.on('data', (chunk: Buffer) => {
      if (!this.#isOver && !this.#next.write(chunk)) stream.pause();
    });
    stream.on('drain', () => this.onDrain());
    // Comes early when the coded data ends before the body does. The rest is dropped.
    stream.on('end', () => this.#finish());
    stream.on('error', (error) => {
      this.#failure = { error };
      this.#finish();
    });
    return stream;
  }

  /** Order: what was decoded is with the next sink already, which passes it on before the end. */
  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stream?.destroy();
    this.#next.end(this.#failure);
  }
}
