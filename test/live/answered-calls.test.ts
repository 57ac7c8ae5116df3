// A server that answers calls on event streams and keeps the streams open: what is left of calls
// that are over.

import { SessionPool } from 'mcp-session-pool';
import { hostileServer } from 'mcp-session-pool/testing';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import {
  beginEvents,
  eventOf,
  pause,
  type RawExchange,
  speakMcp,
  startRawServer,
  until,
} from '../support/raw-server.ts';

const closing = closeAfterEach();

const answerOf = ({ message }: RawExchange): string =>
  eventOf({ jsonrpc: '2.0', id: message.id, result: { content: [] } });

test('50 finished calls whose streams the server keeps open leave no sockets behind', async () => {
  const server = closing(await hostileServer('keeps-stream-open'));
  const pool = closing(new SessionPool());
  const target = { url: server.url, identity: 'ada' };
  for (let n = 0; n < 50; n += 1) {
    await pool.use(target, (client) => client.callTool({ name: 'echo' }));
  }
  await until(() => server.pending === 0 && server.openSockets <= 3, 1_500);
  expect(pool.stats().totals).toMatchObject({ opened: 1 });
  // The session is as good as before.
  await pool.use(target, (client) => client.callTool({ name: 'echo' }));
  expect(server.count('POST', 'initialize')).toBe(1);
  expect(server.count('GET')).toBe(0);
});

test('a server that floods the stream of an answered call is cut off', async () => {
  const text = eventOf({
    jsonrpc: '2.0',
    method: 'notifications/x',
    params: { a: 'a'.repeat(99) },
  });
  let written = 0;
  const server = closing(
    await startRawServer(
      speakMcp({
        'tools/call': (exchange) => {
          const response = beginEvents(exchange, answerOf(exchange));
          const flood = (): void => {
            if (response.destroyed) return;
            written += 1;
            response.write(text.repeat(100));
            setTimeout(flood, 1);
          };
          flood();
        },
      }),
    ),
  );
  const pool = closing(new SessionPool());
  const target = { url: server.url, identity: 'ada' };
  await pool.use(target, (client) => client.callTool({ name: 'echo' }));
  await until(() => server.pending === 0, 1_500);
  const atEnd = written;
  await pause(100);
  expect(written).toBeLessThanOrEqual(atEnd + 1);
  expect(server.count('POST', 'tools/call')).toBe(1);
});

test('streams that end with their answers keep their connection, over 20 calls', async () => {
  const server = closing(
    await startRawServer(
      speakMcp({
        'tools/call': (exchange) => {
          const response = beginEvents(exchange, answerOf(exchange));
          setTimeout(() => response.end(), 10);
        },
      }),
    ),
  );
  const pool = closing(new SessionPool());
  const target = { url: server.url, identity: 'ada' };
  for (let n = 0; n < 20; n += 1) {
    await pool.use(target, (client) => client.callTool({ name: 'echo' }));
    await until(() => server.pending === 0);
  }
  await pause(150);
  expect(server.connections).toBeLessThanOrEqual(2);
});
