// What the sessions of one pool over HTTP have in common, whichever protocol they speak: sockets,
// OAuth flows, and what is remembered of servers.

import '../host-fetch-guard.ts';
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { type DispatcherSource, Dispatchers } from '../http/dispatchers.ts';
import { ProviderFlowsMap } from '../http/provider-flows.ts';
import type { HttpTarget, SessionTarget } from '../target.ts';
import { EndpointMemory } from './endpoint-memory.ts';
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

/** Opens nothing, and holds nothing until there are sessions. */
export function httpMeans(options: HttpConnectorOptions): HttpMeans {
  const { dispatcher, connectTimeoutMs = 10_000 } = options;
  return {
    dispatchers: new Dispatchers({ source: dispatcher, connectTimeoutMs }),
    flows: new ProviderFlowsMap(),
    endpoints: new EndpointMemory(),
  };
}

/** @throws TypeError for a target of another kind. */
export function asHttpTarget(target: SessionTarget): HttpTarget {
  if (!('url' in target)) throw new TypeError('Expected a target with a `url`');
  return target;
}
