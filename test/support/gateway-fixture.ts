// What tests of the example gateway stand on: an upstream server that knows its users, users with
// tokens of their own on both sides, the gateway in this process, and real SDK clients of it.

import { createHash } from 'node:crypto';
import { get } from 'node:http';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { ClientCapabilities } from '@modelcontextprotocol/sdk/types.js';
import { pino } from 'pino';
import * as z from 'zod';
import { checkConfig, type UserConfig } from '../../examples/gateway/config.ts';
import { Gateway } from '../../examples/gateway/gateway.ts';
import { addAskingTools } from './asking-tools.ts';
import { startMcpServer, type TestMcpServer, type TestMcpServerOptions } from './mcp-server.ts';
import { pause } from './raw-server.ts';

/** How long a client that seems to be gone is waited for. */
const VANISH_GRACE_MS = 300;
/** How long anything may take that is waited for. */
const PATIENCE_MS = 15_000;

export const tokenOf = (user: string): string => `downstream-token-of-${user}`;
export const credentialOf = (user: string): string => `Bearer upstream-secret-of-${user}`;

/** A user of the gateway, with a credential for each of these servers. */
export function userConfig(id: string, servers: readonly string[]): UserConfig {
  return {
    id,
    tokenSha256: createHash('sha256').update(tokenOf(id)).digest('hex'),
    credentials: Object.fromEntries(servers.map((name) => [name, credentialOf(id)])),
  };
}

/** An upstream server that refuses whoever it does not know. */
export function startUpstream(
  users: readonly string[],
  options: TestMcpServerOptions = {},
): Promise<TestMcpServer> {
  const known = new Set(users.map(credentialOf));
  return startMcpServer({
    challenge: (authorization) => (known.has(authorization ?? '') ? undefined : 'Bearer'),
    addTools: (server) => {
      addAskingTools(server);
      const argsSchema = { topic: z.string() };
      server.registerPrompt('explain', { argsSchema }, ({ topic }) => ({
        messages: [{ role: 'user', content: { type: 'text', text: `Explain ${topic}` } }],
      }));
    },
    ...options,
  });
}

/** A server as the gateway is configured with. */
export type GatewayServer =
  | { readonly url: string | URL; readonly sessions?: string }
  | { readonly command: string; readonly args: readonly string[] };

export interface GatewayFixtureOptions {
  readonly users: readonly string[];
  /** By name. */
  readonly servers: Readonly<Record<string, GatewayServer>>;
  readonly limits?: Readonly<Record<string, number>>;
  readonly more?: Readonly<Record<string, unknown>>;
}

/** The configuration of a gateway for tests. */
export function gatewayConfig(options: GatewayFixtureOptions): Record<string, unknown> {
  const names = Object.keys(options.servers);
  const servers = Object.entries(options.servers).map(([name, server]) => [
    name,
    'url' in server ? { ...server, url: String(server.url) } : server,
  ]);
  return {
    port: 0,
    servers: Object.fromEntries(servers) as unknown,
    users: options.users.map((user) => userConfig(user, names)),
    limits: { vanishGraceMs: VANISH_GRACE_MS, ...options.limits },
    ...options.more,
  };
}

/** A gateway in this process. */
export interface RunningGateway {
  readonly gateway: Gateway;
  readonly origin: string;
  readonly lines: readonly string[];
  close(): Promise<unknown>;
}

export async function startGateway(options: GatewayFixtureOptions): Promise<RunningGateway> {
  const lines: string[] = [];
  const logger = pino({ level: 'trace' }, { write: (line) => void lines.push(line) });
  const gateway = new Gateway(checkConfig(gatewayConfig(options)), logger);
  const origin = await gateway.listen();
  return { gateway, origin, lines, close: () => gateway.close({ drainTimeoutMs: 0 }) };
}

/** A client of the gateway, connected. */
export interface Downstream {
  readonly client: Client;
  readonly transport: StreamableHTTPClientTransport;
  readonly sessionId: string;
  close(): Promise<void>;
}

export interface DownstreamOptions {
  readonly server?: string;
  readonly capabilities?: ClientCapabilities;
  /** Runs before it connects. */
  readonly prepare?: (client: Client) => void;
}

/** Connects a client of the SDK, as this user. */
export async function connect(
  origin: string,
  user: string,
  options: DownstreamOptions = {},
): Promise<Downstream> {
  const { server = 'main', capabilities = {}, prepare } = options;
  const client = new Client({ name: 'downstream', version: '1.0.0' }, { capabilities });
  prepare?.(client);
  const transport = new StreamableHTTPClientTransport(new URL(`${origin}/${server}/mcp`), {
    requestInit: { headers: { authorization: `Bearer ${tokenOf(user)}` } },
  });
  await client.connect(transport as Transport);
  return { client, transport, sessionId: transport.sessionId!, close: () => client.close() };
}

/** What the gateway tells of itself. */
export interface Health {
  readonly status: string;
  readonly downstreamSessions: number;
  readonly openResponses: number;
  readonly waiting: number;
  readonly upstreamSessions: Readonly<Record<string, number>>;
  readonly totals: Readonly<Record<string, number>>;
}

/** Asks over a connection of its own, which is gone by the time this settles. */
export function health(origin: string): Promise<Health> {
  return new Promise((resolve, reject) => {
    get(`${origin}/healthz`, { agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on('error', reject);
      response.on('close', () => resolve(JSON.parse(text) as Health));
    }).on('error', reject);
  });
}

/** Settles when `isTrue` of what the gateway tells of itself. */
export async function untilHealth(
  origin: string,
  isTrue: (health: Health) => boolean,
): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const now = await health(origin);
    if (isTrue(now)) return;
    if (performance.now() > deadline) throw new Error(`Still ${JSON.stringify(now)}`);
    await pause(10);
  }
}

/** Nothing is left of any session. The response that tells so is open itself. */
export const isEmpty = ({ downstreamSessions, upstreamSessions, openResponses }: Health): boolean =>
  downstreamSessions === 0 &&
  openResponses === 1 &&
  Object.values(upstreamSessions).every((count) => count === 0);
