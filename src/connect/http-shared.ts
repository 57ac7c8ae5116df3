// What the sessions of one pool over HTTP have in common, whichever protocol they speak: sockets,
// OAuth flows, and what is remembered of servers.

import '../host-fetch-guard.ts';
import { type DispatcherSource, Dispatchers } from '../http/dispatchers.ts';
import { ProviderFlowsMap } from '../http/provider-flows.ts';
import type { HttpTarget, SessionTarget } from '../target.ts';
import { EndpointMemory } from './endpoint-memory.ts';
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

/** What all sessions of one pool share. */
export interface HttpShared extends LentShared {
  readonly options: HttpConnectorOptions;
  readonly dispatchers: Dispatchers;
  /** Of the providers that sessions were given. */
  readonly flows: ProviderFlowsMap;
  readonly endpoints: EndpointMemory;
}

/** Opens nothing, and holds nothing until there are sessions. */
export function createHttpShared(options: HttpConnectorOptions): HttpShared {
  const { dispatcher, connectTimeoutMs = 10_000 } = options;
  return {
    ...lentShared(),
    options,
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
