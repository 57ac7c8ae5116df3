// The way through the link for whoever shakes hands: a lane that hides nothing from the server, and
// keeps what the server said last. Knows neither line of the SDK.

import { frozenCopy } from './frozen-copy.ts';
import type { Link } from './lane.ts';
import { LeaseTransport } from './lease-transport.ts';
import type { HandshakeParty } from './sdk-line.ts';

/** See the file header. */
export interface HandshakeLane {
  readonly transport: LeaseTransport;
  /** The last result that came, frozen. Throws when none did, and when it can't be copied. */
  lastResult(): Readonly<Record<string, unknown>>;
}

export function handshakeLane(
  link: Link,
  { setProtocolVersion }: Pick<HandshakeParty, 'setProtocolVersion'>,
): HandshakeLane {
  const transport: LeaseTransport = new LeaseTransport({
    link,
    handshake: undefined,
    headers: undefined,
    endedWith: () => undefined,
    onClose: () => transport.end(),
    setProtocolVersion,
  });
  let last: Readonly<Record<string, unknown>> | undefined;
  // The SDK chains what was there before it.
  transport.onmessage = (message) => {
    if ('result' in message) last = message.result;
  };
  return {
    transport,
    lastResult: () => {
      if (last === undefined) throw new Error('The server has said nothing of itself');
      // What is nested too deep throws here.
      return frozenCopy(last);
    },
  };
}
