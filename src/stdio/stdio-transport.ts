// The client side of MCP's stdio transport: a server as a process of our own, from its start to the
// end of all that it started. Implements the SDK's `Transport`; knows no pool and no leases.

import type { Socket } from 'node:net';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCMessage, RequestId } from '@modelcontextprotocol/sdk/types.js';
import type { Clock, Timer } from '../clock.ts';
import { SessionLostError } from '../errors.ts';
import { CloseLadder } from './close-ladder.ts';
import type { LiveGroups } from './live-groups.ts';
import { MessageReader } from './message-reader.ts';
import { MessageWriter } from './message-writer.ts';
import { ProcessGroup } from './process-group.ts';
import { type ServerCommand, type ServerProcess, spawnServer } from './spawn-server.ts';
import { StderrLines } from './stderr-lines.ts';
import { StdioError, type StdioFailureCode } from './stdio-error.ts';

/** What a transport is told beside the server's command. */
export interface StdioTransportOptions {
  readonly clock: Clock;
  /** Of one line of the server's stdout. Over it the session is lost. */
  readonly maxMessageBytes: number;
  /** What the close ladder divides; its last rung comes after three fifths of it, at most 4 s. */
  readonly closeTimeoutMs: number;
  /** Killed with us, should our process exit before they have ended. */
  readonly liveGroups: LiveGroups;
  /** A line that the server wrote to its stderr. May not throw. */
  readonly onStderrLine?: ((line: string) => void) | undefined;
}

/** What a started server is made of. */
interface Running {
  readonly process: ServerProcess;
  readonly group: ProcessGroup;
  readonly ladder: CloseLadder;
  readonly reader: MessageReader;
  readonly writer: MessageWriter;
  readonly stderr: StderrLines;
}

/**
 * How long after its first sign the end of a server is told at the latest: its last words, on
 * stdout and on stderr, come first, unless a process that it started holds the pipes.
 */
const LAST_WORDS_MS = 250;

/** See the file header. */
export class StdioTransport implements Transport {
  /** Told once: when the server has ended, whyever, and by `close`. */
  onclose?: (() => void) | undefined;
  /** Told of trouble. A `StdioError` with `sessionLost` is the last. */
  onerror?: ((error: Error) => void) | undefined;
  onmessage?: ((message: JSONRPCMessage) => void) | undefined;

  readonly #server: ServerCommand;
  readonly #options: StdioTransportOptions;
  #isStarted = false;
  #running: Running | undefined;
  /** Runs from the first sign of the end until it is told. */
  #dying: Timer | undefined;
  /** The end has been told, or is not to be: it was we who ended it. */
  #isOver = false;
  #hasToldClosed = false;
  #closing: Promise<void> | undefined;
  #onEmpty: () => void = () => {};

  constructor(server: ServerCommand, options: StdioTransportOptions) {
    this.#server = server;
    this.#options = options;
  }

  /** The last that the server wrote to its stderr, made a cause. `undefined`: nothing. */
  get said(): Error | undefined {
    const tail = this.#running?.stderr.tail;
    return tail ? new Error(`It wrote to its stderr at last: ${tail}`) : undefined;
  }

  /** Starts the process. Rejects with a `StdioError` (`SPAWN_FAILED`) when it can't be. */
  async start(): Promise<void> {
    if (this.#isStarted) throw new Error('The transport is started already, as `connect` does');
    this.#isStarted = true;
    this.#run(await spawnServer(this.#server));
    if (!this.#isOver) return;
    // It was given up in the same turn.
    this.sever(new SessionLostError('The transport is closed', 'not-executed'));
    throw new Error('The transport was closed as it started');
  }

  /**
   * Settles when the message was written; the answer of a request comes to `onmessage`. Rejects
   * with a `StdioError`, or with a `SessionLostError` once fenced or closed.
   */
  send(message: JSONRPCMessage): Promise<void> {
    const writer = this.#running?.writer;
    if (writer === undefined) return Promise.reject(new Error('Not connected'));
    if (this.#takesBack(writer, message)) return Promise.resolve();
    return writer.send(message);
  }

  /** Sends a last word, unless it is about a call that the server has not got. */
  sendLastWord(message: JSONRPCMessage): Promise<void> {
    const writer = this.#running?.writer;
    if (writer !== undefined && !this.#takesBack(writer, message)) writer.sendLastWord(message);
    return Promise.resolve();
  }

  /** Nothing new leaves, and nothing that comes is handed on. Idempotent. */
  fence(reason: Error): void {
    this.#isOver = true;
    this.#stopDying();
    const running = this.#running;
    running?.writer.fail(
      reason,
      new SessionLostError(reason.message, 'unknown', { cause: reason }),
    );
    running?.reader.discard();
  }

  /**
   * Ends the server: closes its stdin, then SIGTERM, then SIGKILL to its whole group, each when it
   * has not ended in time. Settles when the operating system knows no process of the group any
   * more. Bound: whoever calls, who then severs.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Kills the group and lets go of it, at once. Idempotent. */
  sever(reason: Error): void {
    this.fence(reason);
    const running = this.#running;
    if (running === undefined) return;
    if (!running.group.look()) running.group.kill();
    this.#letGo(running);
  }

  async #close(): Promise<void> {
    this.fence(new SessionLostError('The transport is closed', 'not-executed'));
    const running = this.#running;
    if (running !== undefined) {
      running.writer.end();
      await new Promise<void>((resolve) => {
        this.#onEmpty = resolve;
        running.ladder.climb(this.#options.closeTimeoutMs);
      });
      this.#letGo(running);
    }
    this.#tellClosed();
  }

  #run(server: ServerProcess): void {
    const { child, pid, stdin, stdout } = server;
    const { clock, maxMessageBytes, liveGroups, onStderrLine } = this.#options;
    const group = new ProcessGroup(child, pid);
    const running: Running = {
      process: server,
      group,
      ladder: new CloseLadder(group, clock, () => this.#onEmpty()),
      reader: new MessageReader({
        stream: stdout,
        clock,
        maxMessageBytes,
        deliver: (message) => this.#tell(() => this.onmessage?.(message)),
        onNonsense: (error) => this.#report(error),
        onFailed: (error) => this.#lose(error),
      }),
      writer: new MessageWriter(stdin, clock),
      stderr: new StderrLines(server.stderr, clock, onStderrLine),
    };
    this.#running = running;
    liveGroups.add(group);
    // An idle session must not keep our process alive; what is under way has timers that do.
    child.unref();
    for (const pipe of [stdin, stdout, server.stderr]) (pipe as Socket).unref();
    const die = (): void => this.#die();
    stdin.on('error', die);
    stdout.on('error', die).on('end', die);
    child.on('exit', () => {
      // Seen now, a group that is empty is never signalled again.
      if (group.look()) liveGroups.delete(group);
      if (this.#closing !== undefined) running.ladder.look();
      this.#die();
    });
    child.on('close', () => {
      if (this.#dying !== undefined) this.#loseWhenRead();
    });
  }

  /** The server has ended, or can't be talked to any more. */
  #die(): void {
    if (this.#isOver || this.#dying !== undefined) return;
    const details = { execution: 'not-executed', sessionLost: true } as const;
    const refusal = new StdioError('PROCESS_ENDED', 'The server process is ending', details);
    this.#running?.writer.fence(refusal);
    this.#dying = this.#options.clock.setTimeout(() => this.#loseWhenRead(), LAST_WORDS_MS);
  }

  /** What has come is handed on first. Bound: that is no more than the pipe held. */
  #loseWhenRead(): void {
    this.#running?.reader.afterReading(() => this.#lose(this.#lastWord()));
  }

  #stopDying(): void {
    if (this.#dying !== undefined) this.#options.clock.clearTimeout(this.#dying);
    this.#dying = undefined;
  }

  #lastWord(): StdioError {
    const child = this.#running?.process.child;
    const { exitCode = null, signalCode = null } = child ?? {};
    if (exitCode === null && signalCode === null) {
      return this.#endError('PIPE_CLOSED', 'The server process closed its pipes');
    }
    const how = signalCode === null ? `exited with code ${exitCode}` : `was ended by ${signalCode}`;
    return this.#endError('PROCESS_ENDED', `The server process ${how}`);
  }

  #endError(code: StdioFailureCode, message: string): StdioError {
    const details = { execution: 'unknown', sessionLost: true, cause: this.said } as const;
    return new StdioError(code, message, details);
  }

  /** The session is gone under us. Told once, and to each message by itself before. */
  #lose(error: StdioError): void {
    this.#stopDying();
    if (this.#isOver) return;
    this.#isOver = true;
    const { code, message, cause } = error;
    const unsent = new StdioError(code, message, {
      execution: 'not-executed',
      sessionLost: true,
      cause,
    });
    this.#running?.writer.fail(unsent, error);
    // Order: after those rejections have been seen, for they know more than all others are told.
    this.#options.clock.yield(() => {
      this.#report(error);
      this.#tellClosed();
    });
  }

  #takesBack(writer: MessageWriter, message: JSONRPCMessage): boolean {
    if (!('method' in message) || message.method !== 'notifications/cancelled') return false;
    const id = message.params?.['requestId'] as RequestId | undefined;
    return id !== undefined && writer.withdraw(id);
  }

  #letGo(running: Running): void {
    const { process: server, ladder, stderr, group } = running;
    ladder.stop();
    this.#options.liveGroups.delete(group);
    // Somebody who left the group may hold the other ends: ours pin nothing.
    server.stdin.destroy();
    server.stdout.destroy();
    stderr.stop();
  }

  #tellClosed(): void {
    if (this.#hasToldClosed) return;
    this.#hasToldClosed = true;
    this.#tell(() => this.onclose?.());
  }

  /** Row 14d: what a handler throws must not break the session. */
  #tell(handler: () => void): void {
    try {
      handler();
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error: unknown): void {
    try {
      this.onerror?.(error instanceof Error ? error : new Error(String(error)));
    } catch {
      // Nobody is left to tell.
    }
  }
}
