// An MCP server that opens sessions as it should and is hostile afterwards: it never answers
// DELETE, never ends a call, and keeps every socket. With `streams: 'hang'` its notification
// streams hang too; with `'flap'` it ends each once, asks for a reconnect at once, and never
// answers that one.

import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { childInput, tellParent } from '../support/child.ts';

export interface ServerCounts {
  readonly requests: number;
  readonly sockets: number;
  /** Requests that wait for an answer or for its end, DELETE apart. */
  readonly hanging: number;
}

const { streams } = childInput<{ streams: 'hang' | 'flap' }>();
const flapped = new Set<string>();
let requests = 0;
let sockets = 0;
let hanging = 0;

const server = createServer((request, response) => {
  requests += 1;
  answer(request, response).catch(() => response.destroy());
});
// Nothing here goes away unless the client makes it.
server.requestTimeout = 0;
server.headersTimeout = 0;
server.keepAliveTimeout = 0;
server.on('connection', (socket) => {
  sockets += 1;
  socket.on('error', () => {});
  socket.once('close', () => {
    sockets -= 1;
  });
});

process.on('message', () => {
  const counts: ServerCounts = { requests, sockets, hanging };
  void tellParent(counts);
});
server.listen(0, '127.0.0.1', 4_096, () => {
  void tellParent({ port: (server.address() as AddressInfo).port });
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'DELETE') return;
  if (request.method === 'GET') return stream(request, response);
  const message = (await json(request)) as { id?: number; method?: string };
  if (message.method === 'initialize') {
    const result = {
      protocolVersion: '2025-06-18',
      capabilities: { tools: {} },
      serverInfo: { name: 'hostile', version: '1.0.0' },
    };
    response.writeHead(200, {
      'content-type': 'application/json',
      'mcp-session-id': randomUUID(),
    });
    response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, result }));
  } else if (message.id === undefined) {
    response.writeHead(202).end();
  } else {
    openStream(response);
    hang(response);
  }
}

function stream(request: IncomingMessage, response: ServerResponse): void {
  const session = String(request.headers['mcp-session-id']);
  if (streams === 'hang') {
    openStream(response);
    hang(response);
  } else if (flapped.has(session)) {
    hang(response);
  } else {
    flapped.add(session);
    openStream(response);
    response.end('id: 1\nretry: 0\ndata:\n\n');
  }
}

function openStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
}

function hang(response: ServerResponse): void {
  hanging += 1;
  response.once('close', () => {
    hanging -= 1;
  });
}
