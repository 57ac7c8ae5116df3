// Runs `initialize` and `notifications/initialized` over a link: with a client of SDK 1, which
// knows the versions and checks what the server answers, and which is gone afterwards.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { MAX_TIMER_MS } from '../clock.ts';
import { handshakeLane } from './handshake-lane.ts';
import type { ShakeHands } from './sdk-line.ts';

export const shakeHands: ShakeHands = async (link, party) => {
  const { listChanged: _, ...options } = party.clientOptions;
  const lane = handshakeLane(link, party);
  try {
    // The SDK's own timer is put out of reach, for at its end it would send
    // `notifications/cancelled` for `initialize`.
    await new Client(party.clientInfo, options).connect(lane.transport, { timeout: MAX_TIMER_MS });
    return { result: lane.lastResult(), isSessionless: false };
  } finally {
    lane.transport.end();
  }
};
