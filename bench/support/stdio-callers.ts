// The ways of calling a tool of a server over stdio that are compared: what a call costs at least,
// the pool's two, and the SDK's. Each starts a server of its own, and loads no more than it needs.

import { fileURLToPath } from 'node:url';
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type { Tool } from './call-texts.ts';
import type { Caller } from './caller.ts';

/** In the order of the tables. */
export const STDIO_WAYS = [
  'pipes alone',
  'pool, held lease',
  'pool, lease per call',
  'SDK, session kept',
] as const;
export type StdioWay = (typeof STDIO_WAYS)[number];

/** What is called, for one way. */
export const stdioCallers: Readonly<Record<StdioWay, () => Promise<Caller>>> = {
  'pipes alone': pipesAlone,
  'pool, held lease': heldLease,
  'pool, lease per call': leasePerCall,
  'SDK, session kept': sdkKept,
};

const clientInfo = { name: 'bench', version: '1.0.0' };
const script = fileURLToPath(new URL('../children/plain-stdio-server.js', import.meta.url));
const server = { command: process.execPath, args: [script] };

/** The floor: the same messages, no protocol, no checks. */
async function pipesAlone(): Promise<Caller> {
  const { spawn } = await import('node:child_process');
  const child = spawn(server.command, server.args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = new Map<number, (result: unknown) => void>();
  let lastId = 0;
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const { id, result } = JSON.parse(line) as { id: number; result: unknown };
      waiting.get(id)?.(result);
      waiting.delete(id);
    }
  });
  const request = (method: string, params: object): Promise<unknown> => {
    lastId += 1;
    const id = lastId;
    child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    return new Promise((resolve) => waiting.set(id, resolve));
  };
  await request('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo });
  return {
    call: (name, n) => request('tools/call', { name, arguments: { n } }),
    close: async () => child.stdin.end(),
  };
}

async function heldLease(): Promise<Caller> {
  const { SessionPool } = await import('mcp-session-pool');
  const pool = new SessionPool({ clientInfo });
  const lease = await pool.acquire(server);
  return {
    call: (tool, n) => callTool(lease.client, tool, n),
    close: () => {
      lease.release();
      return pool.close();
    },
  };
}

/** A lease for each call. Those in flight at once share the one process. */
async function leasePerCall(): Promise<Caller> {
  const { SessionPool } = await import('mcp-session-pool');
  const pool = new SessionPool({ clientInfo, leasesPerSession: 32 });
  const target = { ...server, identity: 'bench' };
  return {
    call: (tool, n) => pool.use(target, (client) => callTool(client, tool, n)),
    close: () => pool.close(),
  };
}

async function sdkKept(): Promise<Caller> {
  const sdk = await import('@modelcontextprotocol/sdk/client/index.js');
  const stdio = await import('@modelcontextprotocol/sdk/client/stdio.js');
  const client = new sdk.Client(clientInfo);
  // Two of the results of 1 MiB in its buffer at once would be over its default.
  await client.connect(new stdio.StdioClientTransport({ ...server, maxBufferSize: 2 ** 28 }));
  return {
    call: (tool, n) => callTool(client, tool, n),
    close: () => client.close(),
  };
}

function callTool(client: Pick<Client, 'callTool'>, tool: Tool, n: number): Promise<unknown> {
  return client.callTool({ name: tool, arguments: { n } });
}
