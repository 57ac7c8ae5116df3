// The SDK's own MCP server over Streamable HTTP on 127.0.0.1, with honest tools, one server object
// per session. Records every request with its session id and credentials. Closing it cuts its
// sockets, so no handle is left.

import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import * as z from 'zod';

/** One request, as it came. */
export interface SeenRequest {
  readonly httpMethod: string;
  readonly headers: IncomingMessage['headers'];
  /** The JSON-RPC method of a POST, if its body has one. */
  readonly method: string | undefined;
  readonly params: Readonly<Record<string, unknown>> | undefined;
  readonly id: string | number | undefined;
}

/** A running server. */
export interface TestMcpServer {
  readonly url: URL;
  readonly seen: readonly SeenRequest[];
  /** Requests so far of one HTTP or JSON-RPC method. */
  count(method: string): number;
  /** Sessions the server keeps, by id. */
  readonly sessions: ReadonlyMap<string, McpServer>;
  /** Calls of the tools `hang` and `slow` whose abort signal fired. */
  readonly aborted: readonly string[];
  readonly openSockets: number;
  /** Forgets a session, as a restarted server would: its id is answered with 404 from now on. */
  forget(sessionId: string): Promise<void>;
  /** Stops listening and cuts every socket. Idempotent. */
  close(): Promise<void>;
}

/** How the server behaves. */
export interface TestMcpServerOptions {
  /** Answers calls with JSON instead of an event stream. Default: false. */
  readonly json?: boolean;
  /** Keeps no session: no id, every request on its own. Default: false. */
  readonly stateless?: boolean;
  /** Adds tools to the server object of each session. */
  readonly addTools?: (server: McpServer) => void;
  /** What a session is served by. Default: the tools below. */
  readonly newServer?: () => McpServer;
  /** The challenge that a request with this `authorization` is refused with (401), if it is. */
  readonly challenge?: (authorization: string | undefined) => string | undefined;
  /** Default: any. */
  readonly port?: number;
}

/** Starts it. */
export async function startMcpServer(options: TestMcpServerOptions = {}): Promise<TestMcpServer> {
  const seen: SeenRequest[] = [];
  const aborted: string[] = [];
  const sessions = new Map<string, McpServer>();
  const transports = new Map<string, StreamableHTTPServerTransport>();
  const sockets = new Set<Socket>();

  const open = async (): Promise<StreamableHTTPServerTransport> => {
    const server = options.newServer?.() ?? createTools(aborted);
    options.addTools?.(server);
    const transport = new StreamableHTTPServerTransport({
      ...(!options.stateless && { sessionIdGenerator: () => randomUUID() }),
      enableJsonResponse: options.json ?? false,
      onsessioninitialized: (id) => {
        sessions.set(id, server);
        transports.set(id, transport);
      },
      onsessionclosed: (id) => {
        sessions.delete(id);
        transports.delete(id);
      },
    });
    await server.connect(transport as Parameters<McpServer['connect']>[0]);
    return transport;
  };

  const http = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => {});
    response.on('error', () => {});
    request.on('end', () => {
      const body = parse(Buffer.concat(chunks).toString());
      const { method: httpMethod = '', headers } = request;
      const { method, params, id } = body ?? {};
      seen.push({ httpMethod, headers, method, params, id });
      const challenge = options.challenge?.(headers.authorization);
      if (challenge !== undefined) {
        response.writeHead(401, { 'www-authenticate': challenge }).end();
        return;
      }
      const sessionId = headers['mcp-session-id'];
      const isNew = method === 'initialize' || options.stateless;
      const known = isNew ? open() : transports.get(String(sessionId));
      if (known === undefined) {
        response.writeHead(404, { 'content-type': 'application/json' });
        const error = { code: -32_001, message: 'Session not found' };
        response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error }));
        return;
      }
      Promise.resolve(known)
        .then((transport) => transport.handleRequest(request, response, body))
        .catch(() => response.destroy());
    });
  });
  http.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => http.listen(options.port ?? 0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo;

  let closed: Promise<void> | undefined;
  return {
    url: new URL(`http://127.0.0.1:${port}/mcp`),
    seen,
    aborted,
    sessions,
    get openSockets() {
      return sockets.size;
    },
    count: (name) => seen.filter((each) => each.httpMethod === name || each.method === name).length,
    forget: async (sessionId) => {
      const transport = transports.get(sessionId);
      sessions.delete(sessionId);
      transports.delete(sessionId);
      await transport?.close();
    },
    close: () => {
      closed ??= new Promise((resolve) => {
        http.close(() => resolve());
        for (const transport of transports.values()) void transport.close();
        for (const socket of sockets) socket.destroy();
      });
      return closed;
    },
  };
}

/** The server of one session. `aborted`: see `TestMcpServer`. */
export function createTools(aborted: string[]): McpServer {
  const server = new McpServer(
    { name: 'test-server', version: '1.2.3' },
    { capabilities: { logging: {} }, instructions: 'Be kind' },
  );
  let count = 0;
  server.registerTool('echo', { inputSchema: { text: z.string() } }, ({ text }) => say(text));
  server.registerTool('count', {}, () => {
    count += 1;
    return say(String(count));
  });
  server.registerTool('whoami', {}, ({ requestInfo }) => say(JSON.stringify(requestInfo?.headers)));
  server.registerTool('hang', {}, ({ signal }) => {
    return new Promise((resolve) => {
      const onAbort = (): void => {
        aborted.push('hang');
        resolve(say('aborted'));
      };
      signal.addEventListener('abort', onAbort, { once: true });
    });
  });
  server.registerTool('slow', { inputSchema: { ms: z.number() } }, async ({ ms }) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return say(`after ${ms}`);
  });
  server.registerTool(
    'progress',
    { inputSchema: { name: z.string() } },
    async ({ name }, extra) => {
      const progressToken = extra._meta?.progressToken;
      for (const progress of [1, 2, 3]) {
        if (progressToken === undefined) continue;
        const params = { progressToken, progress, message: name };
        await extra.sendNotification({ method: 'notifications/progress', params });
      }
      return say(name);
    },
  );
  server.registerTool('elicit', { inputSchema: { name: z.string() } }, async ({ name }, extra) => {
    const requestedSchema = { type: 'object' as const, properties: {} };
    const params = { message: name, requestedSchema };
    const schema = z.looseObject({ content: z.record(z.string(), z.unknown()).optional() });
    const answer = await extra.sendRequest({ method: 'elicitation/create', params }, schema);
    return say(String(answer.content?.['name']));
  });
  const outputSchema = { answer: z.number() };
  const inputSchema = { answer: z.unknown() };
  server.registerTool('structured', { inputSchema, outputSchema }, ({ answer }) => ({
    ...say('structured'),
    structuredContent: { answer: answer as number },
  }));
  server.registerResource('note', 'note://1', {}, (url) => ({
    contents: [{ uri: url.href, text: 'note' }],
  }));
  return server;
}

const say = (text: string): { content: { type: 'text'; text: string }[] } => ({
  content: [{ type: 'text', text }],
});

function parse(body: string): Partial<SeenRequest> | undefined {
  try {
    return JSON.parse(body) as Partial<SeenRequest>;
  } catch {
    return undefined;
  }
}
