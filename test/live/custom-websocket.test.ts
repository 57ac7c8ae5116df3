// The SDK's WebSocket transport in a pool, on the `WebSocket` of `ws` and on undici's, which is
// Node's own from Node 22 on. Row 15 of the hazards: a peer that acknowledges no Close.

import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import { type PoolEvent, SessionPool, type SessionPoolOptions } from 'mcp-session-pool';
import { WebSocket as UndiciSocket } from 'undici';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { WebSocket as WsSocket } from 'ws';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { until } from '../support/raw-server.ts';
import { startWebSocketServer, webSocketTarget } from '../support/websocket-server.ts';

const closing = closeAfterEach();
const CLOSE_MS = 600;
/** Of the event loop on a busy machine. */
const LAG_MS = 250;

const SOCKETS = { ws: WsSocket, undici: UndiciSocket } as const;

async function scene(options: SessionPoolOptions = {}) {
  const server = closing(await startWebSocketServer());
  const pool = closing(new SessionPool({ closeTimeoutMs: CLOSE_MS, ...options }));
  return { server, pool, target: webSocketTarget(server.url) };
}

describe.each(Object.keys(SOCKETS) as (keyof typeof SOCKETS)[])(
  'over the WebSocket of %s',
  (name) => {
    beforeEach(() => void vi.stubGlobal('WebSocket', SOCKETS[name]));

    test('sessions are opened, lent, reused and closed, and the peer sees their Close', async () => {
      const { server, pool, target } = await scene();
      for (const count of ['1', '2']) {
        const text = await pool.use(target, async (client) =>
          textOf(await client.callTool({ name: 'count' })),
        );
        expect(text).toBe(count);
      }
      expect(server.connections).toHaveLength(1);
      expect(await pool.close()).toMatchObject({ sessions: 1, closed: 1, abandoned: 0 });
      await until(() => server.open === 0);
    });

    test('what the server sends while nobody leases reaches the pool, and its pings are answered', async () => {
      const heard: unknown[] = [];
      const { server, pool, target } = await scene({
        onNotification: ({ method }) => void heard.push(method),
      });
      (await pool.acquire(target)).release();
      const { server: inner } = server.connections[0]!.server;
      await inner.sendToolListChanged();
      await expect(inner.ping()).resolves.toEqual({});
      await until(() => heard.length === 1);
      expect(heard).toEqual(['notifications/tools/list_changed']);
    });

    test('a connection that is cut in mid-call is a lost session; the next one is fresh', async () => {
      const { server, pool, target } = await scene();
      const lease = await pool.acquire(target);
      const outcome = lease.client.callTool({ name: 'hang' }).catch((error: unknown) => error);
      const [connection] = server.connections;
      await until(() => JSON.stringify(connection?.received).includes('hang'));
      connection?.cut();
      expect(await outcome).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
      expect(lease.signal.aborted).toBe(true);
      expect((await pool.acquire(target)).reused).toBe(false);
      expect(server.connections).toHaveLength(2);
    });

    test('calls in flight at the close are cancelled on the server before its Close', async () => {
      const { server, pool, target } = await scene();
      const lease = await pool.acquire(target);
      const outcome = lease.client.callTool({ name: 'hang' }).catch((error: unknown) => error);
      await until(() => JSON.stringify(server.connections[0]?.received).includes('hang'));
      expect(await pool.close()).toMatchObject({ closed: 1, abandoned: 0 });
      expect(await outcome).toMatchObject({ code: 'SESSION_LOST' });
      expect(server.connections[0]?.received.at(-1)).toMatchObject({
        method: 'notifications/cancelled',
      });
      expect(server.aborted).toEqual(['hang']);
    });

    // Row 15.
    test('peers that acknowledge no Close hold nothing up, and are reported as abandoned', async () => {
      const events: PoolEvent[] = [];
      const { server, pool, target } = await scene({ onEvent: (event) => void events.push(event) });
      const leases = await Promise.all(Array.from({ length: 5 }, () => pool.acquire(target)));
      const calls = leases.map(({ client }) => client.callTool({ name: 'hang' }));
      const outcomes = Promise.allSettled(calls);
      await until(() => server.connections.every(({ received }) => received.length === 3));
      for (const connection of server.connections) connection.deafen();
      const report = await pool.close();
      expect(report).toMatchObject({ sessions: 5, closed: 0, abandoned: 5 });
      expect(report.durationMs).toBeLessThan(CLOSE_MS + 250 + LAG_MS);
      for (const outcome of await outcomes) {
        expect(outcome).toMatchObject({ reason: { code: 'SESSION_LOST' } });
      }
      await until(() => events.filter(({ type }) => type === 'session-abandoned').length === 5);
      // Nobody but `ws` can cut a socket: undici's are the server's to end, and are said to be there.
      if (name === 'undici') for (const connection of server.connections) connection.cut();
      await until(() => server.open === 0);
    });

    test('a port where nobody listens is a failed open', async () => {
      const { server, pool, target } = await scene();
      await server.close();
      await expect(pool.acquire(target)).rejects.toMatchObject({ code: 'OPEN_FAILED' });
      expect(await pool.close()).toMatchObject({ sessions: 0, abandoned: 0 });
    });

    test('a port that never upgrades is a failed open in time, and its socket is freed', async () => {
      const sockets = new Set<Socket>();
      const hole = createServer((socket) => {
        sockets.add(socket);
        socket.resume();
        socket.on('error', () => {});
        socket.on('close', () => sockets.delete(socket));
      });
      await new Promise<void>((resolve) => hole.listen(0, '127.0.0.1', resolve));
      const { port } = hole.address() as AddressInfo;
      const pool = closing(new SessionPool({ connectTimeoutMs: 200, closeTimeoutMs: CLOSE_MS }));
      const target = webSocketTarget(new URL(`ws://127.0.0.1:${port}`));
      await expect(pool.acquire(target)).rejects.toMatchObject({ kind: 'timeout' });
      await until(() => sockets.size === 0);
      // undici opens a spare one for the request that it aborted, and closes it by itself.
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => hole.close(resolve));
    });
  },
);
