// What a request over HTTP carries: headers of leases, of the session, of the protocol,
// credentials.

import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import { describe, expect, it } from 'vitest';
import { splitUserInfo } from '../../src/http/request-headers.ts';
import type { HeaderRecord } from '../../src/target.ts';
import { lend, type OpenSession, textOf } from '../support/http-sessions.ts';
import { startMcpServer, type TestMcpServer } from '../support/mcp-server.ts';
import { answerJson } from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';

const { closers, newSessions, serveRaw } = useSessions();

async function serve(): Promise<TestMcpServer> {
  const server = await startMcpServer();
  closers.push(() => server.close());
  return server;
}

const whoami = async (session: OpenSession, headers: HeaderRecord): Promise<HeaderRecord> => {
  const { client, release } = lend(session, { headers });
  const seen = JSON.parse(textOf(await client.callTool({ name: 'whoami' }))) as HeaderRecord;
  release();
  return seen;
};

describe('headers of a lease', () => {
  it('can not set the headers of the protocol, nor those of the connection', async () => {
    const server = await serve();
    const session = await newSessions().open(server.url);
    const smuggled = {
      'MCP-Session-Id': 'stolen',
      'mcp-protocol-version': '1999-01-01',
      Accept: 'text/html',
      'content-type': 'text/plain',
      'Content-Length': '1',
      host: 'evil.example',
      connection: 'close',
      'transfer-encoding': 'chunked',
      'last-event-id': '7',
      'x-fine': 'yes',
    };
    const seen = await whoami(session, smuggled);
    expect(seen).toMatchObject({
      'mcp-session-id': session.sessionId,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      host: server.url.host,
      'x-fine': 'yes',
    });
    expect(seen['mcp-protocol-version']).toMatch(/^20/);
    expect(seen['last-event-id']).toBeUndefined();
  });

  it('ask for headers anew for every request, and wait for them', async () => {
    const server = await serve();
    let token = 0;
    const headers = async (): Promise<HeaderRecord> => {
      await new Promise((resolve) => setImmediate(resolve));
      token += 1;
      return { authorization: `Bearer ${token}` };
    };
    const sessions = newSessions();
    const session = await sessions.open(server.url, { headers });
    await session.probe(new AbortController().signal);
    await sessions.close(session);
    const tokens = server.seen.map((each) => each.headers.authorization);
    expect(tokens).toEqual(['Bearer 1', 'Bearer 2', 'Bearer 3', 'Bearer 4']);
    expect(server.seen.map((each) => each.method ?? each.httpMethod)).toEqual([
      'initialize',
      'notifications/initialized',
      'ping',
      'DELETE',
    ]);
  });
});

describe('credentials', () => {
  it('of a provider win over headers, and headers stay off its own requests', async () => {
    const server = await serveRaw({
      'tools/call': (exchange) => {
        if (exchange.headers.authorization === 'Bearer new') answerJson(exchange, { content: [] });
        else exchange.response.writeHead(401).end();
      },
      GET: ({ response }) => response.writeHead(404).end(),
    });
    let token = 'old';
    const authProvider = {
      tokens: () => ({ access_token: token, token_type: 'Bearer' }),
      redirectUrl: undefined,
      clientMetadata: { redirect_uris: [] },
      clientInformation: () => undefined,
    } as unknown as OAuthClientProvider;
    const session = await newSessions().open({ url: server.url, authProvider, identity: 'me' });
    const { client } = lend(session, {
      headers: { authorization: 'Bearer lease', 'x-secret': 's' },
    });
    await expect(client.callTool({ name: 'x' })).rejects.toThrow();
    const discovery = server.exchanges.filter(({ path }) => path.includes('well-known'));
    expect(discovery.length).toBeGreaterThan(0);
    for (const { headers } of discovery) expect(headers['x-secret']).toBeUndefined();
    token = 'new';
    await expect(client.callTool({ name: 'x' })).resolves.toBeDefined();
    expect(server.exchanges.at(-1)?.headers['x-secret']).toBe('s');
  });

  it('in the URL become an Authorization header that a header may override', async () => {
    const server = await serve();
    const url = new URL(server.url);
    url.username = 'us er';
    url.password = 'p@ss';
    const session = await newSessions().open(url);
    const basic = `Basic ${Buffer.from('us er:p@ss').toString('base64')}`;
    expect(server.seen[0]?.headers.authorization).toBe(basic);
    expect(await whoami(session, {})).toMatchObject({ authorization: basic });
    expect(await whoami(session, { Authorization: 'Own' })).toMatchObject({ authorization: 'Own' });
  });

  it.each([
    ['50%', 'a%zz%41', Buffer.from('50%:a%zzA')],
    ['%', '%E4%f6', Buffer.from([0x25, 0x3a, 0xe4, 0xf6])],
    ['ada', '', Buffer.from('ada:')],
    ['ü', '%25', Buffer.from('ü:%')],
  ])('in the URL as %s and %s are taken by their bytes', (username, password, bytes) => {
    const url = new URL(`http://${username}:${password}@host.example/mcp?a=b`);
    const { endpoint, authorization } = splitUserInfo(url);
    expect(authorization).toBe(`Basic ${bytes.toString('base64')}`);
    expect(endpoint.href).toBe('http://host.example/mcp?a=b');
  });
});
