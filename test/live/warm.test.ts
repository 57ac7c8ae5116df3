// Sessions opened ahead of use on real servers: the first call finds one, and a restart between
// warming and use is nobody's problem.

import { SessionPool } from 'mcp-session-pool';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { startMcpServer } from '../support/mcp-server.ts';
import { startToolServer } from '../support/tool-server.ts';

const closing = closeAfterEach();

test('the first calls after warm cost no handshake, and carry their own credentials', async () => {
  const server = closing(await startMcpServer());
  const pool = closing(new SessionPool());
  const headers = (token: string): Record<string, string> => ({ authorization: token });
  const target = { url: server.url, identity: 'ada', headers: headers('at the start') };
  expect(await pool.warm(target, 4)).toEqual({ sessions: 4, opened: 4 });
  const handshakes = server.seen.length;
  expect(server.seen.every(({ headers: seen }) => seen.authorization === 'at the start')).toBe(
    true,
  );
  const later = { ...target, headers: headers('later') };
  const texts = await Promise.all(
    Array.from({ length: 4 }, () =>
      pool.use(later, async (client, { reused }) => {
        expect(reused).toBe(false);
        return textOf(await client.callTool({ name: 'count' }));
      }),
    ),
  );
  expect(texts).toEqual(['1', '1', '1', '1']);
  expect(server.count('initialize')).toBe(4);
  expect(server.seen.slice(handshakes).map(({ method }) => method)).toEqual(
    Array.from({ length: 4 }, () => 'tools/call'),
  );
  expect(server.seen.at(-1)?.headers.authorization).toBe('later');
});

test('two warms and callers at once open what is needed and no more', async () => {
  const server = closing(await startMcpServer());
  const pool = closing(new SessionPool({ maxSessionsPerKey: 6, maxOpeningPerKey: 2 }));
  const target = { url: server.url, identity: 'ada' };
  const calls = Array.from({ length: 12 }, () =>
    pool.use(target, async (client) => textOf(await client.callTool({ name: 'whoami' }))),
  );
  const reports = await Promise.all([pool.warm(target, 5), pool.warm(target, 100)]);
  expect((await Promise.all(calls)).every((text) => text.includes('mcp-session-id'))).toBe(true);
  expect(reports[1].sessions).toBe(6);
  expect([server.sessions.size, server.count('initialize')]).toEqual([6, 6]);
});

test('where nobody listens rejects with the failure, and works once somebody does', async () => {
  const server = closing(await startToolServer());
  const pool = closing(new SessionPool());
  const target = { url: server.url, identity: 'ada' };
  await server.kill();
  const failure = { code: 'OPEN_FAILED', kind: 'refused' };
  await expect(pool.warm(target, 2)).rejects.toMatchObject(failure);
  // This one waits for the back-off: calling warm in a loop is no storm.
  await expect(pool.warm(target, 2)).rejects.toMatchObject(failure);
  await server.restart();
  expect(await pool.warm(target, 2)).toEqual({ sessions: 2, opened: 2 });
  expect(server.initializes()).toBe(2);
});

test('a server that restarts between warm and use costs no call', async () => {
  const server = closing(await startToolServer());
  const pool = closing(new SessionPool());
  const target = { url: server.url, identity: 'ada' };
  await pool.warm(target, 2);
  await server.kill();
  await server.restart();
  const ids = ['a', 'b', 'c'];
  for (const id of ids) {
    await pool.use(target, (client) => client.callTool({ name: 'run', arguments: { id } }));
  }
  expect([...server.executions()]).toEqual(ids.map((id) => [id, 1]));
});
