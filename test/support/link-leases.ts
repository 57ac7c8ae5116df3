// Leases over a bare link, without a pool or a connection: a client, and the lease's controls.

import type { ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import { AbortFanout } from '../../src/abort-fanout.ts';
import type { LeaseContext } from '../../src/connect/connector.ts';
import { LeaseClient } from '../../src/connect/lease-client.ts';
import type { LeaseTransport } from '../../src/connect/lease-transport.ts';
import type { SessionLink } from '../../src/connect/session-link.ts';
import { LeaseReleasedError } from '../../src/errors.ts';

/** One lease over a link. */
export interface LinkLease {
  readonly client: LeaseClient;
  readonly transport: LeaseTransport;
  release(): void;
}

/** Lends a client over `link`. */
export function lendOver(
  link: SessionLink,
  options: Partial<LeaseContext> & { clientOptions?: ClientOptions } = {},
): LinkLease {
  let ended: Error | undefined;
  const { onRequest, onNotification, clientOptions } = options;
  const release = (): void => {
    ended ??= new LeaseReleasedError('key-1', 'released');
    transport.end();
  };
  const transport = link.attach({
    headers: () => ({}),
    end: release,
    endedWith: () => ended,
    ...options,
  });
  const client = new LeaseClient({
    transport,
    clientInfo: { name: 'test', version: '0.0.0' },
    clientOptions: {
      capabilities: { sampling: {}, elicitation: {}, roots: { listChanged: true } },
      jsonSchemaValidator: {
        getValidator: () => (input) =>
          ({ valid: true, data: input, errorMessage: undefined }) as never,
      },
      ...clientOptions,
    },
    handshake: link.handshake,
    aborts: new AbortFanout(),
    onRequest,
    onNotification,
  });
  return { client, transport, release };
}

/** What the SDK keeps of calls in a client: handlers, progress handlers, timers. */
export function leftInTables(client: object): {
  handlers: number;
  progress: number;
  timers: number;
} {
  const tables = client as Record<string, Map<unknown, unknown>>;
  return {
    handlers: tables['_responseHandlers']?.size ?? 0,
    progress: tables['_progressHandlers']?.size ?? 0,
    timers: tables['_timeoutInfo']?.size ?? 0,
  };
}
