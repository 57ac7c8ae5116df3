// The client under test of the suite: a pool that lends clients of SDK 1.x. Started by the suite, as
// `node client.js URL`.

import { auth, type OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import {
  ClientCredentialsProvider,
  PrivateKeyJwtProvider,
} from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { SessionPool } from 'mcp-session-pool';
import { runScenarioProcess } from './scenario-process.ts';

await runScenarioProcess(({ url, context }) => {
  const pool = new SessionPool({
    clientInfo: { name: 'mcp-session-pool-conformance', version: '0.0.0' },
    // The SDK fills what an answer leaves out with the defaults that the server named.
    capabilities: { elicitation: { form: { applyDefaults: true } } },
  });
  return {
    pool,
    context,
    use: (work, provider) =>
      pool.use(
        {
          url,
          identity: 'conformance',
          ...(provider && { authProvider: provider as OAuthClientProvider }),
        },
        (client) => {
          client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: {} }));
          return work(client);
        },
      ),
    finishSignIn: async (provider, callback) => {
      const authorizationCode = callback.get('code') ?? '';
      await auth(provider, { serverUrl: url, authorizationCode });
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
