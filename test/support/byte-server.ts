// Servers on 127.0.0.1, or on a unix socket, that hand each request to the test as the text that
// came, with the bare socket to answer on: every byte, its moment, its end and its reset are the
// test's. They count sockets. Closing one cuts them, so no handle is left.

import { createServer, type Server, type Socket } from 'node:net';

/** One request, fully received. */
export interface ByteRequest {
  /** All of it as it came: request line, headers, body. */
  readonly text: string;
  /** `POST /mcp`, say. */
  readonly line: string;
  readonly body: string;
  /** Which request of its server this is, from 1. */
  readonly count: number;
  readonly socket: Socket;
  /** Settles when the connection is gone, whoever ended it. */
  readonly gone: Promise<void>;
}

/** A running server. */
export interface ByteServer {
  readonly url: URL;
  readonly requests: readonly ByteRequest[];
  /** Connections accepted so far. */
  readonly connections: number;
  /** Connections open now. */
  readonly openSockets: number;
  /** The sockets that are open now, oldest first. */
  readonly sockets: readonly Socket[];
  /** Settles when request number `count`, from 1, has come. */
  request(count: number): Promise<ByteRequest>;
  /** Settles when connection number `count`, from 1, has been accepted. */
  connection(count: number): Promise<void>;
  /** Stops listening and cuts every socket. Idempotent. */
  close(): Promise<void>;
}

/** What a server can be told. */
export interface ByteServerOptions {
  /** Listens there instead of on a port. */
  readonly socketPath?: string;
  /** Is given each socket as it comes, and all that comes over it: no request is read. */
  readonly onConnection?: (socket: Socket) => void;
}

/** Starts a server that gives each request to `handle` and does nothing else. */
export async function startByteServer(
  handle: (request: ByteRequest) => void,
  options: ByteServerOptions = {},
): Promise<ByteServer> {
  const requests: ByteRequest[] = [];
  const sockets = new Set<Socket>();
  const changes = new Changes();
  let connections = 0;
  // Half-open sockets stay open: who ends what is the test's.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    connections += 1;
    sockets.add(socket);
    const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    // The peer is done with the connection. A reset comes as a close by itself.
    socket.once('end', () => socket.destroy());
    if (options.onConnection !== undefined) {
      options.onConnection(socket);
    } else {
      const reader = new RequestReader((text) => {
        const [line = ''] = text.split(' HTTP/', 1);
        const body = text.slice(text.indexOf('\r\n\r\n') + 4);
        const request = { text, line, body, count: requests.length + 1, socket, gone };
        requests.push(request);
        changes.tell();
        handle(request);
      });
      socket.on('data', (chunk: Buffer) => reader.take(chunk.toString('latin1')));
    }
    changes.tell();
  });
  await listen(server, options.socketPath);
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 80;
  let closed: Promise<void> | undefined;
  return {
    url: new URL(`http://127.0.0.1:${port}/mcp`),
    requests,
    get connections() {
      return connections;
    },
    get openSockets() {
      return sockets.size;
    },
    get sockets() {
      return [...sockets];
    },
    request: async (count) => {
      await changes.until(() => requests.length >= count);
      return requests[count - 1]!;
    },
    connection: (count) => changes.until(() => connections >= count),
    close: () => {
      closed ??= new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      });
      return closed;
    },
  };
}

/** Writes `parts` one by one, each in a packet of its own as far as a loopback socket allows. */
export async function writeInParts(
  socket: Socket,
  parts: Iterable<string | Buffer>,
): Promise<void> {
  for (const part of parts) {
    if (socket.destroyed) return;
    await new Promise<void>((resolve) => {
      socket.write(typeof part === 'string' ? Buffer.from(part, 'latin1') : part, () => resolve());
    });
    // Two turns: the peer lives in this process, and reads in its own.
    for (let turn = 0; turn < 2; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** An answer with a body of a known length. */
export function answerOf(
  body: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
  status = '200 OK',
): Buffer {
  const bytes = Buffer.from(body);
  const fields = Object.entries({ 'content-length': String(bytes.length), ...headers });
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status}\r\n${lines}\r\n`, 'latin1'), bytes]);
}

/** One chunk of a chunked body. */
export function chunkOf(bytes: string | Buffer): Buffer {
  const data = Buffer.from(bytes);
  return Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')]);
}

async function listen(server: Server, socketPath: string | undefined): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    if (socketPath === undefined) server.listen(0, '127.0.0.1', resolve);
    else server.listen(socketPath, resolve);
  });
}

/** Cuts what comes over one connection into requests. Knows bodies by their content-length. */
class RequestReader {
  readonly #onRequest: (text: string) => void;
  #received = '';

  constructor(onRequest: (text: string) => void) {
    this.#onRequest = onRequest;
  }

  take(text: string): void {
    this.#received += text;
    for (;;) {
      const bodyAt = this.#received.indexOf('\r\n\r\n') + 4;
      if (bodyAt < 4) return;
      const head = this.#received.slice(0, bodyAt);
      const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
      if (this.#received.length < bodyAt + length) return;
      const request = this.#received.slice(0, bodyAt + length);
      this.#received = this.#received.slice(bodyAt + length);
      this.#onRequest(request);
    }
  }
}

/** Lets tests wait for what a server counts. */
class Changes {
  #waiters: (() => void)[] = [];

  tell(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }
}
