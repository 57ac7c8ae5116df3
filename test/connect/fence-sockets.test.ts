// The fence over undici on real sockets: that none is left, and what an abort costs the server in
// connections (row 13b of the hazards).

import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import { Pool, fetch as undiciFetch } from 'undici';
import { describe, expect, test } from 'vitest';
import { createFence } from '../../src/connect/fence.ts';
import { connectClient } from '../support/fenced-client.ts';
import {
  answerJson,
  beginEvents,
  pause,
  type RawExchange,
  speakMcp,
  startRawServer,
  until,
} from '../support/raw-server.ts';

const CALLS = 20;

/** A fetch over one undici `Pool`. */
function fetchOver(pool: Pool): FetchLike {
  return (url, init) =>
    undiciFetch(url, { ...(init as object), dispatcher: pool }) as unknown as Promise<Response>;
}

/** Opens a session whose notification stream and calls hang, half of them after their headers. */
async function openHung() {
  const hang = (exchange: RawExchange): void => {
    if (exchange.count % 2 === 0) beginEvents(exchange, ': hung\n\n');
  };
  const server = await startRawServer(
    speakMcp({ GET: (exchange) => void beginEvents(exchange), 'tools/call': hang }),
  );
  const pool = new Pool(server.url.origin);
  const each = await connectClient(server.url, { fetch: fetchOver(pool) });
  const calls = Array.from({ length: CALLS }, () =>
    each.client.callTool({ name: 'hang' }).catch(() => 'rejected'),
  );
  await until(() => server.count('GET') === 1 && server.count('POST', 'tools/call') === CALLS);
  await pause(20);
  return { server, pool, each, calls };
}

describe('row 13b: the sockets of a session with 20 hung calls and a hung stream', () => {
  test.each(['pool first', 'fence first'])(
    'are all gone once fence and pool are torn down, %s',
    async (order) => {
      const { server, pool, each, calls } = await openHung();
      expect(server.openSockets).toBeGreaterThan(CALLS);
      const connectionsBefore = server.connections;
      each.fence?.arm();
      // The order that a dispatcher's owner should use opens no spare connections at all.
      if (order === 'pool first') {
        await each.client.close();
        await pool.destroy();
      }
      each.fence?.abortAll();
      await each.client.close();
      if (order === 'fence first') await pool.destroy();
      await until(() => server.openSockets === 0);
      await pause(50);
      expect(server.openSockets).toBe(0);
      // At most one spare per aborted request (undici #5845).
      expect(server.connections - connectionsBefore).toBeLessThanOrEqual(CALLS + 1);
      expect(await Promise.all(calls)).toEqual(Array(CALLS).fill('rejected'));
      await server.close();
    },
  );

  test('are freed by abortAll alone, without the transport’s close and without the pool’s', async () => {
    const { server, pool, each, calls } = await openHung();
    each.fence?.abortAll();
    await until(() => server.pending === 0);
    const left = each.left.count;
    await pause(50);
    expect(each.left.count).toBe(left);
    await each.client.close();
    expect(await Promise.all(calls)).toEqual(Array(CALLS).fill('rejected'));
    await pool.destroy();
    await server.close();
  });
});

test('row 6c: a 202 whose body never ends does not hold up connect, nor keep a socket', async () => {
  const server = await startRawServer(
    speakMcp({
      'notifications/initialized': ({ response }) => {
        response.writeHead(202, { 'content-type': 'text/plain' });
        response.write('Accep');
      },
    }),
  );
  const each = await connectClient(server.url);
  await until(() => server.pending === 0);
  await each.close();
  await server.close();
});

test('without a fetch of the caller’s, undici fetches over the process’s dispatcher', async () => {
  const server = await startRawServer((exchange) => answerJson(exchange, { ok: true }));
  const fence = createFence();
  const answer = await fence.fetch(server.url, { method: 'POST', body: '{"id":1,"method":"a"}' });
  expect(await answer.json()).toMatchObject({ id: 1, result: { ok: true } });
  expect(answer.url).toBe(server.url.href);
  expect(server.exchanges[0]?.headers['user-agent']).toBe('undici');
  fence.abortAll();
  await server.close();
});
