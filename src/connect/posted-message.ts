// Reads off a POST body what the fence needs to know of it: the id of the call it makes, or of the
// call it cancels. It judges nothing: a body it can't read is simply of no interest.

import type { RequestId } from '@modelcontextprotocol/sdk/types.js';

/** What a POST body says. Both undefined: a notification, an answer, a batch, or no JSON-RPC. */
export interface PostedMessage {
  /** The id of the request that it makes. */
  readonly requestId: RequestId | undefined;
  /** The id of the request that it cancels. */
  readonly cancels: RequestId | undefined;
}

const NOTHING: PostedMessage = { requestId: undefined, cancels: undefined };

/** The layout that the SDK's `Protocol` writes: the method first, the id last. */
const METHOD_FIRST = /^\{"method":"/;
/**
 * A member before the closing brace of the whole text is a member of the outermost object, and a
 * quote after `,` and before `id` can only open a name. So no parse is needed, however long the
 * arguments are: 0.2 µs instead of 5 ms for 1 MiB.
 */
const NUMBER_ID_LAST = /,"id":(-?\d{1,15})\}$/;
const TAIL_LENGTH = 24;

/** Reads `body`, the body of a POST. */
export function readPostedMessage(body: unknown): PostedMessage {
  if (typeof body !== 'string') return NOTHING;
  if (METHOD_FIRST.test(body)) {
    const id = NUMBER_ID_LAST.exec(body.slice(-TAIL_LENGTH))?.[1];
    if (id !== undefined) return { requestId: Number(id), cancels: undefined };
  }
  return readParsed(parse(body));
}

function readParsed(message: unknown): PostedMessage {
  if (!isRecord(message) || typeof message['method'] !== 'string') return NOTHING;
  const requestId = asRequestId(message['id']);
  if (requestId !== undefined) return { requestId, cancels: undefined };
  if (message['method'] !== 'notifications/cancelled') return NOTHING;
  const params = message['params'];
  return isRecord(params) ? { ...NOTHING, cancels: asRequestId(params['requestId']) } : NOTHING;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function asRequestId(value: unknown): RequestId | undefined {
  return typeof value === 'string' || typeof value === 'number' ? value : undefined;
}
