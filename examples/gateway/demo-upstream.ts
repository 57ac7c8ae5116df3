// An upstream server for the demo: the SDK's own, in a process of its own. Knows its users by the
// credentials that the gateway has for them, and keeps state in its sessions.

import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import * as z from 'zod';

const [, , name = 'demo', users = '{}'] = process.argv;
const userOf = new Map(Object.entries(JSON.parse(users) as Record<string, string>));
const sessions = new Map<string, { user: string; transport: StreamableHTTPServerTransport }>();

const http = createServer((request, response) => {
  serve(request, response).catch(() => response.destroy());
});
// The gateway is gone, or wants no more.
process.on('disconnect', () => process.exit());
// Ctrl-C is for all processes of a terminal, and the gateway has yet to say goodbye to this one.
process.on('SIGINT', () => {});
http.listen(0, '127.0.0.1', () => process.send?.((http.address() as AddressInfo).port));

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const user = userOf.get(request.headers.authorization ?? '');
  if (user === undefined) return void response.writeHead(401).end();
  const id = request.headers['mcp-session-id'];
  const session = typeof id === 'string' ? sessions.get(id) : await open(user);
  // Somebody else's session is as good as none.
  if (session?.user !== user) return void response.writeHead(404).end();
  await session.transport.handleRequest(request, response);
}

async function open(
  user: string,
): Promise<{ user: string; transport: StreamableHTTPServerTransport }> {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => void sessions.set(id, { user, transport }),
    onsessionclosed: (id) => void sessions.delete(id),
  });
  // The SDK's own types disagree here under `exactOptionalPropertyTypes`.
  await createTools(user).connect(transport as Transport);
  return { user, transport };
}

function createTools(user: string): McpServer {
  // Resources come later, and what a server can do is said at the beginning.
  const capabilities = { logging: {}, resources: { listChanged: true } };
  const server = new McpServer({ name, version: '1.0.0' }, { capabilities });
  const notes: string[] = [];
  server.registerTool('whoami', { description: 'Who you are to this server.' }, () => say(user));
  server.registerTool(
    'add-note',
    { description: 'Keeps a note in this session.', inputSchema: { text: z.string() } },
    ({ text }) => {
      notes.push(text);
      const uri = `note://${notes.length}`;
      // Also tells the client that the list of resources has changed.
      server.registerResource(uri, uri, {}, () => ({ contents: [{ uri, text }] }));
      return say(`${notes.length} notes in this session`);
    },
  );
  server.registerTool('ask', { description: 'Asks you for a name.' }, async (extra) => {
    const requestedSchema = { type: 'object', properties: { name: { type: 'string' } } } as const;
    const params = { mode: 'form', message: 'Your name?', requestedSchema } as const;
    const schema = z.looseObject({ content: z.record(z.string(), z.unknown()).optional() });
    const answer = await extra.sendRequest({ method: 'elicitation/create', params }, schema);
    return say(`Hello ${String(answer.content?.['name'])}`);
  });
  server.registerTool(
    'count-down',
    { description: 'Takes a second for each step.', inputSchema: { steps: z.int().max(60) } },
    async ({ steps }, { signal, _meta, sendNotification }) => {
      for (let progress = 1; progress <= steps; progress += 1) {
        await sleep(1_000, undefined, { signal });
        const progressToken = _meta?.progressToken;
        if (progressToken === undefined) continue;
        const params = { progressToken, progress, total: steps };
        await sendNotification({ method: 'notifications/progress', params });
      }
      return say('done');
    },
  );
  const words = { topic: z.string() };
  server.registerPrompt('explain', { argsSchema: words }, ({ topic }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Explain ${topic}` } }],
  }));
  return server;
}

function say(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] };
}
