// An MCP server that crashes at a chosen point of the next tool call, and is back at once (or when
// told) without its sessions. Counts what it executed, by the call's own id.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** Where the exchange of a tool call is cut, in the order of the exchange. */
export const CRASH_POINTS = [
  'before-connect',
  'after-accept',
  'mid-request',
  'before-execution',
  'after-execution',
  'mid-headers',
  'after-headers',
  'mid-body',
  'mid-event',
  'after-body',
] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly arguments?: { readonly id?: string } };
}

export class CrashServer {
  /** How often each call was executed. */
  readonly executions: Map<string, number> = new Map();
  initializes = 0;
  crashes = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((request, response) => this.#receive(request, response));
  #sessions = new Set<string>();
  #sessionCount = 0;
  #crashAt: CrashPoint | undefined;
  #port = 0;

  async start(): Promise<void> {
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.#sockets.delete(socket));
      if (this.#crashAt === 'after-accept') this.#crash();
    });
    await this.#listen();
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/mcp`;
  }

  /** The next call is the last one of this life. */
  async crashAt(point: CrashPoint): Promise<void> {
    this.#crashAt = point;
    if (point === 'before-connect') {
      const closed = new Promise((resolve) => this.#server.close(resolve));
      this.#crash();
      await closed;
    } else if (point === 'after-accept') {
      for (const socket of this.#sockets) socket.destroy();
    }
    // Clients see the end of their sockets: what they then send needs a new one.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }

  /** Listens again after a crash before the connect. */
  async restart(): Promise<void> {
    this.#crashAt = undefined;
    if (!this.#server.listening) await this.#listen();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }

  #listen(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.listen(this.#port, '127.0.0.1', () => {
        this.#port = (this.#server.address() as AddressInfo).port;
        resolve();
      });
    });
  }

  #crash(): void {
    this.crashes += 1;
    this.#crashAt = undefined;
    this.#sessions = new Set();
    for (const socket of this.#sockets) socket.destroy();
  }

  #receive(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    request.on('error', () => {});
    response.on('error', () => {});
    request.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      const head = Buffer.concat(chunks).toString();
      if (this.#crashAt === 'mid-request' && head.includes('tools/call')) this.#crash();
    });
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const message = (body === '' ? {} : JSON.parse(body)) as Message;
      this.#answer(message, request, response);
    });
  }

  #answer(message: Message, request: IncomingMessage, response: ServerResponse): void {
    const { method, id } = message;
    if (method === 'initialize') return this.#initialize(message, response);
    if (!this.#sessions.has(String(request.headers['mcp-session-id']))) {
      response.writeHead(404).end('Session not found');
    } else if (method === 'tools/call') {
      this.#call(message, response);
    } else if (id === undefined) {
      response.writeHead(request.method === 'GET' ? 405 : 202).end();
    } else {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id, result: {} }));
    }
  }

  #initialize({ id }: Message, response: ServerResponse): void {
    this.initializes += 1;
    this.#sessionCount += 1;
    const session = `session-${this.#sessionCount}`;
    this.#sessions.add(session);
    const result = {
      protocolVersion: '2025-11-25',
      capabilities: { tools: {} },
      serverInfo: { name: 'crash', version: '1' },
    };
    response.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': session });
    response.end(JSON.stringify({ jsonrpc: '2.0', id, result }));
  }

  #call({ id, params }: Message, response: ServerResponse): void {
    const point = this.#crashAt;
    const socket = response.socket as Socket;
    if (point === 'before-execution') return this.#crash();
    const name = params?.arguments?.id ?? '';
    this.executions.set(name, (this.executions.get(name) ?? 0) + 1);
    const result = { content: [{ type: 'text', text: name }] };
    const body = JSON.stringify({ jsonrpc: '2.0', id, result });
    const half = body.slice(0, body.length / 2);
    const head = `content-length: ${body.length}\r\ncontent-type: application/json\r\n\r\n`;
    const crash = (): void => this.#crash();
    switch (point) {
      case 'after-execution':
        return crash();
      case 'mid-headers':
        return void socket.write('HTTP/1.1 200 OK\r\ncontent-ty', crash);
      case 'after-headers':
        return void socket.write(`HTTP/1.1 200 OK\r\n${head}`, crash);
      case 'mid-body':
        return void socket.write(`HTTP/1.1 200 OK\r\n${head}${half}`, crash);
      case 'mid-event':
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        return void response.write(`data: ${half}`, crash);
      case 'after-body':
        response.writeHead(200, { 'content-type': 'application/json' });
        return void response.end(body, crash);
      default:
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(body);
    }
  }
}
