// An MCP server that ends every notification stream as soon as it is open, and asks for the next one
// after `retryMs`. Everything else it does as it should.

import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { childInput, tellParent } from '../support/child.ts';

export interface FlapCounts {
  /** Notification streams asked for so far. */
  readonly gets: number;
  /** The shortest time between two of one session since the last count. `null`: there were no two. */
  readonly shortestGapMs: number | null;
}

const { retryMs } = childInput<{ retryMs: number }>();
const lastGetAt = new Map<string, number>();
let gets = 0;
let shortestGapMs = Number.POSITIVE_INFINITY;

const server = createServer((request, response) => {
  answer(request, response).catch(() => response.destroy());
});
process.on('message', () => {
  const isKnown = Number.isFinite(shortestGapMs);
  const counts: FlapCounts = { gets, shortestGapMs: isKnown ? shortestGapMs : null };
  shortestGapMs = Number.POSITIVE_INFINITY;
  void tellParent(counts);
});
server.listen(0, '127.0.0.1', 1_024, () => {
  void tellParent({ port: (server.address() as AddressInfo).port });
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'DELETE') {
    response.writeHead(204).end();
    return;
  }
  if (request.method === 'GET') {
    noteGet(String(request.headers['mcp-session-id']));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(`retry: ${retryMs}\ndata:\n\n`);
    return;
  }
  const { id, method } = (await json(request)) as { id?: number; method?: string };
  if (id === undefined) {
    response.writeHead(202).end();
    return;
  }
  const isFirst = method === 'initialize';
  const session = isFirst ? { 'mcp-session-id': randomUUID() } : {};
  response.writeHead(200, { 'content-type': 'application/json', ...session });
  const result = isFirst
    ? {
        protocolVersion: '2025-06-18',
        capabilities: { tools: {} },
        serverInfo: { name: 'flapping', version: '1.0.0' },
      }
    : { content: [] };
  response.end(JSON.stringify({ jsonrpc: '2.0', id, result }));
}

function noteGet(session: string): void {
  const now = performance.now();
  gets += 1;
  shortestGapMs = Math.min(
    shortestGapMs,
    now - (lastGetAt.get(session) ?? Number.NEGATIVE_INFINITY),
  );
  lastGetAt.set(session, now);
}
