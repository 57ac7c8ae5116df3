// README's example of a unit test: a hung stream and a clock of the test's. Needs no server.

import assert from 'node:assert/strict';
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SessionPool } from 'mcp-session-pool';
import { hungConnector, ManualClock } from 'mcp-session-pool/testing';

// A peer that opens sessions and acknowledges nothing after: no call, no DELETE, no close.
const clock = new ManualClock();
const connector = hungConnector<Client>({
  clock,
  methods: (fake) => ({
    callTool: async () => ({ content: [{ type: 'text', text: await fake.call() }] }),
  }),
});
const pool = new SessionPool({ connector: connector.connect }, { clock });

const lease = await clock.waitFor(pool.acquire({ url: 'https://tools.example/mcp' }));
const call = lease.client.callTool({ name: 'search' });
const ended = assert.rejects(call, { code: 'SESSION_LOST' });

const startedAt = clock.now();
const report = await clock.waitFor(pool.close()); // in no time
await ended;
console.log(report.abandoned, clock.now() - startedAt, clock.pendingCount); // 1 5000 0
console.log(connector.last.calls.map(({ name }) => name)); // open, lend, call, fence, terminate, …
