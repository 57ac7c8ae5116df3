// Opens sessions for clients of SDK 2, over every transport that the pool has. Sits at the edge of
// the pool as a `Connector`; what it opens are the same sessions as SDK 1's.

import '../host-fetch-guard.ts';
import type {
  Client,
  ClientOptions,
  ResponseCacheStore,
  VersionNegotiationOptions,
} from '@modelcontextprotocol/client';
import type { Connector } from '../connect/connector.ts';
import { checkKnown } from '../known-members.ts';
import { Opener } from './opener.ts';

/** All may be left out. The names are those of SDK 2. */
export interface V2ConnectorOptions {
  /**
   * Which era a server is taken to be of. `mode: 'auto'` asks each server (`server/discover`) and
   * remembers for the identity: one that keeps no session while a session of that identity is open
   * (over stdio: each process by itself), one of the handshake era for ten minutes. Opens that
   * begin before the first answer ask too.
   * `mode: 'legacy'` never asks, and `mode: { pin }` takes no other revision. Default:
   * `{ mode: 'auto' }`.
   */
  readonly versionNegotiation?: VersionNegotiationOptions | undefined;
  /**
   * Keeps what servers without sessions allow to be kept. Each server and identity has a part of
   * its own in it. Default: one in memory for each, gone with its last session.
   */
  readonly responseCacheStore?: ResponseCacheStore | undefined;
  /** For the clients of leases, over the pool's `clientOptions`. Default: none. */
  readonly clientOptions?:
    | Omit<
        ClientOptions,
        'capabilities' | 'versionNegotiation' | 'responseCacheStore' | 'cachePartition'
      >
    | undefined;
}

const KNOWN: ReadonlySet<string> = new Set([
  ...['versionNegotiation', 'responseCacheStore', 'clientOptions'],
]);

/**
 * Makes a connector that lends clients of SDK 2, of servers of either era, over Streamable HTTP and
 * stdio, and of servers of HTTP+SSE (`transport: 'sse'` or `'auto'`), which are of the handshake
 * era. Targets with a `connect` are opened by that. Opens nothing and holds nothing until it is
 * called. Give each pool its own.
 *
 * Over stdio it starts one process for a session, and no other to ask for its era: that process is
 * asked. One that does not answer for half of `connectTimeoutMs` is taken to be of the handshake
 * era, and so is one that ends, in whose place another is started, once.
 *
 * @example
 * ```ts
 * const pool = new SessionPool({ connector: v2Connector() });
 * const { tools } = await pool.use({ url, identity }, (client) => client.listTools());
 * ```
 * @throws TypeError for an unknown option.
 */
export function v2Connector(options: V2ConnectorOptions = {}): Connector<Client> {
  checkKnown('connector option', options, KNOWN);
  const opener = new Opener(options);
  return (target, context) => opener.open(target, context);
}
