// A client of the gateway in a process of its own, to be killed: it connects, begins a call that
// never ends, and says that it did.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';

const [, , url = '', token = ''] = process.argv;
const client = new Client({ name: 'downstream', version: '1.0.0' });
const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { authorization: `Bearer ${token}` } },
});
await client.connect(transport as Transport);
client.callTool({ name: 'hang' }).catch(() => {});
process.on('disconnect', () => process.exit());
process.send?.('calling');
