// A response body that we can end at any time, even if the body it is fed from ignores aborts and
// never settles a cancel: the feeding body is cut loose, and nothing of it can reach or root ours.
// Bytes are read only when somebody reads here. It knows no request, no fence and no protocol.

import type { ReadableStreamDefaultReader } from 'node:stream/web';

/** Sees every chunk before the reader does. Throws what the body then errors with. */
export interface BodyGuard {
  /** What may pass; no bytes: nothing, yet. */
  take(chunk: Uint8Array): Uint8Array;
}

/**
 * Why a body is over. `ended` and `failed`: its peer did it. `refused`: the guard threw.
 * `cancelled`: its reader did it. `cut`: we did it.
 */
export type BodyEnd = 'ended' | 'failed' | 'refused' | 'cancelled' | 'cut';

type ByteReader = ReadableStreamDefaultReader<Uint8Array>;

/** All that a pending read of the feeding body holds. Emptied when the body is over. */
interface Link {
  body: FencedBody | undefined;
}

const ignore = (): void => {};

/** A body fed from another one until either is over. */
export class FencedBody {
  /** What the consumer reads. */
  readonly stream: ReadableStream<Uint8Array>;

  readonly #guard: BodyGuard;
  readonly #onOver: (end: BodyEnd) => void;
  readonly #reader: ByteReader;
  readonly #link: Link = { body: this };
  /** Set once, while the stream is constructed. */
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  /** Whether a read of the feeding body is under way: never two, or more is read than asked for. */
  #isReading = false;

  /** `onOver` is called once, after the stream has ended; by then the feeding body is cut loose. */
  constructor(from: ReadableStream<Uint8Array>, guard: BodyGuard, onOver: (end: BodyEnd) => void) {
    this.#reader = from.getReader() as ByteReader;
    this.#guard = guard;
    this.#onOver = onOver;
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#pull(),
        cancel: () => this.#leave('cancelled'),
      },
      // Backpressure: no byte is asked for before the consumer asks.
      { highWaterMark: 0 },
    );
  }

  /** Ends the body now: whoever reads it gets `reason`. A no-op once it is over. */
  fail(reason: unknown): void {
    if (!this.#isOver) this.#failAs('cut', reason);
  }

  /**
   * Ends the body now, without telling its reader, which waits for ever and is not rooted by us.
   * For readers that take both an end and an error as a reason to ask for the rest.
   */
  fallSilent(): void {
    if (!this.#isOver) this.#leave('cut');
  }

  get #isOver(): boolean {
    return this.#link.body === undefined;
  }

  #pull(): void {
    if (this.#isReading || this.#isOver) return;
    this.#isReading = true;
    FencedBody.#read(this.#reader, this.#link);
  }

  /** Static, so that the closures hold the link and not the body. */
  static #read(reader: ByteReader, link: Link): void {
    reader.read().then(
      ({ done, value }) => {
        if (link.body !== undefined) link.body.#onRead(done ? undefined : value);
      },
      (error: unknown) => {
        if (link.body !== undefined) link.body.#failAs('failed', error);
      },
    );
  }

  #onRead(chunk: Uint8Array | undefined): void {
    if (chunk === undefined) {
      this.#controller.close();
      this.#leave('ended');
      return;
    }
    let passed: Uint8Array;
    try {
      passed = this.#guard.take(chunk);
    } catch (error) {
      this.#failAs('refused', error);
      return;
    }
    // Order: before enqueue, which pulls again at once if another read waits.
    this.#isReading = false;
    if (passed.byteLength === 0) this.#pull();
    else this.#controller.enqueue(passed);
  }

  #failAs(end: BodyEnd, reason: unknown): void {
    this.#controller.error(reason);
    this.#leave(end);
  }

  /** The one way to be over: lets go of the feeding body, then tells the owner. */
  #leave(end: BodyEnd): void {
    this.#link.body = undefined;
    // Settles the read that may be pending, and is not waited for: it may never settle itself. No
    // reason is given, because the feeding body might keep it, and with it what is on its stack.
    if (end !== 'ended') this.#reader.cancel().catch(ignore);
    this.#onOver(end);
  }
}

/** Cancels a body that nobody will read. */
export function discardBody(body: ReadableStream<Uint8Array> | null): void {
  body?.cancel().catch(ignore);
}
