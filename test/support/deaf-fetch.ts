// A fetch that never leaves the process, speaks enough MCP for a client to connect, and takes no
// notice of aborts.

import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';

/** Makes the body of an event stream; is given the signal that the request came with. */
export type MakeBody = (signal: AbortSignal) => ReadableStream<Uint8Array>;

/**
 * Answers `initialize` with JSON, what `streams` names (`GET`, or a JSON-RPC method) with an event
 * stream, GET with 405 and everything else with 202.
 */
export function answerByRpc(streams: Readonly<Record<string, MakeBody>>): FetchLike {
  return async (_url, init = {}) => {
    const message = (typeof init.body === 'string' ? JSON.parse(init.body) : {}) as {
      id?: number;
      method?: string;
    };
    const method = init.method === 'POST' ? (message.method ?? '') : (init.method ?? 'GET');
    const stream = streams[method];
    if (stream !== undefined) {
      const headers = { 'content-type': 'text/event-stream' };
      return new Response(stream(init.signal as AbortSignal), { headers });
    }
    if (method === 'initialize') {
      const result = {
        protocolVersion: '2025-06-18',
        capabilities: { tools: {} },
        serverInfo: { name: 'deaf', version: '1' },
      };
      return Response.json({ jsonrpc: '2.0', id: message.id, result });
    }
    return new Response(null, { status: method === 'GET' ? 405 : 202 });
  };
}
