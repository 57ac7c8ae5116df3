// Makes a connector of any transport of SDK 2, for custom targets and for the pool's `connector`
// option. The work is that of `connect/transport-connector.ts`; this is what is SDK 2's own.

import type { Client, Transport } from '@modelcontextprotocol/client';
import type { Connector } from '../connect/connector.ts';
import { lentCaches } from '../connect/lent-clients.ts';
import {
  type Loaded,
  type MakeTransport,
  type SessionTransport,
  type TransportConnectorOptions,
  type TransportContext,
  transportConnector,
} from '../connect/transport-connector.ts';
import { createSdk2, createValidator } from './sdk-2.ts';
import { ServerMemory } from './server-memory.ts';

/** A transport of SDK 2, with what the pool can't know of it. */
export interface V2SessionTransport extends Omit<SessionTransport, 'transport'> {
  /** Not started. Made for this session alone. */
  readonly transport: Transport;
}

/** Makes the transport of one session, anew each time, as `MakeTransport` of the main entry. */
export type V2MakeTransport = (
  context: TransportContext,
) => Transport | V2SessionTransport | Promise<Transport | V2SessionTransport>;

/**
 * Makes a connector of any transport of SDK 2, with all that `createTransportConnector` of the main
 * entry says. Its sessions are of the handshake era: servers are not asked for another one, for the
 * end of a call of 2026-07-28 looks different on every transport.
 *
 * @example
 * ```ts
 * const connect = v2TransportConnector(
 *   ({ fetch }) => new StreamableHTTPClientTransport(url, { fetch }),
 * );
 * const pool = new SessionPool({ connector: v2Connector() });
 * const lease = await pool.acquire({ server: 'tools', identity: user.id, connect });
 * ```
 */
export function v2TransportConnector(
  make: V2MakeTransport,
  options: TransportConnectorOptions = {},
): Connector<Client> {
  return transportConnector(make as MakeTransport, options, load);
}

async function load(): Promise<Loaded<Client>> {
  const { TransportSession } = await import('../connect/transport-session.ts');
  const caches = lentCaches(createValidator);
  const memory = new ServerMemory(undefined);
  const how = {
    negotiation: { mode: 'legacy' },
    isStdio: false,
    clientOptions: undefined,
  } as const;
  return {
    Session: TransportSession,
    sharedFor: ({ settings: { caller, clock } }) => ({
      ...caches,
      line: createSdk2(memory.hold(caller, clock), how),
    }),
  };
}
