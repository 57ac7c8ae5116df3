// Opens MCP sessions over Streamable HTTP, on our own transport. Sits at the edge of the pool as a
// `Connector`; `http-session.ts` is what it opens. Knows no pool.

import '../host-fetch-guard.ts';
import { type DispatcherSource, Dispatchers } from '../http/dispatchers.ts';
import { ProviderFlowsMap } from '../http/provider-flows.ts';
import type { HttpTarget, SessionTarget } from '../target.ts';
import type { Connector } from './connector.ts';
import { EndpointMemory } from './endpoint-memory.ts';
import { HttpSession } from './http-session.ts';
import { type LentShared, lentShared } from './lent-clients.ts';

/** What sessions over HTTP have in common. */
export interface HttpConnectorOptions {
  /** Never closed by us. Default: one undici `Pool` per origin, gone with its last session. */
  readonly dispatcher?: DispatcherSource | undefined;
  /** Longest TCP and TLS handshake, in ms. Default: 10,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** A notification stream of a key is opened again more slowly, because it flaps. */
  readonly onStreamSlowed?: ((key: string, waitMs: number) => void) | undefined;
}

/** What all sessions of one connector share. */
export interface HttpShared extends LentShared {
  readonly options: HttpConnectorOptions;
  readonly dispatchers: Dispatchers;
  /** Of the providers that sessions were given. */
  readonly flows: ProviderFlowsMap;
  readonly endpoints: EndpointMemory;
}

/** Makes a connector for HTTP targets. Opens nothing and holds nothing until it is called. */
export function createHttpConnector(options: HttpConnectorOptions): Connector {
  const { dispatcher, connectTimeoutMs = 10_000 } = options;
  const shared: HttpShared = {
    ...lentShared(),
    options,
    dispatchers: new Dispatchers({ source: dispatcher, connectTimeoutMs }),
    flows: new ProviderFlowsMap(),
    endpoints: new EndpointMemory(),
  };
  return async (target, context) => {
    if (!isHttpTarget(target)) throw new TypeError('Expected a target with a `url`');
    context.signal.throwIfAborted();
    const session = new HttpSession(target, context, shared);
    await session.open(context.signal);
    return session;
  };
}

function isHttpTarget(target: SessionTarget): target is HttpTarget {
  return 'url' in target;
}
