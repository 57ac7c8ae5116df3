// Tells a client of SDK 2 that its lane leads to a process. The SDK knows by two members: it then
// takes a server that does not answer `server/discover` for one of the handshake era, and offers
// tools that HTTP could not carry. It starts no process to ask, as it does for its own transport.

import type { LeaseTransport } from '../connect/lease-transport.ts';

export function overStdio(lane: LeaseTransport): void {
  Object.assign(lane, { stderr: null, pid: null });
}
