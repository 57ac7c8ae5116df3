// The ways of calling a tool that are compared: what a call costs at least, this library's three
// ways, and the SDK's two; those of SDK 2 are in `callers-2.ts`. Each loads what it needs, and no
// more.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { Tool } from './call-texts.ts';
import type { Caller } from './caller.ts';
import { SDK_2_WAYS, sdk2Callers } from './callers-2.ts';

/** In the order of the tables. */
export const WAYS = [
  'undici alone',
  'pool, held lease',
  'pool, lease per call',
  'our transport, SDK client',
  'SDK, session kept',
  'SDK, session per call',
  ...SDK_2_WAYS,
] as const;
export type Way = (typeof WAYS)[number];

/** What is called, for one way, against the server at `url`. */
export const callers: Readonly<Record<Way, (url: string) => Promise<Caller>>> = {
  'undici alone': undiciAlone,
  'pool, held lease': heldLease,
  'pool, lease per call': leasePerCall,
  'our transport, SDK client': ourTransport,
  'SDK, session kept': sdkKept,
  'SDK, session per call': sdkFresh,
  ...sdk2Callers,
};

const clientInfo = { name: 'bench', version: '1.0.0' };
const protocolVersion = '2025-06-18';

/** The floor: the same messages, no protocol, no checks. */
async function undiciAlone(url: string): Promise<Caller> {
  const { Pool } = await import('undici');
  const { origin, pathname: path } = new URL(url);
  const pool = new Pool(origin);
  const headers: Record<string, string> = {
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
    'mcp-protocol-version': protocolVersion,
  };
  let lastId = 0;
  const post = (method: string, params: object) => {
    lastId += 1;
    const body = JSON.stringify({ jsonrpc: '2.0', id: lastId, method, params });
    return pool.request({ method: 'POST', path, headers, body });
  };
  const opened = await post('initialize', { protocolVersion, capabilities: {}, clientInfo });
  await opened.body.text();
  headers['mcp-session-id'] = String(opened.headers['mcp-session-id']);
  return {
    call: async (name, n) => {
      const response = await post('tools/call', { name, arguments: { n } });
      const text = await response.body.text();
      const isStream = response.headers['content-type'] === 'text/event-stream';
      return (JSON.parse(isStream ? dataOf(text) : text) as { result: unknown }).result;
    },
    close: async () => {
      const ended = await pool.request({ method: 'DELETE', path, headers });
      await ended.body.text();
      await pool.close();
    },
  };
}

/** The one data line of a stream of one event. */
function dataOf(text: string): string {
  const start = text.indexOf('data: ') + 'data: '.length;
  return text.slice(start, text.indexOf('\n', start));
}

async function heldLease(url: string): Promise<Caller> {
  const { SessionPool } = await import('mcp-session-pool');
  const pool = new SessionPool({ clientInfo });
  const lease = await pool.acquire({ url, identity: 'bench' });
  return {
    call: (tool, n) => callTool(lease.client, tool, n),
    close: () => {
      lease.release();
      return pool.close();
    },
  };
}

/** A lease for each call, as a gateway does it. Those in flight at once share the one session. */
async function leasePerCall(url: string): Promise<Caller> {
  const { SessionPool } = await import('mcp-session-pool');
  const pool = new SessionPool({ clientInfo, leasesPerSession: 32, maxSessionsPerKey: 1 });
  return {
    call: (tool, n) => pool.use({ url, identity: 'bench' }, (client) => callTool(client, tool, n)),
    close: () => pool.close(),
  };
}

async function ourTransport(url: string): Promise<Caller> {
  const { StreamableHttpTransport } = await import('mcp-session-pool');
  return ofClient(new StreamableHttpTransport(url));
}

async function sdkKept(url: string): Promise<Caller> {
  const http = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
  return ofClient(new http.StreamableHTTPClientTransport(new URL(url)));
}

/** What the SDK's transport and ours have beyond `Transport`, with which the SDK's disagrees. */
interface HttpTransport {
  terminateSession(): Promise<void>;
}

/** A plain SDK client on `transport`. */
async function ofClient(transport: HttpTransport): Promise<Caller> {
  const sdk = await import('@modelcontextprotocol/sdk/client/index.js');
  const client = new sdk.Client(clientInfo);
  await client.connect(transport as HttpTransport & Transport);
  return {
    call: (tool, n) => callTool(client, tool, n),
    close: async () => {
      await transport.terminateSession();
      await client.close();
    },
  };
}

/** As gateways do that keep no sessions. It says goodbye, as it should. */
async function sdkFresh(url: string): Promise<Caller> {
  const sdk = await import('@modelcontextprotocol/sdk/client/index.js');
  const http = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
  return {
    call: async (tool, n) => {
      const client = new sdk.Client(clientInfo);
      const transport = new http.StreamableHTTPClientTransport(new URL(url));
      // The SDK's own types disagree here under `exactOptionalPropertyTypes`.
      await client.connect(transport as Transport);
      const result = await callTool(client, tool, n);
      await transport.terminateSession();
      await client.close();
      return result;
    },
    close: async () => {},
  };
}

function callTool(client: Pick<Client, 'callTool'>, tool: Tool, n: number): Promise<unknown> {
  return client.callTool({ name: tool, arguments: { n } });
}
