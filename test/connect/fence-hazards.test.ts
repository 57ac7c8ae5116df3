// The SDK's transport behind the fence, against servers that do what shared experience says hurts
// (the rows of the hazards table). Each row that can be is run without the fence as well: the bare
// SDK misbehaves in the same time, so the test can fail. Counts are of requests, not of CPU.

import {
  type HostileServer,
  type HostileServerName,
  hostileServer,
} from 'mcp-session-pool/testing';
import { describe, expect, type TestContext, test } from 'vitest';
import {
  connectClient,
  type FencedClient,
  type FencedClientOptions,
} from '../support/fenced-client.ts';
import {
  answerJson,
  beginEvents,
  eventOf,
  pause,
  type RawExchange,
  type RawHandlers,
  type RawServer,
  speakMcp,
  startRawServer,
  until,
} from '../support/raw-server.ts';

/** Long enough for hundreds of requests of a hot loop, shorter than the fence's floor of 1 s. */
const WATCH_MS = 250;

type Cleanup = Pick<TestContext, 'onTestFinished'>;

async function serve(context: Cleanup, handlers: RawHandlers): Promise<RawServer> {
  const server = await startRawServer(speakMcp(handlers));
  context.onTestFinished(() => server.close());
  return server;
}

async function serveHostile(context: Cleanup, name: HostileServerName): Promise<HostileServer> {
  const server = await hostileServer(name);
  context.onTestFinished(() => server.close());
  return server;
}

async function open(
  context: Cleanup,
  server: Pick<RawServer, 'url'>,
  options: FencedClientOptions = {},
): Promise<FencedClient> {
  // No jitter, so that the tests are fast.
  const each = await connectClient(server.url, { random: () => 0, ...options });
  context.onTestFinished(() => each.close());
  return each;
}

const callTool = (each: FencedClient, signal?: AbortSignal): Promise<unknown> =>
  each.client.callTool({ name: 'hang' }, undefined, signal === undefined ? {} : { signal });

/** Milliseconds between one GET that reached the server and the next. */
const gapsOfGets = (server: HostileServer): number[] => {
  const at = server.requests.filter(({ method }) => method === 'GET').map((each) => each.cameAt);
  return at.slice(1).map((cameAt, index) => cameAt - (at[index] as number));
};

describe.concurrent('row 3: a server that ends each GET stream at once with `retry: 0`', () => {
  test('drives the bare SDK into a hot loop', async (context) => {
    const server = await serveHostile(context, 'get-ends-at-once');
    await open(context, server, { fenced: false });
    await until(() => server.count('GET') > 20);
  });

  test('is asked once in a second through the fence', async (context) => {
    const server = await serveHostile(context, 'get-ends-at-once');
    await open(context, server);
    await until(() => server.count('GET') === 2);
    expect(gapsOfGets(server)[0]).toBeGreaterThan(990);
    await pause(WATCH_MS);
    expect(server.count('GET')).toBe(2);
  });
});

describe.concurrent('row 3b: `retry: 3000000000`, which Node makes 1 ms', () => {
  // No run of the bare SDK: its TimeoutOverflowWarning would fail this file.
  test('makes no loop through the fence, and is reported as 5 min', async (context) => {
    const server = await serveHostile(context, 'get-retry-overflow');
    const ends: (number | undefined)[] = [];
    await open(context, server, { onStreamEnd: ({ retryMs }) => ends.push(retryMs) });
    await until(() => ends.length === 1);
    await pause(1_200);
    expect(server.count('GET')).toBe(1);
    expect(ends).toEqual([300_000]);
  });
});

describe.concurrent('row 4: a server that ends GETs and never answers the reconnects', () => {
  const SESSIONS = 5;
  const closeAllWhenHung = async (
    context: Cleanup,
    server: HostileServer,
    options: FencedClientOptions,
  ): Promise<FencedClient[]> => {
    const opening = Array.from({ length: SESSIONS }, () => open(context, server, options));
    const all = await Promise.all(opening);
    await until(() => server.count('GET') === 2 * SESSIONS);
    await Promise.all(all.map((each) => each.close()));
    return all;
  };

  test('leaves closed transports of the bare SDK spinning', async (context) => {
    const server = await serveHostile(context, 'get-flaps-then-hangs');
    const all = await closeAllWhenHung(context, server, { fenced: false, limit: 50 });
    await until(() => all.every((each) => each.left.count >= 50));
  });

  test('leaves fenced transports quiet once closed', async (context) => {
    const server = await serveHostile(context, 'get-flaps-then-hangs');
    const all = await closeAllWhenHung(context, server, {});
    const left = all.map((each) => each.left.count);
    await until(() => server.pending === 0);
    await pause(WATCH_MS);
    expect(all.map((each) => each.left.count)).toEqual(left);
  });
});

describe.concurrent('row 4b: a server that dies after it said `retry: 0`', () => {
  const openThenKill = async (
    context: Cleanup,
    options: FencedClientOptions,
  ): Promise<FencedClient> => {
    const begin = (exchange: RawExchange): void => void beginEvents(exchange, 'retry: 0\n\n');
    const server = await serve(context, { GET: begin });
    const each = await open(context, server, options);
    await until(() => server.count('GET') === 1);
    await pause(30);
    await server.close();
    return each;
  };

  test('is dialled again and again by the bare SDK', async (context) => {
    const each = await openThenKill(context, { fenced: false });
    await until(() => each.left.count > 30);
  });

  test('is dialled at most once a second through the fence, never after close', async (context) => {
    const each = await openThenKill(context, {});
    // initialize, initialized, GET; and one more a second after the server died.
    await until(() => each.left.count === 4);
    await pause(WATCH_MS);
    expect(each.left.count).toBe(4);
    await each.close();
    await pause(WATCH_MS);
    expect(each.left.count).toBe(4);
  });
});

describe.concurrent('row 5: a GET and five POST streams that wait to reconnect at close', () => {
  const closeWhenAllWait = async (context: Cleanup, options: FencedClientOptions) => {
    let id = 0;
    const endWithId = (exchange: RawExchange): void => {
      id += 1;
      beginEvents(exchange, `id: e${id}\nretry: 40\ndata:\n\n`).end();
    };
    const server = await serve(context, { GET: endWithId, 'tools/call': endWithId });
    const each = await open(context, server, options);
    const calls = Array.from({ length: 5 }, () => callTool(each).catch(() => 'rejected'));
    await until(() => server.count('POST', 'tools/call') === 5 && server.count('GET') >= 1);
    await until(() => server.pending === 0);
    await pause(20);
    await each.close();
    expect(await Promise.all(calls)).toEqual(Array(5).fill('rejected'));
    return each;
  };

  test('come back from the dead in the bare SDK', async (context) => {
    const each = await closeWhenAllWait(context, { fenced: false, limit: 60 });
    const left = each.left.count;
    await until(() => each.left.count > left + 10);
  });

  test('find the fence closed when they wake, and stay there', async (context) => {
    const each = await closeWhenAllWait(context, {});
    const left = each.left.count;
    // The SDK clears one timer of six. The others run a second after their streams ended.
    await pause(1_300);
    expect(each.left.count).toBe(left);
  });
});

describe.concurrent('row 11: calls that were aborted while the server streams on', () => {
  const CALLS = 12;
  const paramsOf = (server: RawServer, rpcMethod: string) =>
    server.exchanges.filter(({ message }) => message.method === rpcMethod);

  const callAndAbort = async (context: Cleanup, options: FencedClientOptions) => {
    const server = await serve(context, {
      // Half of the calls get headers, half nothing at all.
      'tools/call': (exchange) => {
        if (exchange.count % 2 === 0) beginEvents(exchange, 'id: 1\ndata:\n\n');
      },
    });
    const each = await open(context, server, options);
    const errors: Error[] = [];
    each.client.onerror = (error) => errors.push(error);
    const controllers = Array.from({ length: CALLS }, () => new AbortController());
    const calls = controllers.map(({ signal }) => callTool(each, signal).catch(() => 'rejected'));
    await until(() => server.count('POST', 'tools/call') === CALLS);
    await pause(30);
    for (const controller of controllers) controller.abort();
    expect(await Promise.all(calls)).toEqual(Array(CALLS).fill('rejected'));
    await until(() => server.count('POST', 'notifications/cancelled') === CALLS);
    return { server, each, errors };
  };

  test('each hold a socket in the bare SDK', async (context) => {
    const { server } = await callAndAbort(context, { fenced: false });
    await pause(WATCH_MS);
    expect(server.pending).toBe(CALLS);
  });

  test('free their sockets through the fence, and the server was told', async (context) => {
    const { server, each, errors } = await callAndAbort(context, {});
    await until(() => server.pending === 0);
    const called = paramsOf(server, 'tools/call').map(({ message }) => message.id);
    const cancelled = paramsOf(server, 'notifications/cancelled').map(
      ({ message }) => message.params?.['requestId'],
    );
    expect(cancelled.toSorted()).toEqual(called.toSorted());
    // The streams that had begun fell silent: an error or an end would make the SDK resume them.
    expect(errors.filter(({ message }) => /stream/i.test(message))).toEqual([]);
    expect(each.left.count).toBe(3 + 2 * CALLS);
  });
});

describe.concurrent('row 11b: an aborted call whose server ends every resumption at once', () => {
  const resumptions = (server: HostileServer): number =>
    server.requests.filter(({ headers }) => headers['last-event-id'] !== undefined).length;

  const serveResuming = (context: Cleanup): Promise<HostileServer> =>
    serveHostile(context, 'resume-never-ends');

  /** Aborts once the call has been resumed `count` times; returns the resumptions up to then. */
  const callAndAbort = async (
    context: Cleanup,
    server: HostileServer,
    options: FencedClientOptions,
    count: number,
  ): Promise<number> => {
    const each = await open(context, server, options);
    const controller = new AbortController();
    const call = callTool(each, controller.signal).catch(() => 'rejected');
    await until(() => server.count('POST', 'tools/call') === 1 && resumptions(server) >= count);
    await pause(20);
    controller.abort();
    expect(await call).toBe('rejected');
    await until(() => server.count('POST', 'notifications/cancelled') === 1);
    return resumptions(server);
  };

  test('is resumed in a hot loop by the bare SDK', async (context) => {
    const server = await serveResuming(context);
    const before = await callAndAbort(context, server, { fenced: false }, 1);
    await until(() => resumptions(server) > before + 20);
  });

  test('is never resumed when aborted while the SDK waits to resume it', async (context) => {
    const server = await serveResuming(context);
    expect(await callAndAbort(context, server, {}, 0)).toBe(0);
    await pause(1_300);
    expect(resumptions(server)).toBe(0);
  });

  test('is resumed a second after it ended, and no more after its abort', async (context) => {
    const server = await serveResuming(context);
    expect(await callAndAbort(context, server, {}, 1)).toBe(1);
    await pause(1_300);
    expect(resumptions(server)).toBe(1);
  });
});

describe.concurrent('what must go on working', () => {
  test('a call whose stream the server ends, to be polled, gets its answer', async (context) => {
    const server = await serve(context, {
      'tools/call': (exchange) => void beginEvents(exchange, 'retry: 10\nid: p1\ndata:\n\n').end(),
      GET: (exchange) => {
        if (exchange.headers['last-event-id'] === 'p1') {
          const call = server.exchanges.find(({ message }) => message.method === 'tools/call');
          const answer = { jsonrpc: '2.0', id: call?.message.id, result: { content: [] } };
          beginEvents(exchange, eventOf(answer, { id: 'p2' })).end();
        } else exchange.response.writeHead(405).end();
      },
      ping: (exchange) => answerJson(exchange, {}),
    });
    const each = await open(context, server);
    expect(await callTool(each)).toMatchObject({ content: [] });
    expect(await each.client.ping()).toEqual({});
  });

  test('a teardown sends its DELETE through the armed fence', async (context) => {
    const server = await serve(context, {});
    const each = await open(context, server);
    each.fence?.arm();
    await expect(each.transport.terminateSession()).rejects.toMatchObject({ code: 'SESSION_LOST' });
    const headers = { 'mcp-session-id': each.transport.sessionId ?? '' };
    const answer = await each.fence?.passThrough(server.url, { method: 'DELETE', headers });
    expect(answer?.status).toBe(204);
    expect(server.count('DELETE')).toBe(1);
  });
});
