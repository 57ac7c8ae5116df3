// Custom targets over the SDK's own HTTP transports, for tests of what those do to a pool, and
// counts of what they ask for and of what leaves.

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { FetchLike, Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { type CustomTarget, createTransportConnector } from 'mcp-session-pool';
import type { TestContext } from 'vitest';

/** Where undici tells of each request that it begins. */
const REQUESTS = 'undici:request:create';

/** How the SDK's transport reconnects: by default, or the way that hurts most. */
export const RECONNECTS = {
  'by default': undefined,
  'for ever': {
    initialReconnectionDelay: 0,
    maxReconnectionDelay: 0,
    reconnectionDelayGrowFactor: 1,
    maxRetries: 1e9,
  },
} as const;

export type Reconnects = keyof typeof RECONNECTS;

/** A target, and what its transports did. */
export interface CountedTarget {
  readonly target: CustomTarget;
  /** The methods of what transports asked of their fences, in order, whether it left or not. */
  readonly asked: readonly string[];
  /** The methods of the requests that left. */
  readonly left: readonly string[];
  /** The transports that were made. A test that counts what is alive empties it. */
  readonly transports: Transport[];
}

/** What `countedTarget` takes. */
export interface CountedOptions {
  readonly reconnects?: Reconnects;
  /** Below the fences. Default: the connector's own. */
  readonly fetch?: FetchLike;
  /** Default: the SDK's Streamable HTTP transport. */
  readonly make?: (fetch: FetchLike) => Transport;
}

/** A target at `url`. Counts until `context`'s test has finished. */
export function countedTarget(
  context: Pick<TestContext, 'onTestFinished'>,
  url: URL,
  { reconnects = 'by default', fetch: below, make }: CountedOptions = {},
): CountedTarget {
  const reconnectionOptions = RECONNECTS[reconnects];
  const asked: string[] = [];
  const left: string[] = [];
  const transports: Transport[] = [];
  const onRequest = (message: unknown): void => {
    const { request } = message as { request: { origin: string; method: string } };
    if (request.origin === url.origin) left.push(request.method);
  };
  subscribe(REQUESTS, onRequest);
  context.onTestFinished(() => void unsubscribe(REQUESTS, onRequest));
  const connect = createTransportConnector(
    (session) => {
      const fetch: FetchLike = (at, init) => {
        asked.push(init?.method ?? 'GET');
        return session.fetch(at, init);
      };
      const own = { fetch, ...(reconnectionOptions && { reconnectionOptions }) };
      const transport = make?.(fetch) ?? new StreamableHTTPClientTransport(url, own);
      transports.push(transport);
      return transport;
    },
    { fetch: below },
  );
  return { target: { server: url.origin, identity: 'ada', connect }, asked, left, transports };
}
