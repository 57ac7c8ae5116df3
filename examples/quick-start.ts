// README's first example, as it stands there. Run it against a server with a tool named `echo`.

import { SessionPool } from 'mcp-session-pool';

const url = process.env['MCP_URL'] ?? 'http://127.0.0.1:3000/mcp';
const pool = new SessionPool({ clientInfo: { name: 'my-gateway', version: '1.0.0' } });

// One call: acquire, run, release.
const tools = await pool.use({ url, identity: 'alice' }, (client) => client.listTools());
console.log(tools.tools.map((tool) => tool.name));

// Or hold a lease; it ends with the block.
{
  await using lease = await pool.acquire({ url, identity: 'alice' });
  const result = await lease.client.callTool({ name: 'echo', arguments: { message: 'hello' } });
  console.log(lease.reused, result.content);
}

console.log(await pool.close()); // { sessions: 1, closed: 1, abandoned: 0, unterminated: 0, durationMs: … }
