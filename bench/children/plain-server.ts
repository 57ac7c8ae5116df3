// An MCP server by hand that does as little as a server can, so that the client is what a bench
// measures. `/json` answers calls with JSON, `/sse` with an event stream of one event. Its sessions
// end with DELETE; requests of 2026-07-28 need none. A GET is refused with 405, or held open for
// ever (`streams: 'hold'`).

import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { TAILS, type Tool } from '../support/call-texts.ts';
import { childInput, tellParent } from '../support/child.ts';

export interface PlainServerInput {
  readonly streams: 'refuse' | 'hold';
}

export interface PlainServerCounts {
  /** Calls answered so far. */
  readonly calls: number;
  /** Sessions opened and not ended. */
  readonly sessions: number;
  /** Open at the moment. */
  readonly sockets: number;
}

interface Message {
  readonly id?: number | string;
  readonly method?: string;
  readonly params?: { readonly name?: Tool; readonly arguments?: { readonly n?: number } };
}

const { streams } = childInput<PlainServerInput>();
const sessions = new Set<string>();
let calls = 0;
let sockets = 0;

/** The revision without sessions. */
const STATELESS = '2026-07-28';
const END = '"}]}}';
const tails: Readonly<Record<Tool, Buffer>> = {
  small: Buffer.from(TAILS.small + END),
  large: Buffer.from(TAILS.large + END),
};

const server = createServer((request, response) => {
  if (request.method === 'POST') return receive(request, response);
  if (request.method === 'DELETE') return endSession(request, response);
  if (streams === 'refuse') return void response.writeHead(405).end();
  response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
});
// Streams that are held stay.
server.requestTimeout = 0;
server.on('connection', (socket) => {
  sockets += 1;
  socket.on('error', () => {});
  socket.once('close', () => {
    sockets -= 1;
  });
});
process.on('message', () => {
  const counts: PlainServerCounts = { calls, sessions: sessions.size, sockets };
  void tellParent(counts);
});
server.listen(0, '127.0.0.1', 4_096, () => {
  void tellParent({ port: (server.address() as AddressInfo).port });
});

function receive(request: IncomingMessage, response: ServerResponse): void {
  let body = '';
  request.setEncoding('latin1');
  request.on('data', (chunk: string) => {
    body += chunk;
  });
  request.on('end', () => answer(request, JSON.parse(body) as Message, response));
}

function answer(request: IncomingMessage, message: Message, response: ServerResponse): void {
  if (message.method === 'initialize') return openSession(message, response);
  if (message.method === 'server/discover') return discover(message, response);
  const standsAlone = request.headers['mcp-protocol-version'] === STATELESS;
  if (!standsAlone && !sessions.has(sessionOf(request))) return void response.writeHead(404).end();
  if (message.method !== 'tools/call') return void response.writeHead(202).end();
  calls += 1;
  const tail = tails[message.params?.name ?? 'small'];
  const id = JSON.stringify(message.id);
  const type = standsAlone ? '"resultType":"complete",' : '';
  const content = `{${type}"content":[{"type":"text","text":"${message.params?.arguments?.n}: `;
  const head = `{"jsonrpc":"2.0","id":${id},"result":${content}`;
  if (request.url === '/sse') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`event: message\ndata: ${head}`);
    response.write(tail);
    response.end('\n\n');
  } else {
    const length = head.length + tail.length;
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': length });
    response.write(head);
    response.end(tail);
  }
}

function openSession(message: Message, response: ServerResponse): void {
  const id = randomUUID();
  sessions.add(id);
  const result = {
    protocolVersion: '2025-06-18',
    capabilities: { tools: {} },
    serverInfo: { name: 'plain', version: '1.0.0' },
  };
  response.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': id });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, result }));
}

function discover(message: Message, response: ServerResponse): void {
  const result = {
    resultType: 'complete',
    supportedVersions: [STATELESS],
    capabilities: { tools: {} },
    ttlMs: 0,
    cacheScope: 'private',
  };
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, result }));
}

function endSession(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(sessions.delete(sessionOf(request)) ? 204 : 404).end();
}

function sessionOf(request: IncomingMessage): string {
  return String(request.headers['mcp-session-id']);
}
