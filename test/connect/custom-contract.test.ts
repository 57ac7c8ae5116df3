// What the pool relies on in any connection, kept by sessions over transports of others: the SDK's
// in-memory, Streamable HTTP and SSE transports.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { createTransportConnector } from 'mcp-session-pool';
import type { Connection, Connector } from '../../src/connect/connector.ts';
import { describeConnection, type OpenedConnection } from '../support/connection-contract.ts';
import { inMemoryServers } from '../support/in-memory-server.ts';
import { startMcpServer } from '../support/mcp-server.ts';
import { testSettings } from '../support/session-settings.ts';

const open = (connect: Connector): Promise<Connection> =>
  connect(
    { server: 'test', identity: 'ada', connect },
    {
      signal: new AbortController().signal,
      key: 'key-1',
      settings: testSettings(),
      headers: () => ({}),
    },
  );

const opened = (
  connection: Connection,
  dispose: OpenedConnection<Client>['dispose'],
): OpenedConnection<Client> => ({
  connection,
  call: (client) => client.callTool({ name: 'count' }),
  settle: async () => {},
  dispose,
});

describeConnection('a session over an in-memory transport', async () => {
  const servers = inMemoryServers();
  return opened(await open(servers.connect), async () => {
    for (const server of servers.servers) await server.close();
  });
});

describeConnection("a session over the SDK's Streamable HTTP transport", async () => {
  const server = await startMcpServer();
  const connect = createTransportConnector(
    ({ fetch }) => new StreamableHTTPClientTransport(server.url, { fetch }),
  );
  return opened(await open(connect), () => server.close());
});
