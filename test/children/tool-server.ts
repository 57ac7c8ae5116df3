// The SDK's own MCP server over Streamable HTTP, as a process to be killed: it writes down every
// call it executes and every `initialize` before it does anything else. Waits to be told a port.

import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import * as z from 'zod';

const [, , journal = ''] = process.argv;
const transports = new Map<string, StreamableHTTPServerTransport>();

async function open(): Promise<StreamableHTTPServerTransport> {
  const server = new McpServer({ name: 'tool-server', version: '1.0.0' });
  server.registerTool('run', { inputSchema: { id: z.string() } }, async ({ id }) => {
    appendFileSync(journal, `run ${id}\n`);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 8));
    return { content: [{ type: 'text', text: id }] };
  });
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => {
      appendFileSync(journal, `initialize ${id}\n`);
      transports.set(id, transport);
    },
    onsessionclosed: (id) => void transports.delete(id),
  });
  await server.connect(transport as Parameters<McpServer['connect']>[0]);
  return transport;
}

const http = createServer((request, response) => {
  const id = request.headers['mcp-session-id'];
  const known = id === undefined ? open() : transports.get(String(id));
  if (known === undefined) {
    const error = { code: -32_001, message: 'Session not found' };
    request.resume();
    response.writeHead(404, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error }));
    return;
  }
  Promise.resolve(known)
    .then((transport) => transport.handleRequest(request, response))
    .catch(() => response.destroy());
});

process.on('message', (port: number) => {
  http.listen(port, '127.0.0.1', () => process.send?.((http.address() as AddressInfo).port));
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
