// A real server of the older HTTP+SSE protocol (2024-11-05) that hands every request to the test:
// each GET is a session, with a stream and an endpoint of its own, on which answers come.

import type { ServerResponse } from 'node:http';
import {
  beginEvents,
  eventOf,
  type RawExchange,
  type RawServer,
  startRawServer,
} from './raw-server.ts';

/** One stream that was given. */
export interface SseStream {
  /** What its endpoint names it. */
  readonly id: string;
  readonly response: ServerResponse;
  /** Sends one message over it. */
  send(message: unknown): void;
}

/** A request, and the stream of the session that it names. */
export interface SseExchange extends RawExchange {
  /** `undefined` for a GET, and for a session that is not there. */
  readonly stream: SseStream | undefined;
}

/** What takes a request over: `GET`, or by JSON-RPC method; `response` for answers. */
export type SseHandlers = Readonly<Record<string, (exchange: SseExchange) => void>>;

/** A running server. */
export interface SseServer extends RawServer {
  /** Streams that were given and are open, oldest first. */
  readonly streams: readonly SseStream[];
}

/**
 * Starts one that answers `initialize` and `ping`, gives a stream to each GET, and takes everything
 * else with 202. `handlers` come first.
 */
export async function startSseServer(handlers: SseHandlers = {}): Promise<SseServer> {
  const streams = new Map<string, SseStream>();
  let count = 0;
  const raw = await startRawServer((bare) => {
    const { method, message, path, response } = bare;
    const { searchParams } = new URL(path, 'http://server');
    const stream = streams.get(searchParams.get('session') ?? '');
    const exchange = { ...bare, stream };
    const handler = handlers[method === 'POST' ? (message.method ?? 'response') : method];
    if (handler !== undefined) return handler(exchange);
    if (method === 'GET') {
      count += 1;
      open(exchange, String(count));
    } else if (stream === undefined) {
      response.writeHead(404).end();
    } else {
      response.writeHead(202).end('Accepted');
      if (message.method === 'initialize') stream.send(initialized(exchange));
      if (message.method === 'ping') stream.send({ jsonrpc: '2.0', id: message.id, result: {} });
    }
  });

  const open = (exchange: RawExchange, id: string): void => {
    const response = beginEvents(exchange, `event: endpoint\ndata: /messages?session=${id}\n\n`);
    const send = (message: unknown): void => void response.write(eventOf(message));
    streams.set(id, { id, response, send });
    response.on('close', () => streams.delete(id));
  };

  // A spread would read the counts now.
  return Object.defineProperties(Object.create(raw) as SseServer, {
    url: { value: new URL('/sse', raw.url) },
    streams: { get: () => [...streams.values()] },
  });
}

/** What answers `initialize`. */
export function initialized({ message }: RawExchange): unknown {
  const protocolVersion = message.params?.['protocolVersion'];
  const serverInfo = { name: 'raw', version: '1' };
  const result = { protocolVersion, capabilities: { tools: {} }, serverInfo };
  return { jsonrpc: '2.0', id: message.id, result };
}

/** Takes a call and answers it with its arguments as text. */
export function echo({ message, response, stream }: SseExchange): void {
  response.writeHead(202).end('Accepted');
  const text = JSON.stringify(message.params?.['arguments'] ?? {});
  const result = { content: [{ type: 'text', text }] };
  stream?.send({ jsonrpc: '2.0', id: message.id, result });
}

/** Takes a message and says no more. */
export function take({ response }: SseExchange): void {
  response.writeHead(202).end('Accepted');
}
