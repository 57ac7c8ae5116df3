// The SDK's transport of the older HTTP+SSE protocol behind the fence: rows 7b to 7e of the hazards,
// with the bare SDK as the counter-proof.

import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import { type HostileServer, hostileServer } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { createFence, type Fence } from '../../src/connect/fence.ts';
import { MemoryOAuthProvider } from '../support/memory-oauth-provider.ts';
import { startOAuthServer } from '../support/oauth-server.ts';
import {
  beginEvents,
  pause,
  type RawExchange,
  type RawServer,
  startRawServer,
  until,
} from '../support/raw-server.ts';

const WATCH_MS = 250;

/** Starts a transport without a client; its `start` may never settle. */
function start(server: Pick<HostileServer, 'url'>, fetch?: FetchLike): SSEClientTransport {
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

describe.concurrent('row 7b: a server that drops the stream of a session', () => {
  const drop = (exchange: RawExchange): void =>
    void beginEvents(exchange, 'retry: 10\nevent: endpoint\ndata: /mcp\n\n').end();

  test('is asked for another by the bare SDK, which is a session that nobody initialized', async () => {
    const server = await startRawServer(drop);
    const transport = start(server);
    await until(() => server.count('GET') > 2);
    await transport.close();
    await server.close();
  });

  test('is not asked again once the fence is armed, which `onerror` is a reason for', async () => {
    const server = await startRawServer(drop);
    const fence = createFence();
    const transport = start(server, fence.fetch);
    let errors = 0;
    transport.onerror = () => {
      errors += 1;
      fence.arm();
    };
    await until(() => errors === 1);
    // The floor of a reconnect, and then some.
    await pause(1_000 + WATCH_MS);
    expect([server.count('GET'), errors]).toEqual([1, 1]);
    await transport.close();
    fence.abortAll();
    await server.close();
  });
});

describe.concurrent('row 7e: a transport that is closed while its 401 is answered', () => {
  async function closeInMidFlow(fence: Fence | undefined): Promise<number> {
    const oauth = await startOAuthServer({ resource: () => server.url });
    oauth.mode = 'held';
    const challenge = `Bearer resource_metadata="${oauth.url.origin}/elsewhere"`;
    const server: RawServer = await startRawServer((exchange) => {
      const isOld = exchange.headers.authorization === 'Bearer old';
      if (!isOld) return void beginEvents(exchange);
      exchange.response.writeHead(401, { 'www-authenticate': challenge }).end();
    });
    const tokens = { ...oauth.tokens, access_token: 'old', issuer: oauth.url.origin };
    const authProvider = new MemoryOAuthProvider(tokens);
    const transport = new SSEClientTransport(server.url, {
      authProvider,
      ...(fence && { fetch: fence.fetch }),
    });
    transport.onerror = () => {};
    transport.start().catch(() => {});
    await until(() => oauth.tokenRequests.length === 1);
    fence?.arm();
    await transport.close();
    fence?.abortAll();
    oauth.letGo();
    await pause(WATCH_MS);
    const count = server.count('GET');
    await transport.close();
    await server.close();
    await oauth.close();
    return count;
  }

  test('asks for a stream after its close, if it is the bare SDK', async () => {
    expect(await closeInMidFlow(undefined)).toBe(2);
  });

  test('asks for none through the fence', async () => {
    expect(await closeInMidFlow(createFence())).toBe(1);
  });
});
