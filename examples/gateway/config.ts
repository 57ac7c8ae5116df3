// What the gateway is told: its servers, its users, its limits. One JSON file, checked before
// anything starts. Durations are in milliseconds.

import { readFile } from 'node:fs/promises';
import * as z from 'zod';

export interface GatewayConfig {
  /** On 127.0.0.1. 0: any. Default: 8808. */
  readonly port: number;
  /** Host names (no ports) that clients may reach it by, beside its own: a reverse proxy's. */
  readonly allowedHosts: readonly string[];
  /** Web pages that may use it, through a proxy at their own origin: it sends no CORS headers. */
  readonly allowedOrigins: readonly string[];
  /** By name; each is at the path `/<name>/mcp`. */
  readonly servers: Readonly<Record<string, ServerConfig>>;
  readonly users: readonly UserConfig[];
  readonly limits: Limits;
}

export type ServerConfig = HttpServerConfig | StdioServerConfig;

interface AnyServerConfig {
  /**
   * `per-session` (default): each downstream session has one upstream session of its own, with all
   * the state that it keeps there. `per-call`: the calls of one user share pooled sessions,
   * whichever downstream session they come from. Cheaper, and sound only for servers that keep no
   * state: log levels, subscriptions and changes of lists are then not offered.
   */
  readonly sessions: 'per-session' | 'per-call';
}

export interface HttpServerConfig extends AnyServerConfig {
  /** The MCP endpoint, Streamable HTTP. */
  readonly url: string;
}

/** A server that the gateway starts itself: a process for each session. */
export interface StdioServerConfig extends AnyServerConfig {
  readonly command: string;
  readonly args: readonly string[];
  /** The environment variable that it takes the user's credential from. Default: none. */
  readonly credentialVariable?: string | undefined;
}

export interface UserConfig {
  /** Who it is, to the pool: sessions are never shared between two ids. */
  readonly id: string;
  /** Of the bearer token that the user comes with: `printf %s "$TOKEN" | sha256sum`. */
  readonly tokenSha256: string;
  /**
   * By server, what the gateway speaks with there for this user: the `Authorization` header, or the
   * value of `credentialVariable`. None: no access.
   */
  readonly credentials: Readonly<Record<string, string>>;
}

export interface Limits {
  /** One message of a client. Default: 4 MiB. */
  readonly maxBodyBytes: number;
  /** Downstream sessions, those being opened included. Default: 1,000. */
  readonly maxSessions: number;
  /** Default: 100. */
  readonly maxSessionsPerUser: number;
  /** Default: 32. */
  readonly maxCallsPerSession: number;
  /** A call without progress for so long ends. Default: 5 minutes. */
  readonly callTimeoutMs: number;
  /** A call ends after so long, whatever progress it tells of. Default: 1 hour. */
  readonly maxCallMs: number;
  /** A downstream session without a request for so long ends. Default: 15 minutes. */
  readonly sessionIdleMs: number;
  /** So does one whose client's connections broke and that is silent for so long. Default: 10 s. */
  readonly vanishGraceMs: number;
  /** Calls may go on for so long after SIGTERM. Minimum 0. Default: 10 s. */
  readonly drainTimeoutMs: number;
}

const count = z.int().min(1);
/** Node's timers take no more: they would fire at once. */
const MAX_TIMER_MS = 2_147_483_647;
const durationMs = count.max(MAX_TIMER_MS);

const sessions = z.enum(['per-session', 'per-call']).default('per-session');

const serverSchema = z.union([
  z.strictObject({ url: z.url(), sessions }),
  z.strictObject({
    command: z.string().min(1),
    args: z.array(z.string()).default([]),
    credentialVariable: z.string().min(1).optional(),
    sessions,
  }),
]);

const userSchema = z.strictObject({
  id: z.string().min(1),
  tokenSha256: z.string().regex(/^[0-9a-f]{64}$/),
  credentials: z.record(z.string(), z.string()),
});

const limitsSchema = z.strictObject({
  maxBodyBytes: count.default(4_194_304),
  maxSessions: count.default(1_000),
  maxSessionsPerUser: count.default(100),
  maxCallsPerSession: count.default(32),
  callTimeoutMs: durationMs.default(300_000),
  maxCallMs: durationMs.default(3_600_000),
  sessionIdleMs: durationMs.default(900_000),
  vanishGraceMs: durationMs.default(10_000),
  drainTimeoutMs: z.int().min(0).max(MAX_TIMER_MS).default(10_000),
});

const configSchema = z.strictObject({
  port: z.int().min(0).max(65_535).default(8_808),
  allowedHosts: z.array(z.string()).default([]),
  allowedOrigins: z.array(z.string()).default([]),
  servers: z.record(z.string().regex(/^[a-z0-9-]+$/), serverSchema),
  users: z.array(userSchema),
  limits: limitsSchema.prefault({}),
});

/** @throws ZodError that says what is wrong. */
export function checkConfig(config: unknown): GatewayConfig {
  return configSchema.parse(config);
}

export async function readConfig(path: string): Promise<GatewayConfig> {
  return checkConfig(JSON.parse(await readFile(path, 'utf8')));
}
