// A fetch that never leaves the process, speaks enough MCP for a client to connect, and takes no
// notice of aborts: what a fence (`createFence`) and a custom transport have to hold out against.

import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import { systemClock } from '../clock.ts';
import type { SeenMessage } from './loopback-server.ts';

/** Makes the body of an event stream; is given the signal that the request came with. */
export type MakeBody = (signal: AbortSignal) => ReadableStream<Uint8Array>;

/**
 * Makes a `fetch` that ignores its signal. Answers `initialize` with JSON, what `streams` names
 * (`GET`, or a JSON-RPC method) with an event stream, other GETs with 405 and the rest with 202.
 *
 * @example
 * ```ts
 * const fence = createFence({ fetch: deafFetch({ 'tools/call': hungBody, GET: floodBody }) });
 * const transport = new StreamableHTTPClientTransport(url, { fetch: fence.fetch });
 * ```
 */
export function deafFetch(streams: Readonly<Record<string, MakeBody>> = {}): FetchLike {
  return async (_url, init = {}) => {
    const message = (typeof init.body === 'string' ? JSON.parse(init.body) : {}) as SeenMessage;
    const method = init.method === 'POST' ? (message.method ?? '') : (init.method ?? 'GET');
    const stream = streams[method];
    if (stream !== undefined) {
      const headers = { 'content-type': 'text/event-stream' };
      return new Response(stream(init.signal ?? new AbortController().signal), { headers });
    }
    if (method === 'initialize') {
      const result = {
        protocolVersion: '2025-06-18',
        capabilities: { tools: {} },
        serverInfo: { name: 'deaf', version: '1.0.0' },
      };
      return Response.json({ jsonrpc: '2.0', id: message.id, result });
    }
    return new Response(null, { status: method === 'GET' ? 405 : 202 });
  };
}

/** A body that never gives a byte, never ends, and never acknowledges its cancel. */
export function hungBody(): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull: () => new Promise(() => undefined),
    cancel: () => new Promise(() => undefined),
  });
}

/**
 * A body that gives one log message after another, a turn of the event loop apart, for as long as
 * it is read. It never acknowledges its cancel.
 */
export function floodBody(): ReadableStream<Uint8Array> {
  const params = { level: 'info', data: 'flood' };
  const message = { jsonrpc: '2.0', method: 'notifications/message', params };
  const event = new TextEncoder().encode(`data: ${JSON.stringify(message)}\n\n`);
  let isCancelled = false;
  return new ReadableStream({
    pull: (controller) =>
      new Promise((resolve) => {
        systemClock.yield(() => {
          if (!isCancelled) controller.enqueue(event);
          resolve();
        });
      }),
    cancel: () => {
      isCancelled = true;
      return new Promise(() => undefined);
    },
  });
}
