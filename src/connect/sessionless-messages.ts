// What a server without sessions (2026-07-28) sends on its own, where that differs: it has nothing
// to ask for by a request, and what it tells of a subscription comes on the stream of the call that
// opened it, or on the one channel that there is, by that call's id. Decides nothing else; knows no
// table.

import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import type { Call, Link } from './lane.ts';

const UNSUPPORTED_PROTOCOL_VERSION = -32_022;
const SUBSCRIPTION_ID = 'io.modelcontextprotocol/subscriptionId';
const SUBSCRIPTION_ENDED = { code: -32_000, message: 'The server ended the subscription' } as const;

/**
 * What a server takes back is a subscription, for it has no requests of its own: that is the end of
 * the call which opened it, as an answer would be.
 */
export function asAnswer(message: JSONRPCMessage): JSONRPCMessage {
  if (!('method' in message) || message.method !== 'notifications/cancelled') return message;
  const id = message.params?.['requestId'];
  if (typeof id !== 'string' && typeof id !== 'number') return message;
  return { jsonrpc: '2.0', id, error: SUBSCRIPTION_ENDED };
}

/** The call that `message` names, where all calls share one channel: that of its subscription. */
export function subscriptionOf(message: JSONRPCMessage): number | undefined {
  const id = 'method' in message ? message.params?._meta?.[SUBSCRIPTION_ID] : undefined;
  return id === undefined ? undefined : Number(id);
}

/** Takes what is dealt with here; false: it is as any other. `via`: on whose stream it came. */
export function takeSessionless(
  message: JSONRPCMessage,
  via: Call | undefined,
  link: Pick<Link, 'report'>,
): boolean {
  if (!('method' in message)) return false;
  if ('id' in message) {
    link.report(new Error('A server without sessions sent a request, which nobody may answer'));
    return true;
  }
  const meta = message.params?._meta;
  const id = meta?.[SUBSCRIPTION_ID];
  if (id === undefined) return false;
  // Of another's subscription it can't tell here.
  if (via === undefined || Number(id) !== via.id) return true;
  const params = { ...message.params, _meta: { ...meta, [SUBSCRIPTION_ID]: via.localId } };
  via.lane.deliver({ ...message, params });
  return true;
}

/** Whether a response says that the server takes the revision no more that was agreed on. */
export function isOutdated(response: JSONRPCMessage): boolean {
  return 'error' in response && response.error.code === UNSUPPORTED_PROTOCOL_VERSION;
}
