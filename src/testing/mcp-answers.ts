// How a well-behaved MCP server answers, request by request, over Streamable HTTP or over the SSE
// transport of 2024-11-05: what a hostile one does before and besides its one hazard, and the
// strokes that hazards are drawn with.

import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { systemClock } from '../clock.ts';
import type { LoopbackExchange } from './loopback-server.ts';

/** Where the SSE transport of 2024-11-05 opens its stream, and where it posts. */
export const SSE_PATH = '/sse';
const SSE_POST_PATH = '/message';
const SESSION_HEADER = 'mcp-session-id';
/** Revisions that `initialize` may ask for; any other is answered with the first. */
const REVISIONS: readonly unknown[] = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'];

/** Answers as it should, and remembers the sessions that it gave out. */
export class McpAnswers {
  /** Ids of sessions that were opened and not ended. */
  readonly #sessions = new Set<string>();
  /** SSE streams that are open, by the session of their endpoint. */
  readonly #streams = new Map<string, ServerResponse>();

  /** Answers `exchange` as a server with one tool, `echo`, and a silent notification stream. */
  answer(exchange: LoopbackExchange): void {
    const { method, path, message, response } = exchange;
    if (path.startsWith(SSE_PATH) || path.startsWith(SSE_POST_PATH)) this.#answerSse(exchange);
    else if (message.method === 'initialize') this.initialize(exchange);
    else if (!this.knows(exchange)) refuseSession(exchange);
    else if (method === 'DELETE') {
      this.forget(exchange);
      response.writeHead(204).end();
    } else if (method === 'GET') beginEvents(exchange);
    else if (method !== 'POST') refuse(exchange, 405, 'Method not allowed');
    else if (isRequest(exchange)) answerJson(exchange, answerTo(exchange));
    else response.writeHead(202).end();
  }

  /** Answers `initialize` with a session id of its own, or with `sessionId`. */
  initialize(exchange: LoopbackExchange, sessionId: string = randomUUID()): void {
    this.#sessions.add(sessionId);
    answerJson(exchange, answerTo(exchange), { [SESSION_HEADER]: sessionId });
  }

  /** Whether it names a session that is open. */
  knows({ headers }: LoopbackExchange): boolean {
    const sessionId = headers[SESSION_HEADER];
    return typeof sessionId === 'string' && this.#sessions.has(sessionId);
  }

  /** Forgets the session that it names. */
  forget({ headers }: LoopbackExchange): void {
    this.#sessions.delete(headers[SESSION_HEADER] as string);
  }

  /** Opens the stream of an SSE session and names its endpoint, in an event with `fields`. */
  openSse(exchange: LoopbackExchange, fields = ''): void {
    const sessionId = randomUUID();
    const stream = beginEvents(
      exchange,
      `${fields}event: endpoint\ndata: ${SSE_POST_PATH}?sessionId=${sessionId}\n\n`,
    );
    this.#streams.set(sessionId, stream);
    stream.once('close', () => this.#streams.delete(sessionId));
  }

  /** Ends the SSE streams that are open. */
  dropSse(): void {
    for (const stream of this.#streams.values()) stream.end();
  }

  #answerSse(exchange: LoopbackExchange): void {
    const { method, path, response } = exchange;
    if (method === 'GET') return this.openSse(exchange);
    const stream = this.#streams.get(
      new URLSearchParams(path.split('?')[1]).get('sessionId') ?? '',
    );
    if (stream === undefined) return refuse(exchange, 404, 'Session not found');
    response.writeHead(202).end();
    if (isRequest(exchange)) stream.write(eventOf(answerTo(exchange)));
  }
}

function refuseSession(exchange: LoopbackExchange): void {
  if (SESSION_HEADER in exchange.headers) refuse(exchange, 404, 'Session not found');
  else refuse(exchange, 400, 'Bad Request: no session id');
}

/** Whether it is a JSON-RPC request: something that waits for an answer. */
export const isRequest = ({ message }: LoopbackExchange): boolean =>
  message.id !== undefined && message.method !== undefined;

/** The good answer to a JSON-RPC request, as a message. */
export function answerTo({ message: { id, method, params } }: LoopbackExchange): object {
  const base = { jsonrpc: '2.0', id };
  switch (method) {
    case 'initialize': {
      const wanted = params?.['protocolVersion'];
      const protocolVersion = REVISIONS.includes(wanted) ? wanted : REVISIONS[0];
      const serverInfo = { name: 'hostile-server', version: '1.0.0' };
      return { ...base, result: { protocolVersion, capabilities: { tools: {} }, serverInfo } };
    }
    case 'ping':
      return { ...base, result: {} };
    case 'tools/list': {
      const properties = { text: { type: 'string' } };
      const tool = { name: 'echo', inputSchema: { type: 'object', properties } };
      return { ...base, result: { tools: [tool] } };
    }
    case 'tools/call': {
      const { text = 'done' } = (params?.['arguments'] ?? {}) as { text?: unknown };
      return { ...base, result: { content: [{ type: 'text', text: String(text) }] } };
    }
    default:
      return { ...base, error: { code: -32_601, message: 'Method not found' } };
  }
}

/** Answers with one JSON body. */
function answerJson(
  { response }: LoopbackExchange,
  message: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(200, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(message));
}

/** Refuses with an HTTP status and words. */
export function refuse(
  { response, message }: LoopbackExchange,
  status: number,
  words: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  const error = { code: -32_000, message: words };
  response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id ?? null, error }));
}

/** Begins an event stream, writes `text` to it as it stands, and leaves it open. */
export function beginEvents({ response }: LoopbackExchange, text = ''): ServerResponse {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
  if (text !== '') response.write(text);
  return response;
}

/** One event with `message` as its data. */
export function eventOf(message: object, fields: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\n`);
  return `${lines.join('')}data: ${JSON.stringify(message)}\n\n`;
}

/** Writes `piece` again and again, as fast as the peer reads, until the peer hangs up. */
export function pour(response: ServerResponse, piece: string): void {
  const write = (): void => {
    // Bound: one piece per turn, so that a client in the same process gets its turns too.
    if (response.destroyed || response.closed) return;
    if (response.write(piece)) systemClock.yield(write);
    else response.once('drain', write);
  };
  write();
}
