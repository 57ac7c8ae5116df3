// A well-behaved MCP server: the SDK's own, over Streamable HTTP, with one tool that does nothing.

import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { tellParent } from '../support/child.ts';

const sessions = new Map<string, StreamableHTTPServerTransport>();

const server = createServer((request, response) => {
  serve(request, response).catch(() => response.destroy());
});
server.listen(0, '127.0.0.1', () => {
  void tellParent({ port: (server.address() as AddressInfo).port });
});

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const known = sessions.get(String(request.headers['mcp-session-id']));
  const transport = known ?? (await openSession());
  await transport.handleRequest(request, response);
}

async function openSession(): Promise<StreamableHTTPServerTransport> {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    enableJsonResponse: true,
    onsessioninitialized: (id) => void sessions.set(id, transport),
    onsessionclosed: (id) => void sessions.delete(id),
  });
  const mcp = new McpServer({ name: 'bench', version: '1.0.0' });
  mcp.registerTool('nothing', { description: 'Does nothing.' }, () => ({ content: [] }));
  // The SDK's own types disagree here under `exactOptionalPropertyTypes`.
  await mcp.connect(transport as Transport);
  return transport;
}
