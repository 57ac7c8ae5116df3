// Servers that forget sessions, die and come back: who is told what, and that the next lease works.

import { SessionPool } from 'mcp-session-pool';
import { describe, expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { startEverythingServer } from '../support/everything-server.ts';
import { textOf } from '../support/http-sessions.ts';
import { startMcpServer } from '../support/mcp-server.ts';
import { until } from '../support/raw-server.ts';

const closing = closeAfterEach();
const echo = { name: 'echo', arguments: { message: 'hello' } };

describe('a session that the server forgot', () => {
  test('fails the call as not executed; the next lease gets a fresh session (404)', async () => {
    const server = closing(await startMcpServer());
    const pool = closing(new SessionPool());
    const target = { url: server.url, identity: 'ada' };
    const first = await pool.use(target, async (client, lease) => {
      await client.callTool({ name: 'count' });
      return lease.sessionId!;
    });
    await server.forget(first);
    const lease = await pool.acquire(target);
    expect(lease.reused).toBe(true);
    const { signal } = lease;
    await expect(lease.client.callTool({ name: 'count' })).rejects.toMatchObject({
      code: 'SESSION_LOST',
      execution: 'not-executed',
    });
    expect(signal.aborted).toBe(true);
    lease.release();

    const [text, reused, id] = await pool.use(target, async (client, fresh) => {
      const result = await client.callTool({ name: 'count' });
      return [textOf(result), fresh.reused, fresh.sessionId];
    });
    expect([text, reused]).toEqual(['1', false]);
    expect(id).not.toBe(first);
    expect(pool.stats().totals).toMatchObject({ lost: 1, opened: 2 });
    // A session that is gone gets no DELETE.
    expect(server.count('DELETE')).toBe(0);
  });

  test('fails every lease that shares it, each exactly once', async () => {
    const server = closing(await startMcpServer());
    const pool = closing(new SessionPool());
    const target = { url: server.url, identity: 'ada', leasesPerSession: 3 };
    const leases = [await pool.acquire(target), await pool.acquire(target)];
    const hanging = leases[0]!.client.callTool({ name: 'hang' });
    hanging.catch(() => {});
    await until(() => server.count('tools/call') === 1);
    await server.forget(leases[0]!.sessionId!);
    // The server closes the stream of the call that hangs, which tells of the loss.
    await expect(hanging).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    await expect(leases[1]!.client.callTool({ name: 'count' })).rejects.toMatchObject({
      code: 'SESSION_LOST',
      execution: 'not-executed',
    });
    expect(leases.map(({ signal }) => signal.aborted)).toEqual([true, true]);
    for (const lease of leases) lease.release();
  });

  test('is lost for a lease held by hand where the server answers 400 (server-everything)', async () => {
    const server = closing(await startEverythingServer());
    const pool = closing(new SessionPool());
    const target = { url: server.url, identity: 'ada' };
    const lease = await pool.acquire(target);
    await lease.client.callTool(echo);
    // Ends the session behind the pool's back.
    const headers = { 'mcp-session-id': lease.sessionId! };
    await (await fetch(server.url, { method: 'DELETE', headers })).text();
    await expect(lease.client.callTool(echo)).rejects.toMatchObject({
      code: 'SESSION_LOST',
      execution: 'not-executed',
    });
    const text = await pool.use(target, async (client) => textOf(await client.callTool(echo)));
    expect(text).toContain('hello');
  });
});

describe('a server that dies', () => {
  test('fails calls and opens at once, and works again as soon as it is back', async () => {
    const server = closing(await startEverythingServer());
    const pool = closing(new SessionPool());
    const target = { url: server.url, identity: 'ada' };
    const call = (): Promise<string> =>
      pool.use(target, async (client) => textOf(await client.callTool(echo)));
    expect(await call()).toContain('hello');

    await server.close();
    // The session is lost, the work may run again, and there is nobody to run it on.
    await expect(call()).rejects.toMatchObject({ code: 'OPEN_FAILED', kind: 'refused' });
    await expect(call()).rejects.toMatchObject({ code: 'OPEN_FAILED', kind: 'refused' });

    closing(await startEverythingServer(server.port));
    expect(await call()).toContain('hello');
    expect(pool.stats().totals).toMatchObject({ opened: 2, openFailed: 2, lost: 1 });
  });
});
