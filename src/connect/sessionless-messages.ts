// What a server without sessions (2026-07-28) sends on its own, where that differs: it has nothing
// to ask for by a request, and what it tells of a subscription comes on the stream of the call that
// opened it, by that call's id. Decides nothing else; knows no table.

import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import type { Call, Link } from './lane.ts';

const UNSUPPORTED_PROTOCOL_VERSION = -32_022;
const SUBSCRIPTION_ID = 'io.modelcontextprotocol/subscriptionId';

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
