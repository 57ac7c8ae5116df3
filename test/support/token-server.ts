// A lean MCP server on 127.0.0.1 that remembers with whose tokens each session was used. A token
// reads `Bearer <user>.<number>`. Answers in JSON, so that ten thousand calls are soon done.

import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { json } from 'node:stream/consumers';

/** Stands for whoever sends no token. */
export const NOBODY = 'nobody';

export interface TokenServer {
  readonly url: string;
  /** Users by session id, from every request that named the session, its DELETE included. */
  readonly usersOf: ReadonlyMap<string, ReadonlySet<string>>;
  /** Different tokens seen. */
  readonly tokens: ReadonlySet<string>;
  readonly calls: number;
  /** Calls whose token is not the one that the caller says it sent. */
  readonly misdirected: readonly string[];
  /** Sessions that were ended with a DELETE. */
  readonly ended: number;
  close(): Promise<void>;
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly protocolVersion?: string; readonly arguments?: { token?: string } };
}

/** Starts it. */
export async function startTokenServer(): Promise<TokenServer> {
  const usersOf = new Map<string, Set<string>>();
  const tokens = new Set<string>();
  const misdirected: string[] = [];
  const sockets = new Set<Socket>();
  let calls = 0;
  let ended = 0;

  const note = (sessionId: string, authorization: string): boolean => {
    const users = usersOf.get(sessionId);
    users?.add(authorization.split('.')[0] ?? '');
    tokens.add(authorization);
    return users !== undefined;
  };

  const answer = async (
    request: IncomingMessage,
  ): Promise<{ status: number; headers?: Record<string, string>; result?: object }> => {
    const { authorization = NOBODY, 'mcp-session-id': given } = request.headers;
    if (request.method === 'GET') return { status: 405 };
    if (request.method === 'DELETE') {
      ended += 1;
      return { status: note(String(given), authorization) ? 204 : 404 };
    }
    const { id, method, params } = (await json(request)) as Message;
    if (method === 'initialize') {
      const sessionId = randomUUID();
      usersOf.set(sessionId, new Set());
      note(sessionId, authorization);
      const { protocolVersion } = params ?? {};
      const serverInfo = { name: 'tokens', version: '1' };
      const result = { id, result: { protocolVersion, capabilities: { tools: {} }, serverInfo } };
      return { status: 200, headers: { 'mcp-session-id': sessionId }, result };
    }
    if (!note(String(given), authorization)) return { status: 404 };
    if (id === undefined) return { status: 202 };
    calls += 1;
    const { token } = params?.arguments ?? {};
    if (token !== authorization) misdirected.push(`${token} came with ${authorization}`);
    const content = [{ type: 'text', text: authorization }];
    return { status: 200, result: { id, result: { content } } };
  };

  const server = createServer((request, response) => {
    answer(request).then(
      ({ status, headers, result }) => {
        response.writeHead(status, { 'content-type': 'application/json', ...headers });
        response.end(result && JSON.stringify({ jsonrpc: '2.0', ...result }));
      },
      () => response.destroy(),
    );
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    usersOf,
    tokens,
    get calls() {
      return calls;
    },
    misdirected,
    get ended() {
      return ended;
    },
    close: () => {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      for (const socket of sockets) socket.destroy();
      return closed;
    },
  };
}
