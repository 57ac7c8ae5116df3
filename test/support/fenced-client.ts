// The SDK's own client and Streamable HTTP transport, with or without a fence between it and the
// network, set up the way that hurts most: it retries for ever, without a delay of its own.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import { createFence, type Fence, type FenceOptions } from '../../src/connect/fence.ts';

/** A fetch that counts, and after `limit` requests lets callers wait for ever. */
export interface CountedFetch {
  readonly fetch: FetchLike;
  readonly count: number;
}

/** Counts what goes through `fetch`. The limit bounds loops that nothing else would end. */
function countFetch(fetch: FetchLike = globalThis.fetch, limit = 100): CountedFetch {
  let count = 0;
  return {
    fetch: (url, init) => {
      count += 1;
      return count > limit ? new Promise(() => {}) : fetch(url, init);
    },
    get count() {
      return count;
    },
  };
}

/** An SDK client, its transport, what was fetched below the fence, and the fence if there is one. */
export interface FencedClient {
  readonly client: Client;
  readonly transport: StreamableHTTPClientTransport;
  /** Requests that left. */
  readonly left: CountedFetch;
  readonly fence: Fence | undefined;
  /** Tears down in the order that a pool does; without a fence, closes. */
  close(): Promise<void>;
}

/** What `connectClient` takes beside the server's URL. */
export interface FencedClientOptions extends FenceOptions {
  /** Default: true. */
  readonly fenced?: boolean;
  /** Default: true. */
  readonly connect?: boolean;
  readonly limit?: number;
}

/** Connects an SDK client. */
export async function connectClient(
  url: URL,
  options: FencedClientOptions = {},
): Promise<FencedClient> {
  const { fenced = true, connect = true, limit, fetch, ...fenceOptions } = options;
  const left = countFetch(fetch, limit);
  const fence = fenced ? createFence({ ...fenceOptions, fetch: left.fetch }) : undefined;
  const transport = new StreamableHTTPClientTransport(url, {
    fetch: fence?.fetch ?? left.fetch,
    reconnectionOptions: {
      initialReconnectionDelay: 0,
      maxReconnectionDelay: 0,
      reconnectionDelayGrowFactor: 1,
      maxRetries: 1e9,
    },
  });
  const client = new Client({ name: 'test', version: '1' });
  if (connect) await client.connect(transport);
  const close = async (): Promise<void> => {
    fence?.arm();
    await client.close();
    fence?.abortAll();
  };
  return { client, transport, left, fence, close };
}
