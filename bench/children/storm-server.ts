// The server of the storm: the SDK's own, over Streamable HTTP, with tools that answer at once,
// stream progress, or ask the caller back. It tells each answer whose it is, and counts.

import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  ElicitResultSchema,
  type ServerNotification,
  type ServerRequest,
} from '@modelcontextprotocol/sdk/types.js';
import * as z from 'zod';
import { childInput, tellParent } from '../support/child.ts';
import { sleep } from '../support/measure.ts';

export interface StormServerInput {
  /** 0: one that is free. */
  readonly port: number;
}

export interface StormServerCounts {
  /** Calls executed. */
  readonly calls: number;
  /** Calls executed a second time. */
  readonly repeated: number;
  /** Sessions at the moment, and most at once. */
  readonly sessions: number;
  readonly mostSessions: number;
  /** Open at the moment. */
  readonly sockets: number;
}

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>;

const PROGRESS_EVERY_MS = 50;
const TOKEN = { token: z.string() };
const SLOW = { ...TOKEN, ms: z.number() };

const sessions = new Map<string, StreamableHTTPServerTransport>();
const executed = new Set<string>();
let calls = 0;
let repeated = 0;
let mostSessions = 0;
let sockets = 0;

const server = createServer((request, response) => {
  serve(request, response).catch(() => response.destroy());
});
server.on('connection', (socket) => {
  sockets += 1;
  socket.once('close', () => {
    sockets -= 1;
  });
});
process.on('message', () => {
  const counts: StormServerCounts = {
    calls,
    repeated,
    sessions: sessions.size,
    mostSessions,
    sockets,
  };
  void tellParent(counts);
});
server.listen(childInput<StormServerInput>().port, '127.0.0.1', 4_096, () => {
  void tellParent({ port: (server.address() as AddressInfo).port });
});

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const id = request.headers['mcp-session-id'];
  const transport = id === undefined ? await openSession() : sessions.get(String(id));
  if (transport !== undefined) return transport.handleRequest(request, response);
  request.resume();
  response.writeHead(404, { 'content-type': 'application/json' });
  const error = { code: -32_001, message: 'Session not found' };
  response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error }));
}

async function openSession(): Promise<StreamableHTTPServerTransport> {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => {
      sessions.set(id, transport);
      mostSessions = Math.max(mostSessions, sessions.size);
    },
    onsessionclosed: (id) => void sessions.delete(id),
  });
  const mcp = new McpServer({ name: 'storm', version: '1.0.0' });
  mcp.registerTool('quick', { inputSchema: TOKEN }, ({ token }, extra) => answer(token, extra));
  mcp.registerTool('slow', { inputSchema: SLOW }, async ({ token, ms }, extra) => {
    for (let passed = 0; passed < ms && !extra.signal.aborted; passed += PROGRESS_EVERY_MS) {
      await sleep(PROGRESS_EVERY_MS);
      await tellProgress(passed, ms, extra);
    }
    return answer(token, extra);
  });
  mcp.registerTool('ask', { inputSchema: TOKEN }, async ({ token }, extra) => {
    const requestedSchema = { type: 'object' as const, properties: {} };
    const params = { message: token, requestedSchema };
    const request = { method: 'elicitation/create' as const, params };
    const { content } = await extra.sendRequest(request, ElicitResultSchema);
    return answer(String(content?.['token']), extra);
  });
  // The SDK's own types disagree here under `exactOptionalPropertyTypes`.
  await mcp.connect(transport as Transport);
  return transport;
}

async function tellProgress(progress: number, total: number, extra: Extra): Promise<void> {
  const progressToken = extra._meta?.progressToken;
  if (progressToken === undefined || extra.signal.aborted) return;
  const params = { progressToken, progress, total };
  await extra.sendNotification({ method: 'notifications/progress', params });
}

/** What the caller gave, and who the server was told that the caller is. */
function answer(token: string, { requestInfo }: Extra) {
  calls += 1;
  if (executed.has(token)) repeated += 1;
  executed.add(token);
  const text = `${token} for ${String(requestInfo?.headers['x-user'])}`;
  return { content: [{ type: 'text' as const, text }] };
}
