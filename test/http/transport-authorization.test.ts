// OAuth as requests of a transport meet it: which are sent again, how often, with what, and what
// becomes of a sign-in. The flows themselves: `authorization.test.ts`.

import { ManualClock } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { SessionPool } from '../../src/session-pool.ts';
import { MemoryOAuthProvider } from '../support/memory-oauth-provider.ts';
import { type OAuthServer, startOAuthServer } from '../support/oauth-server.ts';
import {
  answerJson,
  beginEvents,
  pause,
  type RawExchange,
  type RawHandlers,
  speakMcp,
  until,
} from '../support/raw-server.ts';
import {
  notification,
  rejectionOf,
  request,
  type TransportPlan,
  useTransports,
} from '../support/transport-fixture.ts';

const { closers, start, prepare } = useTransports();

const refuse = ({ response }: RawExchange, status = 401, challenge = 'Bearer'): void =>
  void response.writeHead(status, { 'www-authenticate': challenge }).end();

interface Guarded {
  readonly server: OAuthServer;
  /** What reached the endpoint: its HTTP method, the JSON-RPC one, and whose token it carried. */
  readonly asked: { method: string; rpc: string | undefined; authorization: string | undefined }[];
  /** Refuses fresh tokens too. */
  isStubborn: boolean;
}

/** An endpoint that answers nobody without a token that is good now. */
async function guard(handlers: RawHandlers = {}): Promise<Guarded> {
  const answerAs = speakMcp({
    'tools/call': (each) => answerJson(each, { content: [] }),
    ...handlers,
  });
  const asked: Guarded['asked'] = [];
  const onProtected = (each: RawExchange): void => {
    const { authorization } = each.headers;
    asked.push({ method: each.method, rpc: each.message.method, authorization });
    const isGood = authorization === `Bearer ${server.tokens.access_token}`;
    if (isGood && !guarded.isStubborn) answerAs(each);
    else refuse(each);
  };
  const server = await startOAuthServer({ onProtected });
  const guarded: Guarded = { server, asked, isStubborn: false };
  closers.push(() => server.close());
  return guarded;
}

/** A provider whose access token has expired. Without a refresh token, the user must sign in. */
function expired({ server }: Guarded, canRefresh = true): MemoryOAuthProvider {
  const { refresh_token } = server.tokens;
  return new MemoryOAuthProvider(canRefresh ? { refresh_token } : { access_token: 'old' });
}

const startIn = (guarded: Guarded, plan: TransportPlan) => start(guarded.server.url, plan);

describe('an expired token', () => {
  test('is refreshed, and the request sent once more', async () => {
    const guarded = await guard();
    const { transport, messages } = await startIn(guarded, { authProvider: expired(guarded) });
    await transport.send(request(1));
    expect(messages).toHaveLength(1);
    expect(guarded.asked.map(({ authorization }) => authorization)).toEqual([
      'Bearer old',
      `Bearer ${guarded.server.tokens.access_token}`,
    ]);
    await transport.send(notification());
    await transport.terminateSession();
    expect(guarded.server.tokenRequests).toHaveLength(1);
    expect(guarded.asked).toHaveLength(4);
  });

  test('of many calls at once is refreshed once', async () => {
    const guarded = await guard();
    const { transport, messages } = await startIn(guarded, { authProvider: expired(guarded) });
    await Promise.all(Array.from({ length: 20 }, (_, id) => transport.send(request(id))));
    expect(messages).toHaveLength(20);
    expect(guarded.server.tokenRequests).toHaveLength(1);
    expect(guarded.asked.length).toBeLessThanOrEqual(40);
  });

  test('of the notification stream is refreshed too', async () => {
    const guarded = await guard({ GET: (each) => void beginEvents(each) });
    const { transport, errors } = await startIn(guarded, { authProvider: expired(guarded) });
    transport.listen();
    await until(() => transport.everListened);
    expect(errors).toEqual([]);
    expect(guarded.asked).toHaveLength(2);
  });

  test('whose successor is refused too fails the request: two POSTs, one flow', async () => {
    const guarded = await guard();
    guarded.isStubborn = true;
    const { transport } = await startIn(guarded, { authProvider: expired(guarded) });
    const error = await rejectionOf(transport.send(request(1)));
    expect(error).toMatchObject({ status: 401, execution: 'not-executed', sessionLost: false });
    expect(guarded.asked).toHaveLength(2);
    expect(guarded.server.tokenRequests).toHaveLength(1);
  });
});

describe('the DELETE, which nobody waits for with a browser at hand,', () => {
  const refused = async (canRefresh: boolean) => {
    const guarded = await guard({ DELETE: ({ response }) => response.writeHead(204).end() });
    const provider = expired(guarded, canRefresh);
    const plan = { authProvider: provider, sessionId: 'abc' };
    const { transport } = await startIn(guarded, plan);
    return { guarded, provider, ended: transport.terminateSession() };
  };

  test('refreshes an expired token', async () => {
    const { guarded, ended } = await refused(true);
    await ended;
    expect(guarded.asked.map(({ method }) => method)).toEqual(['DELETE', 'DELETE']);
    expect(guarded.server.tokenRequests).toHaveLength(1);
  });

  test('sends nobody to sign in, and asks the provider for nothing that a sign-in needs', async () => {
    const { guarded, provider, ended } = await refused(false);
    provider.before.saveCodeVerifier = () => expect.unreachable();
    expect(await rejectionOf(ended)).toMatchObject({ status: 401 });
    expect([provider.redirects, guarded.asked.length]).toEqual([[], 1]);
  });

  test('sends nobody to sign in when the refresh fails', async () => {
    const guarded = await guard();
    const provider = new MemoryOAuthProvider({ refresh_token: 'used up' });
    const plan = { authProvider: provider, sessionId: 'abc' };
    const { transport } = await startIn(guarded, plan);
    await rejectionOf(transport.terminateSession());
    expect(guarded.server.tokenRequests).toHaveLength(1);
    expect(provider.redirects).toEqual([]);
    // Somebody who waits is sent there.
    await rejectionOf(transport.send(request(1)));
    expect(provider.redirects).toHaveLength(1);
  });
});

test('a 403 for want of scope leads to one flow, and the call is sent once more', async () => {
  const scope = 'Bearer error="insufficient_scope", scope="files:write"';
  const guarded = await guard({
    'tools/call': (each) => {
      if (each.count === 1) refuse(each, 403, scope);
      else answerJson(each, { content: [] });
    },
    'tools/list': (each) => refuse(each, 403, scope),
  });
  const provider = expired(guarded);
  provider.give(guarded.server.tokens);
  const { transport, messages } = await startIn(guarded, { authProvider: provider });
  await transport.send(request(1));
  expect(messages).toHaveLength(1);
  expect(guarded.asked).toHaveLength(2);
  expect(await rejectionOf(transport.send(request(2, 'tools/list')))).toMatchObject({
    status: 403,
  });
  expect(guarded.asked.length).toBeLessThanOrEqual(4);
});

describe('a sign-in that is needed', () => {
  test('rejects connect, is completed on the same transport, and lets the next connect', async () => {
    const guarded = await guard();
    const authProvider = expired(guarded, false);
    const first = prepare(guarded.server.url, { authProvider });
    const error = await rejectionOf(first.client.connect(first.transport));
    expect((error['constructor'] as { name: string }).name).toBe('UnauthorizedError');
    const [asked] = authProvider.redirects;
    // As the SDK's examples do: `connect` has closed the transport by now.
    await first.transport.finishAuth(guarded.server.signIn(asked as URL));
    const next = prepare(guarded.server.url, { authProvider });
    await next.client.connect(next.transport);
    await next.client.callTool({ name: 'x' });
    expect(authProvider.redirects).toHaveLength(1);
  });

  test('fails the open of a pool as unauthorized', async () => {
    const guarded = await guard();
    const authProvider = expired(guarded, false);
    const pool = new SessionPool();
    closers.push(() => pool.close());
    const target = { url: guarded.server.url, identity: 'ada', authProvider };
    const error = await rejectionOf(pool.acquire(target));
    expect(error).toMatchObject({ code: 'OPEN_FAILED', kind: 'unauthorized' });
    expect(authProvider.redirects).toHaveLength(1);
  });

  test('by the notification stream sends the user there once, not with each attempt', async () => {
    const guarded = await guard();
    const authProvider = expired(guarded, false);
    const clock = new ManualClock();
    const { transport, errors } = await startIn(guarded, { authProvider, clock });
    transport.listen();
    await until(() => errors.length === 1);
    for (let n = 0; n < 10; n += 1) {
      await clock.advance(300_000);
      await pause(30);
    }
    expect(authProvider.redirects).toHaveLength(1);
  });
});
