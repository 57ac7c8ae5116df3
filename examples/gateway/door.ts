// The way in: what is looked at before a request is taken for MCP, and how one is refused. Knows
// HTTP, and nothing of sessions or of the pool.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { Refusal } from './refusals.ts';

const refuse = (status: number, message: string, code = -32_600): Refusal =>
  new Refusal({ code, status, message });

export const notFound = (): Refusal => refuse(404, 'Not found');
/** Also for sessions of somebody else: whether there is one is nobody's business. */
export const unknownSession = (): Refusal => refuse(404, 'Session not found', -32_001);
export const noAccess = (): Refusal => refuse(403, 'No access to this server');
export const unauthorized = (): Refusal => refuse(401, 'A bearer token is needed');
export const badRequest = (message: string): Refusal => refuse(400, message);

/**
 * Against DNS rebinding: a page that resolves its own name to 127.0.0.1 still sends that name as
 * `Host`, and its own `Origin`. Clients that are no browsers send no `Origin`.
 */
export function checkHostAndOrigin(
  { headers: { host, origin } }: IncomingMessage,
  allowed: { readonly hosts: ReadonlySet<string>; readonly origins: ReadonlySet<string> },
): void {
  if (!allowed.hosts.has(nameOf(host))) throw refuse(403, 'Unknown host');
  if (origin !== undefined && !allowed.origins.has(origin)) throw refuse(403, 'Unknown origin');
}

/** The body of a POST: one JSON-RPC message, as an object. Bound: `maxBytes`. */
export async function readMessage(
  request: IncomingMessage,
  maxBytes: number,
): Promise<Record<string, unknown>> {
  // What says so itself is not read at all.
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Not destroyed by leaving the loop: the refusal is still to be sent over its socket.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  const message = parse(Buffer.concat(chunks).toString());
  // Batches were in one revision of MCP only, and would make "the call of this response" many.
  if (typeof message !== 'object' || message === null || Array.isArray(message)) {
    throw badRequest('Expected one JSON-RPC message');
  }
  return message as Record<string, unknown>;
}

/** Answers with the refusal. A response that has begun can only be cut. */
export function sendRefusal(response: ServerResponse, refusal: Refusal, id?: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const { status, code, message, data, retryAfterMs } = refusal;
  const error = { code, message, ...(data !== undefined && { data }) };
  // Not all of its body may have been read: the connection can carry nothing after it.
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (status === 413) headers['connection'] = 'close';
  if (status === 401) headers['www-authenticate'] = 'Bearer realm="gateway"';
  if (status === 405) headers['allow'] = 'GET, POST, DELETE';
  if (retryAfterMs !== undefined) headers['retry-after'] = String(Math.ceil(retryAfterMs / 1_000));
  const known = typeof id === 'string' || typeof id === 'number' ? id : null;
  response.writeHead(status, headers).end(JSON.stringify({ jsonrpc: '2.0', id: known, error }));
}

export const methodNotAllowed = (): Refusal => refuse(405, 'Method not allowed');

/** Without its port, which says nothing of whose name it is. */
const nameOf = (host: string | undefined): string => host?.replace(/:\d*$/, '').toLowerCase() ?? '';

const tooLarge = (): Refusal => refuse(413, 'The message is too large');

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw refuse(400, 'The body is not JSON', -32_700);
  }
}
