// How the era of a server is found out, and what a server without sessions may not do, shown with
// raw servers that change or misbehave.

import { SessionPool, v2Connector } from 'mcp-session-pool/v2';
import { describe, expect, test, vi } from 'vitest';
import { answerCall, speakModern } from '../support/modern-server.ts';
import {
  answerInitialize,
  answerJson,
  beginEvents,
  eventOf,
  pause,
  type RawExchange,
  type RawHandlers,
  speakMcp,
  startRawServer,
  until,
} from '../support/raw-server.ts';
import { useSdk2Scenes } from '../support/sdk2-scene.ts';

const scene = useSdk2Scenes();
const call = { name: 'x' };
const refuse =
  (status: number, headers: Record<string, string> = {}) =>
  ({ response }: RawExchange): void =>
    void response.writeHead(status, headers).end();
const answerError = ({ message: { id }, response }: RawExchange, code: number): void => {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id, error: { code, message: 'No' } }));
};
const METHODS = ['server/discover', 'initialize', 'notifications/initialized', 'tools/call'];

/** Handlers that answer as `pick` says at the moment. */
function changing(pick: () => (exchange: RawExchange) => void): RawHandlers {
  return Object.fromEntries(METHODS.map((name) => [name, (exchange) => pick()(exchange)]));
}

describe('an open', () => {
  test('of a server that was upgraded since finds out, though it was known to be older', async () => {
    const older = speakMcp({
      'server/discover': refuse(404),
      'tools/call': (each) => answerJson(each, { content: [] }),
    });
    const newer = speakModern({ initialize: refuse(400) });
    let speak = older;
    const { server, pool, target } = await scene(
      'handshake',
      changing(() => speak),
    );
    const eraNow = () =>
      pool.use(target, async (client) => {
        await client.callTool(call);
        return client.getProtocolEra();
      });
    expect(await eraNow()).toBe('legacy');
    speak = newer;
    pool.retire();
    expect(await eraNow()).toBe('modern');
    expect(server.count('POST', 'server/discover')).toBe(2);
    expect(pool.stats().totals.openFailed).toBe(0);
  });

  test('that can not reach a server it knows tries once', async () => {
    const { server, pool, target } = await scene('handshake');
    await pool.use(target, (client) => client.callTool(call));
    pool.retire();
    await server.close();
    await pause(50);
    await expect(pool.acquire(target)).rejects.toMatchObject({
      code: 'OPEN_FAILED',
      kind: 'refused',
    });
  });

  test('that is asked to come back later says when, also in answer to the first question', async () => {
    const { pool, target } = await scene('modern', {
      'server/discover': refuse(503, { 'retry-after': '7' }),
    });
    await expect(pool.acquire(target)).rejects.toMatchObject({
      code: 'OPEN_FAILED',
      status: 503,
      cause: { retryAfterMs: 7_000 },
    });
    const later = pool.acquire(target);
    await expect(later).rejects.toMatchObject({ code: 'CIRCUIT_OPEN' });
  });

  test('that is refused by one known to be older is not tried again at once when told to wait', async () => {
    let isBusy = false;
    const { server, pool, target } = await scene('handshake', {
      initialize: (each) => {
        if (isBusy) refuse(503, { 'retry-after': '7' })(each);
        else answerInitialize(each);
      },
    });
    await pool.use(target, (client) => client.callTool(call));
    isBusy = true;
    pool.retire();
    const before = server.count('POST');
    await expect(pool.acquire(target)).rejects.toMatchObject({ code: 'OPEN_FAILED', status: 503 });
    expect(server.count('POST')).toBe(before + 1);
  });

  test.each([401, 403])('that is refused with %i does not try the other era', async (status) => {
    const { server, pool, target } = await scene('modern', { 'server/discover': refuse(status) });
    await expect(pool.acquire(target)).rejects.toMatchObject({ kind: 'unauthorized', status });
    expect(server.count('POST')).toBe(1);
  });
});

test('a server that offers other revisions than the pinned one does not speak the protocol', async () => {
  const speak = speakMcp({ 'server/discover': (each) => answerError(each, -32_601) });
  const server = await startRawServer(speak);
  const connector = v2Connector({ versionNegotiation: { mode: { pin: '2026-07-28' } } });
  const pool = new SessionPool({ connector });
  const refused = pool.acquire({ url: server.url, identity: 'ada' });
  await expect(refused).rejects.toMatchObject({
    code: 'OPEN_FAILED',
    kind: 'protocol',
    cause: { code: 'ERA_NEGOTIATION_FAILED' },
  });
  await pool.close();
  await server.close();
});

describe('a server without sessions', () => {
  test('that an older one has taken the place of is left, with affinity too', async () => {
    let isOlder = false;
    const older = speakMcp({
      'server/discover': (each) => answerError(each, -32_601),
      'tools/call': (each) => {
        if (each.headers['mcp-session-id'] === undefined) refuse(400)(each);
        else answerJson(each, { content: [] });
      },
    });
    const newer = speakModern();
    const { pool, target } = await scene(
      'modern',
      changing(() => (isOlder ? older : newer)),
    );
    const affine = { ...target, affinity: 'ada-1' };
    const work = () => pool.use(affine, (client) => client.callTool(call));
    await work();
    isOlder = true;
    await expect(work()).rejects.toMatchObject({ status: 400 });
    await work();
    expect(await pool.use(affine, (client) => client.getProtocolEra())).toBe('legacy');
  });

  test('that ends a stream with an event id loses that call: nothing is resumed', async () => {
    const { server, pool, target } = await scene('modern', {
      'tools/call': (each) => void beginEvents(each, 'retry: 0\nid: e1\ndata:\n\n').end(),
    });
    const lease = await pool.acquire(target);
    await expect(lease.client.callTool(call)).rejects.toMatchObject({ code: 'RESPONSE_CUT' });
    await pause(50);
    expect(server.count('GET')).toBe(0);
  });

  test('that asks something by a request gets no answer, and it is told as trouble', async () => {
    const events: unknown[] = [];
    const onRequest = vi.fn(() => ({ action: 'accept' }));
    const { server, pool, target } = await scene(
      'modern',
      {
        'tools/call': (each) => {
          const params = { message: 'Who?', requestedSchema: { type: 'object', properties: {} } };
          const asked = { jsonrpc: '2.0', id: 7, method: 'elicitation/create', params };
          const { id } = each.message;
          const result = { resultType: 'complete', content: [] };
          const answer = { jsonrpc: '2.0', id, result };
          beginEvents(each, eventOf(asked) + eventOf(answer)).end();
        },
      },
      { onRequest, onEvent: (event) => events.push(event), capabilities: { elicitation: {} } },
    );
    const lease = await pool.acquire(target, { onRequest });
    await lease.client.callTool(call);
    lease.release();
    await pause(30);
    expect(onRequest).not.toHaveBeenCalled();
    expect(server.count('POST')).toBe(2);
    expect(events).toContainEqual(expect.objectContaining({ type: 'session-trouble' }));
  });

  test('tells of a subscription on its own stream alone, by whatever id', async () => {
    const KEY = 'io.modelcontextprotocol/subscriptionId';
    const changed = (id: unknown, uri: string) =>
      eventOf({
        jsonrpc: '2.0',
        method: 'notifications/resources/updated',
        params: { uri, _meta: { [KEY]: id } },
      });
    const listens: RawExchange[] = [];
    const { pool, target } = await scene(
      'modern',
      {
        'subscriptions/listen': (each) => {
          listens.push(each);
          const params = { notifications: {}, _meta: { [KEY]: each.message.id } };
          const method = 'notifications/subscriptions/acknowledged';
          beginEvents(each, eventOf({ jsonrpc: '2.0', method, params }));
        },
      },
      { leasesPerSession: 2 },
    );
    const leases = [await pool.acquire(target), await pool.acquire(target)];
    const heard: string[][] = [[], []];
    for (const [n, { client }] of leases.entries()) {
      client.setNotificationHandler('notifications/resources/updated', ({ params }) => {
        heard[n]?.push(params.uri);
      });
      await client.listen({ resourceSubscriptions: ['a'] });
    }
    const [first, second] = listens;
    const [idOfFirst, idOfSecond] = listens.map(({ message }) => message.id);
    first?.response.write(changed(idOfFirst, 'file:///first'));
    // As text, which peers may send a number back as.
    second?.response.write(changed(String(idOfSecond), 'file:///second'));
    await until(() => heard[0]?.length === 1 && heard[1]?.length === 1);
    second?.response.write(changed(idOfFirst, 'file:///smuggled'));
    await pause(50);
    expect(heard).toEqual([['file:///first'], ['file:///second']]);
  });

  test('that the caller shares is listed once, and the list is not shared with others', async () => {
    const tools = [{ name: 'x', inputSchema: { type: 'object' } }];
    const list = { resultType: 'complete', tools, ttlMs: 60_000, cacheScope: 'public' };
    const { server, pool, target } = await scene('modern', {
      'tools/list': (each) => answerJson(each, list),
      'tools/call': answerCall,
    });
    for (const identity of ['ada', 'ada', 'bob', 'ada']) {
      await pool.use({ ...target, identity }, (client) => client.listTools());
    }
    expect(server.count('POST', 'tools/list')).toBe(2);
  });
});
