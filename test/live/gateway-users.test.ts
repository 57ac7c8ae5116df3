// The users of the example gateway change while it runs: new credentials, access that is gone, with
// sessions that are open, shared, or about to be.

import { describe, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import {
  connect,
  credentialOf,
  type Downstream,
  type GatewayServer,
  type Health,
  isEmpty,
  type RunningGateway,
  startGateway,
  startUpstream,
  tokenOf,
  untilHealth,
  userConfig,
} from '../support/gateway-fixture.ts';
import { type Answer, INITIALIZE, send } from '../support/gateway-requests.ts';
import { textOf } from '../support/http-sessions.ts';
import type { TestMcpServer } from '../support/mcp-server.ts';
import { type RawExchange, speakMcp, startRawServer, until } from '../support/raw-server.ts';

/** Real sockets, and a machine that may be busy. */
vi.setConfig({ testTimeout: 40_000 });

const USERS = ['ada', 'bob'];

const closing = closeAfterEach();

const start = async (main: GatewayServer): Promise<RunningGateway> =>
  closing(await startGateway({ users: USERS, servers: { main } }));

const startHonestly = async (
  sessions: 'per-session' | 'per-call',
): Promise<RunningGateway & { upstream: TestMcpServer }> => {
  const upstream = closing(await startUpstream(USERS));
  return { ...(await start({ url: upstream.url, sessions })), upstream };
};

const join = async ({ origin }: RunningGateway, user: string): Promise<Downstream> =>
  closing(await connect(origin, user));

const open = ({ origin }: RunningGateway, user: string): Promise<Answer> =>
  send(`${origin}/main/mcp`, {
    headers: { authorization: `Bearer ${tokenOf(user)}` },
    body: JSON.stringify(INITIALIZE),
  });

/** A server over stdio that says what a server at `url` says. */
const bridgeTo = (url: URL): GatewayServer => ({
  command: process.execPath,
  args: ['--input-type=module', '--eval', BRIDGE, url.href],
});
const BRIDGE = `
  import { createInterface } from 'node:readline';
  for await (const body of createInterface({ input: process.stdin })) {
    const answer = await fetch(process.argv[1], { method: 'POST', body });
    const text = await answer.text();
    if (text !== '') console.log(text);
  }
`;

describe('users that change', () => {
  test('go on with new credentials, and are out at once without', async () => {
    const world = await startHonestly('per-session');
    const [ada, bob] = [await join(world, 'ada'), await join(world, 'bob')];
    const hanging = bob.client.callTool({ name: 'hang' });
    const failed = expect(hanging).rejects.toMatchObject({ data: { code: 'SESSION_ENDED' } });
    await until(() => world.upstream.count('tools/call') === 1);
    const rotated = { main: credentialOf('bob') };
    world.gateway.setUsers([{ ...userConfig('ada', ['main']), credentials: rotated }]);
    await failed;
    const whoami = JSON.parse(textOf(await ada.client.callTool({ name: 'whoami' })));
    expect(whoami).toMatchObject({ authorization: credentialOf('bob') });
    expect((await open(world, 'bob')).status).toBe(401);
    await untilHealth(world.origin, ({ downstreamSessions }) => downstreamSessions === 1);
  });

  describe('do not get in with a session that is opening', () => {
    const overHttp = (url: URL): GatewayServer => ({ url });

    test.each([
      // The gateway has no credential to go on with.
      ['over HTTP', 'initialize', overHttp, 502],
      ['over HTTP', 'notifications/initialized', overHttp, 502],
      // A process has its credential already.
      ['over stdio', 'initialize', bridgeTo, 403],
    ])('%s, %s unanswered', async (_how, method, serverAt, status) => {
      const held: RawExchange[] = [];
      let isHeld = true;
      const speak = speakMcp();
      const onHeld = (exchange: RawExchange): void => {
        if (isHeld) held.push(exchange);
        else speak(exchange);
      };
      const raw = closing(await startRawServer(speakMcp({ [method]: onHeld })));
      const world = await start(serverAt(raw.url));
      const opening = open(world, 'ada');
      await until(() => held.length === 1);
      world.gateway.setUsers([userConfig('bob', ['main'])]);
      isHeld = false;
      for (const exchange of held) speak(exchange);
      expect(await opening).toMatchObject({ status });
      await untilHealth(world.origin, isEmpty);
    });
  });

  test('take the sessions that their calls share with them', async () => {
    const world = await startHonestly('per-call');
    const [ada, bob] = [await join(world, 'ada'), await join(world, 'bob')];
    for (const { client } of [ada, bob]) await client.callTool({ name: 'count' });
    world.gateway.setUsers([userConfig('ada', ['main'])]);
    const isOneLeft = (now: Health): boolean =>
      now.downstreamSessions === 1 && now.upstreamSessions['idle'] === 1;
    await untilHealth(world.origin, isOneLeft);
    expect(textOf(await ada.client.callTool({ name: 'count' }))).toBe('2');
  });
});
