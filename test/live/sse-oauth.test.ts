// Providers of OAuth tokens over the older HTTP+SSE protocol, against a real OAuth server: a token
// that expired is refreshed once, whoever notices, and one that can't be is nobody's loop.

import { type HttpTarget, SessionPool } from 'mcp-session-pool';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { MemoryOAuthProvider } from '../support/memory-oauth-provider.ts';
import { type OAuthServer, startOAuthServer } from '../support/oauth-server.ts';
import { pause, type RawExchange } from '../support/raw-server.ts';
import { startSseMcpServer, type TestSseServer } from '../support/sse-mcp-server.ts';
import { type SseServer, startSseServer } from '../support/sse-server.ts';

const CALLS = 10;

const closing = closeAfterEach();

/** A server that takes no token but the one given out last, and none that expired. */
async function scene() {
  const oauth: OAuthServer = closing(await startOAuthServer({ resource: () => server.url }));
  let expired = '';
  const challenge = `Bearer resource_metadata="${oauth.url.origin}/elsewhere"`;
  const isGood = (authorization: string | undefined): boolean => {
    const { access_token } = oauth.tokens;
    return access_token !== expired && authorization === `Bearer ${access_token}`;
  };
  const server: TestSseServer = closing(
    await startSseMcpServer({ challenge: (given) => (isGood(given) ? undefined : challenge) }),
  );
  const authProvider = new MemoryOAuthProvider({ ...oauth.tokens, issuer: oauth.url.origin });
  const pool = closing(new SessionPool());
  const target: HttpTarget = { url: server.url, transport: 'sse', identity: 'ada', authProvider };
  const expire = (): void => {
    expired = oauth.tokens.access_token;
  };
  return { oauth, server, authProvider, pool, target, expire };
}

const echo = (text: string) => ({ name: 'echo', arguments: { text } });

describe('over SSE, a token that has expired', () => {
  test('is refreshed once for the stream and the handshake of an open', async () => {
    const { oauth, server, pool, target, expire } = await scene();
    expire();
    expect(textOf(await pool.use(target, (client) => client.callTool(echo('x'))))).toBe('x');
    expect(oauth.tokenRequests).toHaveLength(1);
    expect(server.count('GET')).toBe(2);
  });

  test('is refreshed once for ten calls at once on two sessions, which stay', async () => {
    const { oauth, server, pool, target, expire } = await scene();
    const leases = await Promise.all([pool.acquire(target), pool.acquire(target)]);
    expire();
    const texts = Array.from({ length: CALLS }, (_, n) => `${n}`);
    const calls = texts.map((text, n) => leases[n % 2]!.client.callTool(echo(text)));
    expect((await Promise.all(calls)).map(textOf)).toEqual(texts);
    expect(oauth.tokenRequests).toHaveLength(1);
    expect(server.count('GET')).toBe(2);
    expect(oauth.headerNames.has('last-event-id')).toBe(false);
  });
});

describe('over SSE, a token that can’t be refreshed', () => {
  test('fails an open with OPEN_FAILED, kind unauthorized, and asks once', async () => {
    const { oauth, server, authProvider, pool, target, expire } = await scene();
    expire();
    oauth.revoke();
    await expect(pool.acquire(target)).rejects.toMatchObject({
      code: 'OPEN_FAILED',
      kind: 'unauthorized',
    });
    await pause(100);
    expect(server.count('GET')).toBe(1);
    expect(oauth.tokenRequests).toHaveLength(1);
    expect(authProvider.redirects).toHaveLength(1);
  });

  test('fails a call, and the session stays', async () => {
    const { oauth, server, pool, target, expire } = await scene();
    const lease = await pool.acquire(target);
    expire();
    oauth.mode = 'broken';
    await expect(lease.client.callTool(echo('x'))).rejects.toThrow('Unauthorized');
    expect(server.count('tools/call')).toBe(1);
    expect(lease.signal.aborted).toBe(false);
  });
});

test('over SSE, a server that refuses even new tokens is asked once more, not in a loop', async () => {
  const oauth: OAuthServer = closing(await startOAuthServer({ resource: () => server.url }));
  const challenge = `Bearer resource_metadata="${oauth.url.origin}/elsewhere"`;
  const refuse = ({ response }: RawExchange): void =>
    void response.writeHead(401, { 'www-authenticate': challenge }).end();
  const server: SseServer = closing(await startSseServer({ 'tools/call': refuse }));
  const authProvider = new MemoryOAuthProvider({ ...oauth.tokens, issuer: oauth.url.origin });
  const pool = closing(new SessionPool());
  const target = { url: server.url, transport: 'sse', identity: 'ada', authProvider } as const;
  const lease = await pool.acquire(target);
  await expect(lease.client.callTool(echo('x'))).rejects.toMatchObject({ code: 401 });
  expect(server.count('POST', 'tools/call')).toBe(2);
  expect(oauth.tokenRequests).toHaveLength(1);
  expect(lease.signal.aborted).toBe(false);
});
