// The SDK's own MCP server behind a real OAuth server: it takes no token but the one that was given
// out last. Made of two servers, as such things are.

import { startMcpServer, type TestMcpServer } from './mcp-server.ts';
import { MemoryOAuthProvider } from './memory-oauth-provider.ts';
import { type OAuthServer, startOAuthServer } from './oauth-server.ts';

/** A running pair. */
export interface GuardedServer {
  readonly mcp: TestMcpServer;
  readonly oauth: OAuthServer;
  /** A provider with a refresh token that is good, and the access token that is good now. */
  newProvider(): MemoryOAuthProvider;
  /** The `authorization` that is good now, if any is. */
  readonly good: string | undefined;
  /** The access token given out last is good no more; the refresh token still is. */
  expire(): void;
  close(): Promise<void>;
}

/** Starts it. */
export async function startGuardedServer(): Promise<GuardedServer> {
  let expired = '';
  const oauth = await startOAuthServer({ resource: () => mcp.url });
  const good = (): string | undefined => {
    const { access_token } = oauth.tokens;
    return access_token === expired ? undefined : `Bearer ${access_token}`;
  };
  const challenge = `Bearer resource_metadata="${oauth.url.origin}/elsewhere"`;
  const mcp = await startMcpServer({
    challenge: (authorization) =>
      authorization !== undefined && authorization === good() ? undefined : challenge,
  });
  return {
    mcp,
    oauth,
    get good() {
      return good();
    },
    newProvider: () => new MemoryOAuthProvider({ ...oauth.tokens, issuer: oauth.url.origin }),
    expire: () => {
      expired = oauth.tokens.access_token;
    },
    close: async () => {
      await mcp.close();
      await oauth.close();
    },
  };
}
