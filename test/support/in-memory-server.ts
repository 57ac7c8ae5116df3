// MCP servers in this process, one per session, over the SDK's in-memory transport: what a custom
// target opens in the simplest case.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js';
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { Connector, CustomTarget } from 'mcp-session-pool';
import { createTransportConnector } from 'mcp-session-pool';
import { createTools } from './mcp-server.ts';

/** Servers, and the way to open sessions with them. */
export interface InMemoryServers {
  readonly connect: Connector<Client>;
  readonly target: CustomTarget;
  /** One per session that was opened, in order. Those that ended stay. */
  readonly servers: McpServer[];
  /** Calls of the tool `hang` whose abort signal fired. */
  readonly aborted: readonly string[];
  /** How many sessions are open, as their servers see it. */
  readonly open: number;
}

/** `addTools`: to the server of each session. */
export function inMemoryServers(addTools: (server: McpServer) => void = () => {}): InMemoryServers {
  const servers: McpServer[] = [];
  const aborted: string[] = [];
  const connect = createTransportConnector(async () => {
    const [transport, serverTransport] = InMemoryTransport.createLinkedPair();
    const server = createTools(aborted);
    addTools(server);
    await server.connect(serverTransport);
    servers.push(server);
    return transport;
  });
  return {
    connect,
    target: { server: 'in-memory', identity: 'ada', connect },
    servers,
    aborted,
    get open() {
      return servers.filter((server) => server.isConnected()).length;
    },
  };
}
