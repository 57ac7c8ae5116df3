// Our transport under a plain SDK client, against raw servers, for one test file: what the tests of
// `StreamableHttpTransport` start from. All of it is closed after each test.

import { Client, type ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { afterEach } from 'vitest';
import { StreamableHttpTransport } from '../../src/http/streamable-http-transport.ts';
import type {
  HttpMessageExtra,
  StreamableHttpTransportOptions,
  TransportWiring,
} from '../../src/http/transport-options.ts';
import { type RawHandlers, type RawServer, speakMcp, startRawServer } from './raw-server.ts';

/** How a transport is made. */
export interface TransportPlan extends StreamableHttpTransportOptions {
  readonly wiring?: TransportWiring;
}

/** A started transport without a client, and all that it told. */
export interface BareTransport {
  readonly transport: StreamableHttpTransport;
  readonly messages: { message: JSONRPCMessage; extra: HttpMessageExtra | undefined }[];
  readonly errors: Error[];
  /** Calls of `onclose`. */
  readonly closes: number;
}

/** A client on a transport, and what its `onerror` was told. */
export interface ClientOnTransport {
  readonly client: Client;
  readonly transport: StreamableHttpTransport;
  readonly errors: Error[];
}

export interface TransportFixture {
  /** What is closed after the test, the newest first. */
  readonly closers: (() => unknown)[];
  /** A raw server that speaks MCP, but for what `handlers` take over. */
  serve(handlers?: RawHandlers): Promise<RawServer>;
  /** A transport that is not started. */
  make(url: URL | string, plan?: TransportPlan): StreamableHttpTransport;
  /** A transport in the session `session-1`, which needs no `initialize`. */
  start(url: URL | string, plan?: TransportPlan): Promise<BareTransport>;
  /** A client that has not connected. */
  prepare(url: URL | string, plan?: TransportPlan, options?: ClientOptions): ClientOnTransport;
  /** A client that is connected. */
  connect(
    url: URL | string,
    plan?: TransportPlan,
    options?: ClientOptions,
  ): Promise<ClientOnTransport>;
}

/** Called once per test file, at its top. */
export function useTransports(): TransportFixture {
  const closers: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close();
  });
  const make = (
    url: URL | string,
    { wiring = {}, ...options }: TransportPlan = {},
  ): StreamableHttpTransport => {
    // No jitter, so that waits are known.
    const transport = new StreamableHttpTransport(url, { random: () => 0, ...options }, wiring);
    closers.push(() => transport.close());
    return transport;
  };
  const prepare: TransportFixture['prepare'] = (url, plan, options = {}) => {
    const transport = make(url, plan);
    const client = new Client({ name: 'test', version: '0.0.0' }, options);
    const errors: Error[] = [];
    client.onerror = (error) => errors.push(error);
    return { client, transport, errors };
  };
  return {
    closers,
    make,
    prepare,
    serve: async (handlers = {}) => {
      const server = await startRawServer(speakMcp(handlers));
      closers.push(() => server.close());
      return server;
    },
    start: async (url, plan = {}) => {
      const transport = make(url, {
        sessionId: 'session-1',
        protocolVersion: '2025-06-18',
        ...plan,
      });
      return startBare(transport);
    },
    connect: async (url, plan, options) => {
      const made = prepare(url, plan, options);
      await made.client.connect(made.transport);
      return made;
    },
  };
}

async function startBare(transport: StreamableHttpTransport): Promise<BareTransport> {
  const bare = { transport, messages: [], errors: [], closes: 0 } as BareTransport & {
    closes: number;
  };
  transport.onmessage = (message, extra) => bare.messages.push({ message, extra });
  transport.onerror = (error) => bare.errors.push(error);
  transport.onclose = () => {
    bare.closes += 1;
  };
  await transport.start();
  return bare;
}

/** A request as clients send it. */
export function request(
  id: number | string,
  method = 'tools/call',
): JSONRPCMessage & { id: typeof id } {
  return { jsonrpc: '2.0', id, method, params: { name: 'x' } };
}

/** A notification as clients send it. */
export function notification(method = 'notifications/x'): JSONRPCMessage {
  return { jsonrpc: '2.0', method };
}

/** The result of `request(id)`, as servers send it. */
export function resultOf(id: unknown, text = 'done'): object {
  return { jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }] } };
}

/** What `promise` rejects with. Throws if it fulfils. */
export async function rejectionOf(promise: Promise<unknown>): Promise<Record<string, unknown>> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error as Record<string, unknown>;
  }
  throw new Error(`Expected a rejection, got ${JSON.stringify(value)}`);
}

/** How `promise` has settled within `ms`: `pending` if it has not. */
export async function stateWithin(
  ms: number,
  promise: Promise<unknown>,
): Promise<'fulfilled' | 'rejected' | 'pending'> {
  let timer: NodeJS.Timeout | undefined;
  const pending = new Promise<'pending'>((resolve) => {
    timer = setTimeout(() => resolve('pending'), ms);
  });
  const settled = promise.then(
    () => 'fulfilled' as const,
    () => 'rejected' as const,
  );
  const state = await Promise.race([settled, pending]);
  clearTimeout(timer);
  return state;
}

/** Milliseconds between one GET that reached the server and the next. */
export function gapsOfGets(server: RawServer): number[] {
  const at = server.exchanges.filter(({ method }) => method === 'GET').map((each) => each.cameAt);
  return at.slice(1).map((cameAt, n) => cameAt - (at[n] as number));
}
