// Opens MCP sessions over Streamable HTTP, on our own transport. Sits at the edge of the pool as a
// `Connector`; `http-session.ts` is what it opens. Knows no pool.

import '../host-fetch-guard.ts';
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { type DispatcherSource, Dispatchers } from '../http/dispatchers.ts';
import { ProviderFlowsMap } from '../http/provider-flows.ts';
import type { HttpTarget, SessionTarget } from '../target.ts';
import type { Connector } from './connector.ts';
import { EndpointMemory } from './endpoint-memory.ts';
import { HttpSession } from './http-session.ts';
import type { LentShared } from './lent-clients.ts';

/** What sessions over HTTP have in common. */
export interface HttpConnectorOptions {
  /** Never closed by us. Default: one undici `Pool` per origin, gone with its last session. */
  readonly dispatcher?: DispatcherSource | undefined;
  /** Longest TCP and TLS handshake, in ms. Default: 10,000. */
  readonly connectTimeoutMs?: number | undefined;
}

/** What all sessions over HTTP of one connector share. */
export interface HttpMeans {
  readonly dispatchers: Dispatchers;
  /** Of the providers that sessions were given. */
  readonly flows: ProviderFlowsMap;
  readonly endpoints: EndpointMemory;
}

/** The same, with what they share for the clients of their leases. */
export interface HttpShared<C = Client> extends LentShared<C>, HttpMeans {}

export function httpMeans(options: HttpConnectorOptions): HttpMeans {
  const { dispatcher, connectTimeoutMs = 10_000 } = options;
  return {
    dispatchers: new Dispatchers({ source: dispatcher, connectTimeoutMs }),
    flows: new ProviderFlowsMap(),
    endpoints: new EndpointMemory(),
  };
}

/**
 * Makes a connector for HTTP targets, whose sessions lend what `lent` makes. Opens nothing and
 * holds nothing until it is called.
 */
export function createHttpConnector<C>(
  options: HttpConnectorOptions,
  lent: LentShared<C>,
): Connector<C> {
  const shared: HttpShared<C> = { ...lent, ...httpMeans(options) };
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
