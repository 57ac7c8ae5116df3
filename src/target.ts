// What a caller wants a session of: the server, and on whose behalf. Types only; `key-maker.ts`
// turns a target into a key, connectors turn it into a session.

import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/sdk/types.js';
import type { Connector } from './connect/connector.ts';

/** Header names and values, as sent. Names are compared without regard to case. */
export type HeaderRecord = Readonly<Record<string, string>>;

/** Asks for headers anew, for one request. */
export type AskHeaders = () => HeaderRecord | Promise<HeaderRecord>;

/** Headers, or a function that is asked for them anew for every request. */
export type HeaderSource = HeaderRecord | AskHeaders;

/** On whose behalf, and with which client identity, sessions are opened. Part of the key. */
export interface Scope {
  /**
   * Who is calling (user, tenant). Sessions are never shared between identities. Give it whenever
   * credentials rotate: the key then stays the same while every request carries the newest headers.
   * Default: an HMAC over everything in the target that could carry a credential.
   */
  readonly identity?: string;
  /**
   * A downstream session id. Exactly one upstream session per (server, identity, affinity), shared
   * by all calls of that downstream session and by nobody else's.
   */
  readonly affinity?: string;
  /**
   * Concurrent leases per session. Integer, minimum 1. Default: the pool's. Means nothing with
   * `affinity`, whose one session takes any number, so that nested calls never wait for each other.
   */
  readonly leasesPerSession?: number;
  /** Sent with `initialize`. Default: the pool's. */
  readonly clientInfo?: Implementation;
  /** Sent with `initialize`. Default: the pool's. */
  readonly capabilities?: ClientCapabilities;
}

/** A server reached over HTTP. */
export interface HttpTarget extends Scope {
  /** The MCP endpoint, `http:` or `https:`. */
  readonly url: string | URL;
  /**
   * `'sse'`: the older HTTP+SSE protocol of 2024-11-05. `'auto'`: Streamable HTTP, and where the
   * server does not speak that, HTTP+SSE, both within `connectTimeoutMs`; what it speaks is
   * remembered. Default: `'streamable-http'`.
   */
  readonly transport?: 'streamable-http' | 'sse' | 'auto';
  /**
   * Supplies OAuth tokens. Needs `identity`. Give one object per identity, not one per call:
   * sessions that were given the same one refresh its token once, not once each.
   */
  readonly authProvider?: OAuthClientProvider;
  /** Sent with every request. A function needs `identity`. */
  readonly headers?: HeaderSource;
  /**
   * Keeps a notification stream (GET) open while the session lives. Default: only when someone
   * listens (`onNotification` or `onRequest` of a lease or of the pool, a handler set on the client
   * of a lease, `clientOptions.listChanged`), and always with `affinity`. Means nothing to
   * HTTP+SSE, where a session is its stream.
   */
  readonly notifications?: boolean;
}

/**
 * A server run as a child process, spoken to over its stdin and stdout. The process heads a group
 * of its own, which is ended with the session: see `closeOnSignals` for when ours is ended.
 */
export interface StdioTarget extends Scope {
  /** Started as it is, without a shell. Shown in events and logs. */
  readonly command: string;
  /** Kept out of events and logs, as `env` and `cwd` are. */
  readonly args?: readonly string[];
  /**
   * Added to what the process inherits of our environment, which is only what holds no secrets:
   * `HOME`, `LOGNAME`, `PATH`, `SHELL`, `TERM`, `USER`; on Windows the like.
   */
  readonly env?: Readonly<Record<string, string>>;
  /** Default: our own. */
  readonly cwd?: string;
}

/** A server reached through a connector of the caller's. Needs `identity`. */
export interface CustomTarget extends Scope {
  /** Names the server; part of the key. */
  readonly server: string;
  readonly connect: Connector<unknown>;
}

/** What `acquire` and `use` take. */
export type SessionTarget = HttpTarget | StdioTarget | CustomTarget;
