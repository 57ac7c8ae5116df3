// A real MCP server on 127.0.0.1: the SDK's own, with honest tools, and one whose answer never ends.
// Under `/mcp` it is a good server. Under `/hostile/mcp` it never answers a DELETE. Run by hand it
// prints its URLs; as the demo's child it is asked over IPC what it has seen.

import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import * as z from 'zod';

/** What the server has seen since it started. */
export interface ServerReport {
  readonly openSockets: number;
  readonly requests: number;
  readonly sessionsOpened: number;
  /** Different `Authorization` headers. */
  readonly tokens: number;
  /** Sessions that were used with tokens of more than one user. */
  readonly sharedSessions: number;
  /** Requests whose answer has not ended: calls, and notification streams. */
  readonly openAnswers: number;
}

/** Tells the parent: once what it listens on, then a report for each message of the parent. */
export type ServerMessage = { readonly port: number } | { readonly report: ServerReport };

const sessions = new Map<string, StreamableHTTPServerTransport>();
/** By session id, the users whose tokens it was used with. A token reads `Bearer <user>.<number>`. */
const usersOf = new Map<string, Set<string>>();
const tokens = new Set<string>();
let openSockets = 0;
let requests = 0;
let openAnswers = 0;

const http = createServer((request, response) => {
  requests += 1;
  openAnswers += 1;
  response.once('close', () => {
    openAnswers -= 1;
  });
  serve(request, response).catch(() => response.destroy());
});
// Sockets go when the client closes them, and not before: the demo counts them.
http.keepAliveTimeout = 0;
http.requestTimeout = 0;
http.on('connection', (socket) => {
  openSockets += 1;
  socket.on('error', () => {});
  socket.once('close', () => {
    openSockets -= 1;
  });
});

process.on('message', () => {
  const { size: sessionsOpened } = usersOf;
  const sharedSessions = [...usersOf.values()].filter((users) => users.size > 1).length;
  const counts = { openSockets, requests, sessionsOpened, sharedSessions, openAnswers };
  tellParent({ report: { ...counts, tokens: tokens.size } });
});
// The parent is gone, or wants no more: so is whoever could use this server.
process.on('disconnect', () => process.exit());

http.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1', 1_024, () => {
  const { port } = http.address() as AddressInfo;
  if (process.send !== undefined) return tellParent({ port });
  console.log(`http://127.0.0.1:${port}/mcp and http://127.0.0.1:${port}/hostile/mcp`);
});

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const isHostile = request.url?.startsWith('/hostile/') === true;
  if (isHostile && request.method === 'DELETE') return;
  const id = request.headers['mcp-session-id'];
  if (typeof id === 'string') noteUser(id, request.headers.authorization);
  const transport = typeof id === 'string' ? sessions.get(id) : await openSession();
  if (transport === undefined) {
    response.writeHead(404).end();
    return;
  }
  await transport.handleRequest(request, response);
}

async function openSession(): Promise<StreamableHTTPServerTransport> {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => {
      sessions.set(id, transport);
      usersOf.set(id, new Set());
    },
    onsessionclosed: (id) => {
      sessions.delete(id);
    },
  });
  // The SDK's own types disagree here under `exactOptionalPropertyTypes`.
  await createTools().connect(transport as Transport);
  return transport;
}

function createTools(): McpServer {
  const server = new McpServer({ name: 'demo', version: '1.0.0' });
  const words = { message: z.string() };
  server.registerTool('echo', { inputSchema: words }, ({ message }) => say(message));
  const numbers = { a: z.number(), b: z.number() };
  server.registerTool('add', { inputSchema: numbers }, ({ a, b }) => say(String(a + b)));
  let count = 0;
  server.registerTool('count', { description: 'Counts the calls of this session.' }, () => {
    count += 1;
    return say(String(count));
  });
  const forever = new Promise<CallToolResult>(() => {});
  server.registerTool('hang', { description: 'Its answer never ends.' }, () => forever);
  return server;
}

function noteUser(sessionId: string, authorization: string | undefined): void {
  if (authorization === undefined) return;
  tokens.add(authorization);
  usersOf.get(sessionId)?.add(authorization.split('.')[0] ?? '');
}

function say(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] };
}

function tellParent(message: ServerMessage): void {
  process.send?.(message);
}
