// The SDK's transport of the older HTTP+SSE protocol behind the fence: rows 7c and 7d of the
// hazards, with the bare SDK as the counter-proof.

import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import { type HostileServer, hostileServer } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { createFence } from '../../src/connect/fence.ts';
import { pause, until } from '../support/raw-server.ts';

const WATCH_MS = 250;

/** Starts a transport without a client; its `start` may never settle. */
function start(server: HostileServer, fetch?: FetchLike): SSEClientTransport {
  const transport = new SSEClientTransport(server.url, fetch === undefined ? {} : { fetch });
  transport.onerror = () => {};
  transport.start().catch(() => {});
  return transport;
}

describe.concurrent('row 7c: a server that names its endpoint and ends, with `retry: 0`', () => {
  test('is asked again and again by the bare SDK', async () => {
    const server = await hostileServer('sse-retry-zero');
    const transport = start(server);
    await until(() => server.count('GET') > 20);
    await transport.close();
    await server.close();
  });

  test('is asked once in a second through the fence, then ever later', async () => {
    const server = await hostileServer('sse-retry-zero');
    const ends: unknown[] = [];
    const fence = createFence({ random: () => 0, onStreamEnd: (end) => ends.push(end) });
    const transport = start(server, fence.fetch);
    await until(() => server.count('GET') === 2);
    const [first, second] = server.requests;
    expect((second?.cameAt ?? 0) - (first?.cameAt ?? 0)).toBeGreaterThan(990);
    await until(() => ends.length === 2);
    // An endpoint is no message: the stream has flapped.
    expect(ends).toMatchObject([{ broughtMessage: false }, { broughtMessage: false }]);
    await pause(WATCH_MS);
    expect(server.count('GET')).toBe(2);
    fence.arm();
    await transport.close();
    fence.abortAll();
    await server.close();
  });
});

describe.concurrent('row 7d: a server that answers 503 with a body that never ends', () => {
  // No run of the bare SDK: it keeps its socket until the garbage is collected, now or in minutes.
  test('loses its socket to the fence', async () => {
    const server = await hostileServer('error-never-ends');
    const fence = createFence();
    const transport = start(server, fence.fetch);
    await until(() => server.count('GET') === 1);
    await pause(30);
    fence.arm();
    await transport.close();
    fence.abortAll();
    await until(() => server.pending === 0);
    await server.close();
  });
});
