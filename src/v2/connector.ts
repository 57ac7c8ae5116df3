// Opens sessions for clients of SDK 2, over HTTP: of either era, on our own transport. Sits at the
// edge of the pool as a `Connector`; what it opens is the same session as SDK 1's.

import '../host-fetch-guard.ts';
import type {
  Client,
  ClientOptions,
  ResponseCacheStore,
  VersionNegotiationOptions,
} from '@modelcontextprotocol/client';
import type { ClientOptions as Sdk1ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import type { Connection, Connector } from '../connect/connector.ts';
import { HttpSession } from '../connect/http-session.ts';
import { type HttpMeans, httpMeans } from '../connect/http-shared.ts';
import { lentCaches } from '../connect/lent-clients.ts';
import { checkKnown } from '../known-members.ts';
import type { HttpTarget, SessionTarget } from '../target.ts';
import { createSdk2, createValidator } from './sdk-2.ts';
import { type ServerHold, ServerMemory } from './server-memory.ts';

/** All may be left out. The names are those of SDK 2. */
export interface V2ConnectorOptions {
  /**
   * Which era a server is taken to be of. `mode: 'auto'` asks each server (`server/discover`) and
   * remembers for the identity: one that keeps no session while a session of that identity is open,
   * one of the handshake era for ten minutes. Opens that begin before the first answer ask too.
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
 * Makes a connector that lends clients of SDK 2, of servers of either era over Streamable HTTP: it
 * refuses targets with a `command`, and `transport: 'sse'` and `'auto'`. Opens nothing and holds
 * nothing until it is called. Give each pool its own.
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
  const { versionNegotiation = { mode: 'auto' }, responseCacheStore, clientOptions } = options;
  const memory = new ServerMemory(responseCacheStore);
  const lineOf = (server: ServerHold) =>
    createSdk2(server, {
      negotiation: versionNegotiation,
      clientOptions: clientOptions as Sdk1ClientOptions | undefined,
    });
  const caches = lentCaches(createValidator);
  let means: HttpMeans | undefined;
  return async (target, context) => {
    assertHttp(target);
    context.signal.throwIfAborted();
    const { settings } = context;
    means ??= httpMeans(settings);
    const server = memory.hold(settings.caller, settings.clock);
    const worn = (): void => {
      server.forget();
      context.worn?.();
    };
    const session = new HttpSession(
      target,
      { ...context, worn },
      { ...caches, ...means, line: lineOf(server) },
    );
    await session.open(context.signal);
    // A server that can't be reached may come back as another.
    session.lost.addEventListener('abort', () => server.forget(), { once: true });
    return session as Connection<Client>;
  };
}

/** `'auto'` too is refused: it promises HTTP+SSE where a server speaks nothing else. */
function assertHttp(target: SessionTarget): asserts target is HttpTarget {
  const kind = kindOf(target);
  if (kind === 'streamable-http') return;
  throw new TypeError(`\`v2Connector\` opens Streamable HTTP targets, got one for ${kind}`);
}

function kindOf(target: SessionTarget): string {
  if ('url' in target) return target.transport ?? 'streamable-http';
  return 'command' in target ? 'stdio' : 'a connector of its own';
}
