// A real HTTP server on 127.0.0.1 that gives each request, fully read, to one handler and answers
// nothing by itself. Counts what reaches it; can stop listening and listen again on its port.
// Knows nothing of MCP.

import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { systemClock } from '../clock.ts';

/** What can be read in a body as JSON-RPC; all of it is absent in one that is none. */
export interface SeenMessage {
  readonly id?: string | number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: unknown;
  readonly error?: unknown;
}

/** One request that came, fully read. */
export interface SeenRequest {
  /** The HTTP method. */
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The body as text; empty for a GET. */
  readonly body: string;
  readonly message: SeenMessage;
  /** Which request of its HTTP method this is, from 1. */
  readonly count: number;
  /** When it had come, in monotonic ms. */
  readonly cameAt: number;
}

/** A request, and the means to answer it, or not. */
export interface LoopbackExchange extends SeenRequest {
  readonly response: ServerResponse;
}

/** See the file header. */
export class LoopbackServer {
  readonly #handle: (exchange: LoopbackExchange) => void;
  readonly #sockets = new Set<Socket>();
  readonly #exchanges: LoopbackExchange[] = [];
  #server: Server | undefined;
  #stopping: Promise<void> | undefined;
  /** 0: any. Once it has listened it keeps its port. */
  #port: number;
  #connections = 0;
  /** Bytes written to sockets that are gone. */
  #bytesSent = 0;

  constructor(handle: (exchange: LoopbackExchange) => void, onPort = 0) {
    this.#handle = handle;
    this.#port = onPort;
  }

  /** Without a slash at its end. Known once it has listened. */
  get origin(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Every request that came, in order. */
  get exchanges(): readonly LoopbackExchange[] {
    return this.#exchanges;
  }

  /** Connections accepted so far. */
  get connections(): number {
    return this.#connections;
  }

  get openSockets(): number {
    return this.#sockets.size;
  }

  /** Requests that were neither answered to their end nor hung up on. */
  get pending(): number {
    return this.#exchanges.filter(
      ({ response }) => !response.writableFinished && !response.destroyed && !response.closed,
    ).length;
  }

  /** Bytes written so far, heads included. */
  get bytesSent(): number {
    let open = 0;
    for (const socket of this.#sockets) open += socket.bytesWritten;
    return this.#bytesSent + open;
  }

  /** Requests of one HTTP method; with `rpcMethod`, only POSTs of that JSON-RPC method. */
  count(method: string, rpcMethod?: string): number {
    return this.#exchanges.filter(
      (each) =>
        each.method === method && (rpcMethod === undefined || each.message.method === rpcMethod),
    ).length;
  }

  /** Listens, on the port of the time before if there was one. A no-op while it does. */
  async listen(): Promise<void> {
    await this.#stopping;
    if (this.#server !== undefined) return;
    const server = createServer((request, response) => this.#read(request, response));
    server.on('connection', (socket) => this.#accept(socket));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        this.#server = undefined;
        reject(error);
      });
      server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Stops listening and cuts every socket. A no-op while it does not listen. */
  stop(): Promise<void> {
    const server = this.#server;
    if (server !== undefined) {
      this.#server = undefined;
      // A server says that it is closed before its last sockets do.
      const gone = [...this.#sockets].map((socket) => once(socket, 'close'));
      gone.push(once(server, 'close'));
      server.close();
      this.cut();
      this.#stopping = Promise.all(gone).then(() => undefined);
    }
    return this.#stopping ?? Promise.resolve();
  }

  /** Cuts every open socket. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(socket: Socket): void {
    this.#connections += 1;
    this.#sockets.add(socket);
    // A peer that hangs up in the middle is what these servers are for.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.#bytesSent += socket.bytesWritten;
    });
  }

  #read(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request;
      const body = Buffer.concat(chunks).toString();
      const exchange: LoopbackExchange = {
        method,
        path,
        headers,
        body,
        message: asMessage(body),
        count: this.count(method) + 1,
        cameAt: systemClock.now(),
        response,
      };
      this.#exchanges.push(exchange);
      this.#handle(exchange);
    });
  }
}

/** Settles when `source` says so. */
const once = (source: Server | Socket, event: 'close'): Promise<void> =>
  new Promise((resolve) => {
    source.once(event, () => resolve());
  });

function asMessage(body: string): SeenMessage {
  try {
    const message: unknown = JSON.parse(body);
    return typeof message === 'object' && message !== null ? message : {};
  } catch {
    return {};
  }
}
