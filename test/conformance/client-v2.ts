// The client under test of the suite: a pool that lends clients of SDK 2.x. Started by the suite, as
// `node client-v2.js URL`.

import {
  auth,
  ClientCredentialsProvider,
  type OAuthClientProvider,
  PrivateKeyJwtProvider,
} from '@modelcontextprotocol/client';
import { type HttpTarget, SessionPool, v2Connector } from 'mcp-session-pool/v2';
import { runScenarioProcess } from './scenario-process.ts';

await runScenarioProcess(({ url, context }) => {
  const pool = new SessionPool({
    connector: v2Connector(),
    clientInfo: { name: 'mcp-session-pool-conformance', version: '0.0.0' },
    capabilities: { elicitation: { form: {} } },
  });
  return {
    pool,
    context,
    use: (work, provider) =>
      pool.use(
        {
          url,
          identity: 'conformance',
          ...(provider && { authProvider: provider as NonNullable<HttpTarget['authProvider']> }),
        },
        (client) => {
          client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: {} }));
          return work(client);
        },
      ),
    finishSignIn: async (provider, callback) => {
      await auth(provider as OAuthClientProvider, {
        serverUrl: url,
        authorizationCode: callback.get('code') ?? '',
        ...(callback.has('iss') && { iss: callback.get('iss') ?? '' }),
      });
    },
    clientCredentials: ({ client_id = '', client_secret = '' }) =>
      new ClientCredentialsProvider({ clientId: client_id, clientSecret: client_secret }),
    privateKeyJwt: ({ client_id = '', private_key_pem = '', signing_algorithm = 'ES256' }) =>
      new PrivateKeyJwtProvider({
        clientId: client_id,
        privateKey: private_key_pem,
        algorithm: signing_algorithm,
      }),
  };
});
