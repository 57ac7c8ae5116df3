// Line 1.x of the SDK: the one that the package's main entry lends clients of. Loaded with the
// first session that needs it, and never by the entry for SDK 2.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import { loadOAuthOfSdk1 } from '../http/authorization-flow.ts';
import { shakeHands } from './handshake.ts';
import { LeaseClient } from './lease-client.ts';
import { type LentShared, lentCaches } from './lent-clients.ts';
import type { SdkLine } from './sdk-line.ts';

const sdk1: SdkLine<Client> = {
  shakeHands,
  createClient: (options) => new LeaseClient(options),
  loadOAuth: loadOAuthOfSdk1,
  loadSse: async () => {
    const { SSEClientTransport } = await import('@modelcontextprotocol/sdk/client/sse.js');
    return (url, fetch) => new SSEClientTransport(url, { fetch });
  },
};

/** What the sessions of one connector share, with clients of SDK 1. */
export function lentShared(): LentShared {
  return { ...lentCaches(() => new AjvJsonSchemaValidator()), line: sdk1 };
}
