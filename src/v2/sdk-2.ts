// Line 2.x of the SDK, as sessions use it. Made anew for each session, for it knows what the other
// sessions of the same caller found out about the server.

import { type Client, SSEClientTransport } from '@modelcontextprotocol/client';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/client/validators/ajv';
import type { ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import type { jsonSchemaValidator } from '@modelcontextprotocol/sdk/validation';
import type { NewSseTransport, SdkLine } from '../connect/sdk-line.ts';
import type { OAuthFunctions } from '../http/authorization-flow.ts';
import { type Negotiation, shakeHandsWith } from './handshake.ts';
import { LeaseClient } from './lease-client.ts';
import { sendOptions } from './message-headers.ts';
import type { ServerHold } from './server-memory.ts';
import { overStdio } from './stdio-lane.ts';

/** What a session's line is told beside its server. */
export interface Sdk2Settings extends Negotiation {
  readonly clientOptions: ClientOptions | undefined;
}

/** Compiles schemas of tool results. */
export const createValidator = (): jsonSchemaValidator =>
  new AjvJsonSchemaValidator() as unknown as jsonSchemaValidator;

/** The line for one session, of the server that `server` remembers. */
export function createSdk2(server: ServerHold, settings: Sdk2Settings): SdkLine<Client> {
  return {
    shakeHands: shakeHandsWith(server, settings),
    createClient: (options) => {
      if (settings.isStdio) overStdio(options.transport);
      if (options.isSessionless !== true) return new LeaseClient(options);
      const { version } = options;
      const clientOptions = {
        ...options.clientOptions,
        // Any name that is not empty: whose cache it is, the cache itself says.
        responseCacheStore: server.cache,
        cachePartition: 'caller',
        // So that the client agrees on what was agreed on, also where more would be possible.
        ...(version !== undefined && { supportedProtocolVersions: [version] }),
      };
      return new LeaseClient({ ...options, clientOptions });
    },
    loadOAuth,
    loadSse,
    sendOptions,
    release: () => server.release(),
    ...(settings.clientOptions && { clientOptions: settings.clientOptions }),
  };
}

/** The types of both lines are the same in what is used here. */
const loadOAuth = (): Promise<OAuthFunctions> =>
  import('@modelcontextprotocol/client') as unknown as Promise<OAuthFunctions>;

const loadSse = (): Promise<NewSseTransport> => Promise.resolve(newSseTransport);
const newSseTransport: NewSseTransport = (url, fetch) =>
  new SSEClientTransport(url, { fetch }) as unknown as ReturnType<NewSseTransport>;
