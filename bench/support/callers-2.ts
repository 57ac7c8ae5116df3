// The ways of calling a tool with clients of SDK 2, in the handshake era (2025-11-25) and without
// sessions (2026-07-28): through the pool, on the SDK's own transport, and on that transport behind
// this library's fence, which is what the pool could have used instead of its own transport.

import type { Client } from '@modelcontextprotocol/client';
import type { Tool } from './call-texts.ts';
import type { Caller } from './caller.ts';

export const SDK_2_WAYS = [
  'SDK 2: pool, held lease',
  'SDK 2: alone, session kept',
  'SDK 2: alone, behind our fence',
  '2026-07-28: pool, held lease',
  '2026-07-28: SDK 2 alone',
  '2026-07-28: SDK 2 behind our fence',
] as const;
type Sdk2Way = (typeof SDK_2_WAYS)[number];

/** `legacy`: the handshake era. `auto`: whatever the server is, which is without sessions here. */
type Mode = 'legacy' | 'auto';

export const sdk2Callers: Readonly<Record<Sdk2Way, (url: string) => Promise<Caller>>> = {
  'SDK 2: pool, held lease': (url) => heldLease(url, 'legacy'),
  'SDK 2: alone, session kept': (url) => alone(url, 'legacy', false),
  'SDK 2: alone, behind our fence': (url) => alone(url, 'legacy', true),
  '2026-07-28: pool, held lease': (url) => heldLease(url, 'auto'),
  '2026-07-28: SDK 2 alone': (url) => alone(url, 'auto', false),
  '2026-07-28: SDK 2 behind our fence': (url) => alone(url, 'auto', true),
};

const clientInfo = { name: 'bench', version: '1.0.0' };

async function heldLease(url: string, mode: Mode): Promise<Caller> {
  const { SessionPool, v2Connector } = await import('mcp-session-pool/v2');
  const connector = v2Connector({ versionNegotiation: { mode } });
  const pool = new SessionPool({ clientInfo, connector });
  const lease = await pool.acquire({ url, identity: 'bench' });
  return {
    call: (tool, n) => callTool(lease.client, tool, n),
    close: () => {
      lease.release();
      return pool.close();
    },
  };
}

async function alone(url: string, mode: Mode, isFenced: boolean): Promise<Caller> {
  const sdk = await import('@modelcontextprotocol/client');
  const fence = isFenced ? (await import('mcp-session-pool')).createFence() : undefined;
  const client = new sdk.Client(clientInfo, { versionNegotiation: { mode } });
  const transport = new sdk.StreamableHTTPClientTransport(
    new URL(url),
    fence && { fetch: fence.fetch },
  );
  await client.connect(transport);
  return {
    call: (tool, n) => callTool(client, tool, n),
    close: async () => {
      await transport.terminateSession();
      fence?.arm();
      await client.close();
      fence?.abortAll();
    },
  };
}

function callTool(client: Pick<Client, 'callTool'>, tool: Tool, n: number): Promise<unknown> {
  return client.callTool({ name: tool, arguments: { n } });
}
