// The SDK's own MCP server over the older HTTP+SSE protocol on 127.0.0.1, with the honest tools of
// `mcp-server.ts`, one server object per session. Records every request. Closing it cuts its
// sockets, so no handle is left.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { createTools, type SeenRequest } from './mcp-server.ts';

/** A running server. */
export interface TestSseServer {
  readonly url: URL;
  readonly seen: readonly SeenRequest[];
  /** Requests so far of one HTTP or JSON-RPC method. */
  count(method: string): number;
  /** Sessions whose endpoint takes messages, by id. */
  readonly sessions: ReadonlyMap<string, SSEServerTransport>;
  /** Calls of the tool `hang` whose abort signal fired. */
  readonly aborted: readonly string[];
  readonly openSockets: number;
  /** Answers messages of the session with 404 from now on. Its stream stays. */
  forget(sessionId: string): void;
  /** Stops listening and cuts every socket. Idempotent. */
  close(): Promise<void>;
}

/** How the server behaves. */
export interface TestSseServerOptions {
  /** The challenge that a request with this `authorization` is refused with (401), if it is. */
  readonly challenge?: (authorization: string | undefined) => string | undefined;
  /** Default: any. */
  readonly port?: number;
}

/** Starts it. */
export async function startSseMcpServer(
  options: TestSseServerOptions = {},
): Promise<TestSseServer> {
  const seen: SeenRequest[] = [];
  const aborted: string[] = [];
  const sessions = new Map<string, SSEServerTransport>();
  const sockets = new Set<Socket>();

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    request.on('error', () => {});
    response.on('error', () => {});
    const { method: httpMethod = '', headers, url = '' } = request;
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    const parsed = body === '' ? {} : (JSON.parse(body) as Partial<SeenRequest>);
    const { method, params, id } = parsed;
    seen.push({ httpMethod, headers, method, params, id });
    const challenge = options.challenge?.(headers.authorization);
    if (challenge !== undefined) {
      response.writeHead(401, { 'www-authenticate': challenge }).end();
      return;
    }
    const { pathname, searchParams } = new URL(url, 'http://server');
    if (httpMethod === 'GET' && pathname === '/sse') {
      const transport = new SSEServerTransport('/messages', response);
      sessions.set(transport.sessionId, transport);
      response.on('close', () => sessions.delete(transport.sessionId));
      const server = createTools(aborted);
      await server.connect(transport as Parameters<McpServer['connect']>[0]);
      return;
    }
    const transport = sessions.get(searchParams.get('sessionId') ?? '');
    if (httpMethod !== 'POST' || pathname !== '/messages') response.writeHead(405).end();
    else if (transport === undefined) response.writeHead(404).end('Session not found');
    else await transport.handlePostMessage(request, response, parsed);
  };
  const http = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
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
    url: new URL(`http://127.0.0.1:${port}/sse`),
    seen,
    sessions,
    aborted,
    get openSockets() {
      return sockets.size;
    },
    count: (name) => seen.filter((each) => each.httpMethod === name || each.method === name).length,
    forget: (sessionId) => void sessions.delete(sessionId),
    close: () => {
      closed ??= new Promise((resolve) => {
        http.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      });
      return closed;
    },
  };
}
