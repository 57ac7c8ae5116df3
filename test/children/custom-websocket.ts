// Closes a pool over the SDK's WebSocket transport, as the last thing in its main module, in front
// of peers that acknowledge no Close. Run as `node custom-websocket.js <count> <url>`.

import { SessionPool } from 'mcp-session-pool';
import { WebSocket } from 'ws';
import { webSocketTarget } from '../support/websocket-server.ts';
import { type Facts, reportAtExit } from './exit-report.ts';

const [, , count, url = ''] = process.argv;
const facts: Facts = {};
reportAtExit(facts);
Object.assign(globalThis, { WebSocket });

const pool = new SessionPool({ maxSessionsPerKey: Number(count), closeTimeoutMs: 500 });
const target = webSocketTarget(new URL(url));
const leases = await Promise.all(Array.from({ length: Number(count) }, () => pool.acquire(target)));
for (const { client } of leases) client.callTool({ name: 'hang' }).catch(() => {});
await new Promise<void>((resolve) => {
  process.once('message', () => resolve());
  process.send?.('opened');
});
process.disconnect();
facts['report'] = await pool.close();
facts['doneAt'] = performance.now();
