// The client under test of the suite: a pool that lends clients of SDK 2.x. Started by the suite, as
// `node client-v2.js URL`.

import {
  auth,
  Client,
  ClientCredentialsProvider,
  type OAuthClientProvider,
  PrivateKeyJwtProvider,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client';
import { type Connector, SessionPool } from 'mcp-session-pool';
import { runScenarioProcess } from './scenario-process.ts';

await runScenarioProcess(({ url, context }) => {
  const pool = new SessionPool<Client>();
  const connect =
    (authProvider: OAuthClientProvider | undefined): Connector<Client> =>
    async () => {
      const client = new Client(
        { name: 'mcp-session-pool-conformance', version: '0.0.0' },
        { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode: 'auto' } },
      );
      const transport = new StreamableHTTPClientTransport(
        new URL(url),
        authProvider && { authProvider },
      );
      await client.connect(transport);
      return { client, transport };
    };
  return {
    pool,
    context,
    use: (work, provider) =>
      pool.use(
        {
          server: url,
          identity: 'conformance',
          connect: connect(provider as OAuthClientProvider | undefined),
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
