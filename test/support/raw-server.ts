// Real HTTP servers on 127.0.0.1 that hand every byte to the test: what they answer, when, and
// whether at all. They count what reaches them. Closing one cuts its sockets, so no handle is left.

import type { ServerResponse } from 'node:http';
import { type LoopbackExchange, LoopbackServer } from '../../src/testing/loopback-server.ts';

/** One request, fully read, and the means to answer it, or not. */
export type RawExchange = LoopbackExchange;

/** A running server. */
export interface RawServer {
  readonly url: URL;
  readonly port: number;
  /** Every request that came, in order. */
  readonly exchanges: readonly RawExchange[];
  /** Requests of one method so far; with `rpcMethod`, only POSTs of that JSON-RPC method. */
  count(method: string, rpcMethod?: string): number;
  /** Connections accepted so far. */
  readonly connections: number;
  /** Connections open now. */
  readonly openSockets: number;
  /** Requests that were neither answered to the end nor hung up on. */
  readonly pending: number;
  /** Stops listening and cuts every socket. Idempotent. */
  close(): Promise<void>;
}

/** Starts a server that gives each request to `handle` and does nothing else. */
export async function startRawServer(
  handle: (exchange: RawExchange) => void,
  onPort = 0,
): Promise<RawServer> {
  const server = new LoopbackServer(handle, onPort);
  await server.listen();
  const url = new URL('/mcp', server.origin);
  return {
    url,
    port: Number(url.port),
    exchanges: server.exchanges,
    count: (method, rpcMethod) => server.count(method, rpcMethod),
    get connections() {
      return server.connections;
    },
    get openSockets() {
      return server.openSockets;
    },
    get pending() {
      return server.pending;
    },
    close: () => server.stop(),
  };
}

/** What a handler of `mcpServer` takes over, by HTTP method or JSON-RPC method. */
export type RawHandlers = Readonly<Record<string, (exchange: RawExchange) => void>>;

/**
 * A handler that speaks enough MCP for a client to connect: answers `initialize` with session id
 * `session-1`, notifications with 202, GET with 405 and DELETE with 204. `handlers` come first:
 * `GET`, `DELETE`, or the name of a JSON-RPC method such as `tools/call`. What nobody handles is
 * never answered.
 */
export function speakMcp(handlers: RawHandlers = {}): (exchange: RawExchange) => void {
  return (exchange) => {
    const { method, message, response } = exchange;
    const handler = handlers[method === 'POST' ? (message.method ?? 'response') : method];
    if (handler !== undefined) handler(exchange);
    else if (message.method === 'initialize') answerInitialize(exchange);
    else if (method === 'POST' && message.id === undefined) response.writeHead(202).end();
    else if (method === 'GET') response.writeHead(405).end();
    else if (method === 'DELETE') response.writeHead(204).end();
  };
}

/** Answers `initialize` as a server with tools. */
export function answerInitialize(exchange: RawExchange, sessionId = 'session-1'): void {
  const result = {
    protocolVersion: exchange.message.params?.['protocolVersion'] ?? '2025-06-18',
    capabilities: { tools: {} },
    serverInfo: { name: 'raw', version: '1' },
  };
  answerJson(exchange, result, { 'mcp-session-id': sessionId });
}

/** Answers a request with a JSON body. */
export function answerJson(
  { message, response }: RawExchange,
  result: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(200, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, result }));
}

/** Begins an event stream, writes `text` to it as it stands, and leaves it open. */
export function beginEvents({ response }: RawExchange, text = ''): ServerResponse {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
  if (text !== '') response.write(text);
  return response;
}

/** One event with `message` as its data. */
export function eventOf(message: unknown, fields: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\n`);
  return `${lines.join('')}data: ${JSON.stringify(message)}\n\n`;
}

/** Waits until `isTrue`, looking every few milliseconds; throws after `timeoutMs`. */
export async function until(isTrue: () => boolean, timeoutMs = 8_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!isTrue()) {
    if (performance.now() > deadline) throw new Error(`Still not true: ${isTrue.toString()}`);
    await pause(3);
  }
}

/** Lets real time pass. */
export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}
