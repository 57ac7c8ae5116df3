// The SDK's own MCP server over WebSockets on 127.0.0.1, one server object per connection, and the
// way to open sessions with it over the SDK's WebSocket transport. A connection can be made deaf:
// nothing that comes is heeded any more, no Close either.

import type { AddressInfo } from 'node:net';
import { WebSocketClientTransport } from '@modelcontextprotocol/sdk/client/websocket.js';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { type CustomTarget, createTransportConnector } from 'mcp-session-pool';
import { WebSocketServer, type WebSocket as WsSocket } from 'ws';
import { createTools } from './mcp-server.ts';

/** A running server. */
export interface WebSocketMcpServer {
  readonly url: URL;
  /** Connections accepted so far, in order. */
  readonly connections: readonly WebSocketConnection[];
  /** How many are open. */
  readonly open: number;
  /** Calls of the tool `hang` whose abort signal fired. */
  readonly aborted: readonly string[];
  /** Stops listening and cuts every socket. */
  close(): Promise<void>;
}

/** One of them, as its server sees it. */
export interface WebSocketConnection {
  readonly server: McpServer;
  /** What came over it, in order. */
  readonly received: readonly JSONRPCMessage[];
  /** Heeds nothing more: neither messages nor a Close. */
  deafen(): void;
  /** Cuts it without a Close. */
  cut(): void;
}

/** The server's side of one connection. */
class ServerTransport implements Transport {
  onclose?: () => void;
  onmessage?: (message: JSONRPCMessage) => void;
  readonly received: JSONRPCMessage[] = [];
  readonly #socket: WsSocket;

  constructor(socket: WsSocket) {
    this.#socket = socket;
    socket.on('message', (data: Buffer) => {
      const message = JSON.parse(data.toString()) as JSONRPCMessage;
      this.received.push(message);
      this.onmessage?.(message);
    });
    socket.on('close', () => this.onclose?.());
    socket.on('error', () => {});
  }

  async start(): Promise<void> {}

  async send(message: JSONRPCMessage): Promise<void> {
    this.#socket.send(JSON.stringify(message));
  }

  async close(): Promise<void> {
    this.#socket.close();
  }
}

/** Starts it. */
export async function startWebSocketServer(): Promise<WebSocketMcpServer> {
  const handleProtocols = (): string => 'mcp';
  const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols });
  const connections: WebSocketConnection[] = [];
  const aborted: string[] = [];
  sockets.on('connection', (socket, { socket: bytes }) => {
    const server = createTools(aborted);
    const transport = new ServerTransport(socket);
    void server.connect(transport);
    connections.push({
      server,
      received: transport.received,
      deafen: () => {
        // It still notices when the other side is gone.
        bytes.removeAllListeners('data').on('data', () => {});
      },
      cut: () => socket.terminate(),
    });
  });
  await new Promise((resolve) => sockets.once('listening', resolve));
  const { port } = sockets.address() as AddressInfo;
  return {
    url: new URL(`ws://127.0.0.1:${port}`),
    connections,
    aborted,
    get open() {
      return sockets.clients.size;
    },
    close: () => {
      for (const socket of sockets.clients) socket.terminate();
      return new Promise((resolve) => sockets.close(() => resolve()));
    },
  };
}

/** A target at `url`, whatever `WebSocket` the process has. */
export function webSocketTarget(url: URL): CustomTarget {
  return {
    server: url.href,
    identity: 'ada',
    connect: createTransportConnector(() => {
      const transport = new WebSocketClientTransport(url);
      return { transport, sever: () => terminate(transport) };
    }),
  };
}

/** The SDK keeps its socket to itself, and only one of `ws` can be cut: others wait for a Close. */
function terminate(transport: WebSocketClientTransport): void {
  const socket = Reflect.get(transport, '_socket') as Partial<WsSocket> | undefined;
  socket?.terminate?.();
}
