// Opens MCP sessions over Streamable HTTP, on our own transport. Sits at the edge of the pool as a
// `Connector`; `http-session.ts` is what it opens. Knows no pool.

import '../host-fetch-guard.ts';
import type { ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/sdk/types.js';
import { AbortFanout } from '../abort-fanout.ts';
import type { Clock } from '../clock.ts';
import { type DispatcherSource, Dispatchers } from '../http/dispatchers.ts';
import { ProviderFlowsMap } from '../http/provider-flows.ts';
import type { HttpTarget, SessionTarget } from '../target.ts';
import type { Connector } from './connector.ts';
import { EndpointMemory } from './endpoint-memory.ts';
import { HttpSession } from './http-session.ts';
import { SchemaValidators } from './schema-validators.ts';

/** What sessions over HTTP need. */
export interface HttpConnectorOptions {
  /** Sent with `initialize` unless the target names its own. */
  readonly clientInfo: Implementation;
  /** Sent with `initialize` unless the target names its own. */
  readonly capabilities: ClientCapabilities;
  /** For the clients of leases. With a `jsonSchemaValidator` that one is used instead of ours. */
  readonly clientOptions?: Omit<ClientOptions, 'capabilities'> | undefined;
  /** Never closed by us. Default: one undici `Pool` per origin, gone with its last session. */
  readonly dispatcher?: DispatcherSource | undefined;
  /** Longest message, in bytes, that is read. */
  readonly maxMessageBytes: number;
  /** The pool's default; 1 means that a session has one lease at a time. Default: 1. */
  readonly leasesPerSession?: number | undefined;
  /** Longest TCP and TLS handshake, in ms. Default: 10,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** A whole teardown, in ms; half of it bounds the end of an open that failed. Default: 2,000. */
  readonly closeTimeoutMs?: number | undefined;
  /** How long a server may take to say whether it still knows a session. Default: 5,000. */
  readonly probeTimeoutMs?: number | undefined;
  readonly clock: Clock;
  /** Numbers in [0, 1), for jitter. */
  readonly random: () => number;
  /** Out-of-band trouble of a session, by key: transport errors, and what handlers threw. */
  readonly onTrouble?: ((key: string, error: unknown) => void) | undefined;
  /** A notification stream of a key is opened again more slowly, because it flaps. */
  readonly onStreamSlowed?: ((key: string, waitMs: number) => void) | undefined;
}

/** What all sessions of one connector share. */
export interface HttpShared {
  readonly options: HttpConnectorOptions;
  readonly dispatchers: Dispatchers;
  /** Of the providers that sessions were given. */
  readonly flows: ProviderFlowsMap;
  readonly validators: SchemaValidators;
  /** Follows the signals of calls. */
  readonly aborts: AbortFanout;
  readonly endpoints: EndpointMemory;
}

/** Makes a connector for HTTP targets. Opens nothing and holds nothing until it is called. */
export function createHttpConnector(options: HttpConnectorOptions): Connector {
  const { dispatcher, connectTimeoutMs = 10_000 } = options;
  const shared: HttpShared = {
    options,
    dispatchers: new Dispatchers({ source: dispatcher, connectTimeoutMs }),
    flows: new ProviderFlowsMap(),
    validators: new SchemaValidators(),
    aborts: new AbortFanout(),
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
