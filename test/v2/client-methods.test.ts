// Every public member of SDK 2's client, by what a lease's client makes of it: a new version of the
// SDK that brings one more fails here until somebody has looked at it.

import { Client } from '@modelcontextprotocol/client';
import { SessionPool, v2Connector } from 'mcp-session-pool/v2';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { resultOf, speakModern } from '../support/modern-server.ts';
import {
  answerJson,
  pause,
  type RawExchange,
  type RawServer,
  speakMcp,
  startRawServer,
} from '../support/raw-server.ts';
import { methodsOf } from '../support/sdk-methods.ts';

const closing = closeAfterEach();

type Use = (client: Client) => Promise<unknown>;

/** What talks to the server. */
const TALKS: Readonly<Record<string, Use>> = {
  callTool: (client) => client.callTool({ name: 'x' }),
  complete: (client) =>
    client.complete({
      ref: { type: 'ref/prompt', name: 'x' },
      argument: { name: 'a', value: 'b' },
    }),
  discover: (client) => client.discover(),
  getPrompt: (client) => client.getPrompt({ name: 'x' }),
  listPrompts: (client) => client.listPrompts(),
  listResources: (client) => client.listResources(),
  listResourceTemplates: (client) => client.listResourceTemplates(),
  listTools: (client) => client.listTools(),
  listen: (client) => client.listen({ toolsListChanged: true }, { timeout: 500 }),
  notification: (client) => client.notification({ method: 'notifications/roots/list_changed' }),
  ping: (client) => client.ping(),
  readResource: (client) => client.readResource({ uri: 'x:1' }),
  request: (client) => client.request({ method: 'tools/list' }),
  sendRootsListChanged: (client) => client.sendRootsListChanged(),
  setLoggingLevel: (client) => client.setLoggingLevel('info'),
  subscribeResource: (client) => client.subscribeResource({ uri: 'x:1' }),
  unsubscribeResource: (client) => client.unsubscribeResource({ uri: 'x:1' }),
};
/** What has a meaning of its own in a lease. */
const THE_LEASES = ['connect', 'close'];
/** What looks at the client, or changes it, and sends nothing. */
const LOCAL = [
  ...['assertCanSetRequestHandler', 'autoOpenedSubscription', 'getDiscoverResult'],
  ...['getInstructions', 'getNegotiatedProtocolVersion', 'getProtocolEra', 'getServerCapabilities'],
  ...['getServerVersion', 'registerCapabilities', 'removeNotificationHandler'],
  ...['removeRequestHandler', 'setNotificationHandler', 'setRequestHandler'],
  ...['setVersionNegotiation', 'transport'],
];
/** TypeScript's `protected`. */
const HIDDEN = [
  ...['assertCapability', 'assertCapabilityForMethod', 'assertNotificationCapability'],
  ...['assertRequestHandlerCapability', 'buildContext'],
];

const capabilities = {
  ...{ tools: { listChanged: true }, prompts: {}, completions: {}, logging: {} },
  resources: { subscribe: true },
};
const RESULTS: Readonly<Record<string, object>> = {
  'tools/call': { content: [] },
  'tools/list': { tools: [{ name: 'x', inputSchema: { type: 'object' } }] },
  'prompts/get': { messages: [] },
  'prompts/list': { prompts: [{ name: 'p' }] },
  'resources/list': { resources: [{ name: 'r', uri: 'x:1' }] },
  'resources/templates/list': { resourceTemplates: [{ name: 't', uriTemplate: 'x:{n}' }] },
  'resources/read': { contents: [] },
  'completion/complete': { completion: { values: [] } },
};

function answer(each: RawExchange, isModern: boolean): void {
  const result = RESULTS[String(each.message.method)] ?? {};
  const cached = { ttlMs: 0, cacheScope: 'private' };
  answerJson(each, isModern ? resultOf({ ...cached, ...result }) : result);
}

function serve(era: 'modern' | 'legacy'): Promise<RawServer> {
  const isModern = era === 'modern';
  const methods = [...Object.keys(RESULTS), 'ping', 'logging/setLevel', 'resources/subscribe'];
  const handlers = Object.fromEntries(
    [...methods, 'resources/unsubscribe'].map((method) => [
      method,
      (each: RawExchange) => answer(each, isModern),
    ]),
  );
  const serverInfo = { name: 'raw', version: '1' };
  const supportedVersions = ['2026-07-28'];
  const discover = (each: RawExchange): void =>
    answerJson(
      each,
      resultOf({ supportedVersions, capabilities, ttlMs: 0, cacheScope: 'private' }),
    );
  const initialize = (each: RawExchange): void =>
    answerJson(each, { protocolVersion: '2025-11-25', capabilities, serverInfo });
  return startRawServer(
    isModern
      ? speakModern({ ...handlers, 'server/discover': discover })
      : speakMcp({ ...handlers, initialize, 'server/discover': refuse }),
  );
}

const refuse = ({ response }: RawExchange): void => void response.writeHead(400).end();

async function lendOn(era: 'modern' | 'legacy') {
  const server = closing(await serve(era));
  const capabilities = { roots: { listChanged: true } };
  const options = { connector: v2Connector(), capabilities, leasesPerSession: 100 };
  const pool = closing(new SessionPool<Client>(options));
  const target = { url: server.url, identity: 'ada', notifications: false };
  const lend = async () => (await pool.acquire(target)).client;
  return { server, pool, target, lend };
}

test('each is known for what it does', () => {
  const known = [...Object.keys(TALKS), ...THE_LEASES, ...LOCAL, ...HIDDEN];
  expect(methodsOf(Client)).toEqual(known.toSorted());
});

describe.each(['modern', 'legacy'] as const)('of a server of the %s era', (era) => {
  test('each does in its first turn what it does later', async () => {
    const { lend } = await lendOn(era);
    const [early, late] = [await lend(), await lend()];
    await pause(5);
    const outcome = (client: Client, use: Use) =>
      use(client).then(
        (value) => ({ value: Object.keys(Object(value)) }),
        ({ name, code, message }) => ({ name, code, message }),
      );
    for (const [name, use] of Object.entries(TALKS)) {
      const fresh = name === 'callTool' ? early : await lend();
      const [first, second] = [outcome(fresh, use), outcome(late, use)];
      expect({ name, ...(await first) }).toEqual({ name, ...(await second) });
    }
  });

  test('each rejects once the lease has ended, and sends nothing', async () => {
    const { server, pool, target } = await lendOn(era);
    const [used, unused] = await pool.use(target, async (client) => {
      await client.listTools();
      return pool.use(target, async (other) => [client, other] as const);
    });
    const before = server.exchanges.length;
    for (const client of [used, unused]) {
      for (const [name, use] of Object.entries(TALKS)) {
        const reason = await use(client).catch(({ code }) => code);
        expect([name, reason]).toEqual([name, 'LEASE_RELEASED']);
      }
    }
    await pause(30);
    expect(server.exchanges).toHaveLength(before);
  });
});
