// Reads a server's messages from its stdout, one line each, in slices that let the event loop serve
// others, and no faster than they are handled. Knows no process.

import type { Readable } from 'node:stream';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import type { Clock } from '../clock.ts';
import { Inbox } from '../http/inbox.ts';
import { parseMessages } from '../http/json-rpc.ts';
import { createBudget } from '../policy/budget.ts';
import { LineSplitter } from './line-splitter.ts';
import { StdioError } from './stdio-error.ts';

/** Whom a reader tells. None may throw. */
export interface MessageReaderOptions {
  readonly stream: Readable;
  readonly clock: Clock;
  readonly maxMessageBytes: number;
  readonly deliver: (message: JSONRPCMessage) => void;
  /** A line was no message. */
  readonly onNonsense: (error: unknown) => void;
  /** Nothing is read any more. Called once at most. */
  readonly onFailed: (error: StdioError) => void;
}

/** Lines handled in one turn of the event loop, and bytes read in one. */
const SLICE_LINES = 256;
const SLICE_BYTES = 32 * 1024;
/**
 * What may come per minute that is no message: lines of up to 1 KiB. Servers do log to stdout by
 * mistake; one that writes without end must not cost without end.
 */
const NONSENSE = { kibibytes: 10_000, periodMs: 60_000 } as const;
/** Servers on .NET begin their output with it. */
const BYTE_ORDER_MARK = '\uFEFF';
/** What is still read, and thrown away, of a server that is being closed. */
const DISCARD_BYTES = 1024 * 1024;

/** See the file header. */
export class MessageReader {
  readonly #options: MessageReaderOptions;
  readonly #splitter: LineSplitter;
  readonly #nonsense = createBudget(NONSENSE.kibibytes, NONSENSE.periodMs);
  readonly #inbox: Inbox;
  /** Came while others had their turn. Bound: what the pipe holds. Oldest first. */
  #chunks: Buffer[] = [];
  /** Others have their turn. The stream may end meanwhile, paused or not. */
  #isWaiting = false;
  /** Runs when all that came was handled. */
  #onRead: (() => void) | undefined;
  /** Nothing is delivered any more. */
  #isOver = false;
  /** Bytes that came since. */
  #discarded = 0;

  constructor(options: MessageReaderOptions) {
    this.#options = options;
    this.#splitter = new LineSplitter(options.maxMessageBytes);
    this.#inbox = new Inbox((message) => {
      if (!this.#isOver) options.deliver(message);
    });
    options.stream.on('data', (chunk: Buffer) => this.#onData(chunk));
  }

  /**
   * Delivers nothing any more. The server may go on writing for a while, so that it can end in
   * order: a full pipe would hold it up.
   */
  discard(): void {
    this.#isOver = true;
    this.#chunks = [];
    this.#splitter.clear();
    this.#inbox.clear();
    this.#options.stream.resume();
  }

  /** Runs `andThen` when all that came has been delivered: now, or some turns later. */
  afterReading(andThen: () => void): void {
    if (this.#isWaiting) this.#onRead = andThen;
    else andThen();
  }

  #onData(chunk: Buffer): void {
    if (this.#isOver) {
      this.#discarded += chunk.length;
      if (this.#discarded > DISCARD_BYTES) this.#options.stream.destroy();
      return;
    }
    this.#chunks.push(chunk);
    if (!this.#isWaiting) this.#work();
    // Node itself resumes the pipes of a process that has ended.
    else this.#options.stream.pause();
  }

  /** Handles what has come, until there is none or the slice is over. */
  #work(): void {
    const { stream, clock } = this.#options;
    let [lines, bytes] = [0, 0];
    while (lines < SLICE_LINES) {
      const line = this.#next();
      if (this.#isOver) return;
      if (line !== undefined) {
        this.#take(line);
        lines += 1;
        continue;
      }
      if (bytes >= SLICE_BYTES) break;
      const chunk = this.#chunks.shift();
      if (chunk === undefined) return this.#allRead();
      this.#splitter.push(chunk);
      bytes += chunk.length;
    }
    this.#isWaiting = true;
    stream.pause();
    clock.yield(() => {
      this.#isWaiting = false;
      if (!this.#isOver) this.#work();
    });
  }

  #allRead(): void {
    this.#options.stream.resume();
    const onRead = this.#onRead;
    this.#onRead = undefined;
    // Later: the last messages are handed on a microtask apart.
    if (onRead !== undefined) this.#options.clock.yield(onRead);
  }

  #next(): string | undefined {
    try {
      return this.#splitter.next();
    } catch (cause) {
      this.#fail('MESSAGE_TOO_LARGE', 'The server wrote a line over `maxMessageBytes`', cause);
      return undefined;
    }
  }

  #take(line: string): void {
    let messages: readonly JSONRPCMessage[];
    try {
      messages = parseMessages(line.startsWith(BYTE_ORDER_MARK) ? line.slice(1) : line);
    } catch (error) {
      this.#nonsenseCame(line, error);
      return;
    }
    for (const message of messages) this.#inbox.push(message, undefined);
  }

  #nonsenseCame(line: string, error: unknown): void {
    const { clock, onNonsense } = this.#options;
    if (!this.#nonsense.spend(Math.max(1, line.length / 1024), clock.now())) {
      this.#fail('FLOODED', 'The server wrote too many lines that are no messages', error);
    } else if (line.trim() !== '') onNonsense(error);
  }

  #fail(code: 'MESSAGE_TOO_LARGE' | 'FLOODED', message: string, cause: unknown): void {
    this.#isOver = true;
    this.#chunks = [];
    this.#splitter.clear();
    this.#options.stream.destroy();
    const details = { execution: 'unknown', sessionLost: true, cause } as const;
    this.#options.onFailed(new StdioError(code, message, details));
  }
}
