// SDK 2's own MCP server over HTTP on 127.0.0.1, of either era, with honest tools. Records every
// request that came. Closing it cuts its sockets, so no handle is left.

import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node';
import {
  acceptedContent,
  createMcpHandler,
  inputRequired,
  type McpHttpHandler,
  McpServer,
} from '@modelcontextprotocol/server';
import * as z from 'zod';

/** One request, as it came. */
export interface SeenRequest2 {
  readonly httpMethod: string;
  readonly headers: IncomingMessage['headers'];
  /** The JSON-RPC method of a POST, if its body has one. */
  readonly method: string | undefined;
  readonly params: Readonly<Record<string, unknown>> | undefined;
}

/** A running server. */
export interface TestMcpServer2 {
  readonly url: URL;
  readonly seen: readonly SeenRequest2[];
  /** Requests so far of one HTTP or JSON-RPC method. */
  count(method: string): number;
  /** What calls of the tool `hang` saw of their end. */
  readonly aborted: readonly string[];
  readonly openSockets: number;
  /** Tells subscribers of what changed; of servers without sessions. */
  readonly notify: McpHttpHandler['notify'] | undefined;
  /** Stops listening and cuts every socket. Idempotent. */
  close(): Promise<void>;
}

/** How the server behaves. */
export interface TestMcpServer2Options {
  /**
   * `modern`: 2026-07-28 alone. `both`: the handshake era as well, without sessions. `sessions`:
   * the handshake era alone, with sessions. Default: `modern`.
   */
  readonly era?: 'modern' | 'both' | 'sessions';
  readonly responseMode?: 'auto' | 'sse' | 'json';
  /** Refuses requests with this `authorization` (401), if it says so. */
  readonly challenge?: (authorization: string | undefined) => string | undefined;
}

/** Starts it. */
export async function startMcpServer2(
  options: TestMcpServer2Options = {},
): Promise<TestMcpServer2> {
  const { era = 'modern', responseMode = 'auto', challenge } = options;
  const seen: SeenRequest2[] = [];
  const aborted: string[] = [];
  const sockets = new Set<Socket>();
  const handler =
    era === 'sessions'
      ? undefined
      : createMcpHandler((context) => createTools(aborted, headersOf(context.requestInfo)), {
          legacy: era === 'both' ? 'stateless' : 'reject',
          responseMode,
          keepAliveMs: 0,
        });
  const serve = handler === undefined ? serveSessions(aborted) : (toNodeHandler(handler) as Serve);
  const http = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = parse(Buffer.concat(chunks).toString());
      const { method, params } = body ?? {};
      seen.push({ httpMethod: request.method ?? '', headers: request.headers, method, params });
      const refusal = challenge?.(request.headers.authorization);
      if (refusal !== undefined) {
        response.writeHead(401, { 'www-authenticate': refusal }).end();
        return;
      }
      void serve(request, response, body);
    });
  });
  http.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  let closed: Promise<void> | undefined;
  return {
    url: new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`),
    seen,
    count: (method) =>
      seen.filter((each) => each.httpMethod === method || each.method === method).length,
    aborted,
    get openSockets() {
      return sockets.size;
    },
    notify: handler?.notify,
    close: () => {
      closed ??= new Promise((resolve) => {
        http.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      });
      return closed;
    },
  };
}

type Serve = (request: IncomingMessage, response: ServerResponse, body?: unknown) => Promise<void>;

/** One server object per session, as SDK 2 serves the handshake era. */
function serveSessions(aborted: string[]): Serve {
  const transports = new Map<string, NodeStreamableHTTPServerTransport>();
  return async (request, response, body) => {
    const known = transports.get(String(request.headers['mcp-session-id']));
    if (known !== undefined) return known.handleRequest(request, response, body);
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (id) => {
        transports.set(id, transport);
      },
      onsessionclosed: (id) => {
        transports.delete(id);
      },
    });
    await createTools(aborted, request.headers).connect(transport);
    return transport.handleRequest(request, response, body);
  };
}

/** The tools. `aborted` is told of calls of `hang`. */
export function createTools(
  aborted: string[],
  headers: IncomingMessage['headers'] = {},
): McpServer {
  const server = new McpServer(
    { name: 'test-2', version: '2.0.0' },
    { capabilities: { tools: { listChanged: true } }, instructions: 'Be kind' },
  );
  const text = (words: string) => ({ content: [{ type: 'text' as const, text: words }] });
  server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, async (args) =>
    text(args.text),
  );
  server.registerTool('whoami', {}, async () => text(String(headers['authorization'])));
  server.registerTool('add', SUM, async ({ a, b }) => ({
    ...text(String(a + b)),
    structuredContent: { sum: a + b },
  }));
  server.registerTool(
    'region',
    { inputSchema: z.object({ region: z.string().meta({ 'x-mcp-header': 'Region' }) }) },
    async (args) => text(`${args.region} ${String(headers['mcp-param-region'])}`),
  );
  server.registerTool('ask', {}, async (context) => {
    const given = acceptedContent<{ name: string }>(context.mcpReq.inputResponses, 'name');
    if (given !== undefined) return text(`hello ${given.name}`);
    const requestedSchema = {
      type: 'object' as const,
      properties: { name: { type: 'string' as const } },
    };
    return inputRequired({
      inputRequests: { name: inputRequired.elicit({ message: 'Who?', requestedSchema }) },
    });
  });
  server.registerTool('progress', {}, async (context) => {
    const { progressToken } = context.mcpReq._meta ?? {};
    for (const progress of [1, 2]) {
      if (progressToken === undefined) break;
      const params = { progressToken, progress, total: 2 };
      await context.mcpReq.notify({ method: 'notifications/progress', params });
    }
    return text('done');
  });
  server.registerTool('hang', {}, (context) => {
    return new Promise((resolve) => {
      context.mcpReq.signal.addEventListener('abort', () => {
        aborted.push('hang');
        resolve(text('aborted'));
      });
    });
  });
  return server;
}

const SUM = {
  inputSchema: z.object({ a: z.number(), b: z.number() }),
  outputSchema: z.object({ sum: z.number() }),
};

function headersOf(request: Request | undefined): IncomingMessage['headers'] {
  return Object.fromEntries(request?.headers ?? []);
}

function parse(
  body: string,
): { method?: string; params?: Readonly<Record<string, unknown>> } | undefined {
  try {
    return JSON.parse(body) as { method?: string };
  } catch {
    return undefined;
  }
}
