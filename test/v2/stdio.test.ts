// Servers over stdio with clients of SDK 2: of 2026-07-28, where one process serves all that is
// asked of it, and of the handshake era, also where they can't bear to be asked which they are.

import type { Client } from '@modelcontextprotocol/client';
import { SessionPool, type SessionPoolOptions, v2Connector } from 'mcp-session-pool/v2';
import { describe, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { pause, until } from '../support/raw-server.ts';
import { useStdioLab } from '../support/stdio-lab.ts';

const lab = useStdioLab('stdio-server-2');
const closing = closeAfterEach();
const newPool = (options: SessionPoolOptions<Client> = {}): SessionPool<Client> =>
  closing(new SessionPool({ connector: v2Connector(), ...options }));
const echo = (text: string) => ({ name: 'echo', arguments: { text } });
const target = (...habits: string[]) => ({ ...lab.target(...habits), identity: 'ada' });

interface Read {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly name?: string; readonly requestId?: number };
}
/** What the servers of this test read of one method, of one tool. */
const read = (method: string, tool?: string): Read[] =>
  lab
    .readLines()
    .map((line) => JSON.parse(line) as Read)
    .filter((each) => each.method === method && (tool ?? each.params?.name) === each.params?.name);

describe('a server without sessions', () => {
  test('is one process, which is asked who it is, and serves lease after lease', async () => {
    const pool = newPool();
    for (const text of ['one', 'two']) {
      const said = await pool.use(target(), async (client) => {
        expect(client.getProtocolEra()).toBe('modern');
        return textOf(await client.callTool(echo(text)));
      });
      expect(said).toBe(text);
    }
    expect(lab.processes()).toHaveLength(1);
    expect([read('server/discover').length, read('initialize').length]).toEqual([1, 0]);
    pool.retire();
    await pool.use(target(), (client) => client.listTools());
    // Another process says itself who it is.
    expect(read('server/discover')).toHaveLength(2);
    expect(await pool.close()).toMatchObject({ abandoned: 0 });
    expect(lab.processes()).toEqual([]);
  });

  test('serves many leases at once, each with its own answers and its own input', async () => {
    const pool = newPool({ leasesPerSession: 8, capabilities: { elicitation: {} } });
    const names = Array.from({ length: 8 }, (_, n) => `n${n}`);
    const said = await Promise.all(
      names.map((name) =>
        pool.use(target(), async (client) => {
          client.setRequestHandler('elicitation/create', () => ({
            action: 'accept' as const,
            content: { name },
          }));
          const [asked, echoed] = await Promise.all([
            client.callTool({ name: 'ask' }),
            client.callTool(echo(name)),
          ]);
          return `${textOf(asked)} ${textOf(echoed)}`;
        }),
      ),
    );
    expect(said).toEqual(names.map((name) => `hello ${name} ${name}`));
    expect(lab.processes()).toHaveLength(1);
  });

  test('is told which call was given up: by its caller, by its lease, by the close', async () => {
    const pool = newPool();
    const first = await pool.acquire(target());
    const controller = new AbortController();
    const given = first.client.callTool({ name: 'hang' }, { signal: controller.signal });
    await until(() => read('tools/call', 'hang').length === 1);
    controller.abort(new Error('enough'));
    await expect(given).rejects.toThrow('enough');
    await until(() => read('notifications/cancelled').length === 1);
    const left = first.client.callTool({ name: 'hang' });
    await until(() => read('tools/call', 'hang').length === 2);
    first.release();
    await expect(left).rejects.toMatchObject({ code: 'LEASE_RELEASED' });
    const aborted = await pool.use(target(), (client) => client.callTool({ name: 'aborted' }));
    expect(textOf(aborted)).toBe('hang,hang');
    const last = await pool.acquire(target());
    const lost = last.client.callTool({ name: 'hang' });
    lost.catch(() => {});
    await until(() => read('tools/call', 'hang').length === 3);
    await pool.close({ drainTimeoutMs: 0 });
    await expect(lost).rejects.toThrow();
    const cancelled = read('notifications/cancelled').map(({ params }) => params?.requestId);
    expect(cancelled).toEqual(read('tools/call', 'hang').map(({ id }) => id));
  });

  test('tells each lease of its own subscription, on the one channel that there is', async () => {
    const pool = newPool({ leasesPerSession: 3 });
    const leases = [await pool.acquire(target()), await pool.acquire(target())];
    const heard = leases.map(() => vi.fn());
    for (const [n, { client }] of leases.entries()) {
      client.setNotificationHandler('notifications/tools/list_changed', heard[n] ?? vi.fn());
    }
    const [first, second] = leases;
    await first?.client.listen({ toolsListChanged: true });
    const listening = await second?.client.listen({ toolsListChanged: true });
    await first?.client.callTool({ name: 'change' });
    await until(() => heard.every(({ mock }) => mock.calls.length === 1));
    await listening?.close();
    await first?.client.callTool({ name: 'change' });
    await until(() => heard[0]?.mock.calls.length === 2);
    await pause(30);
    expect(heard[1]).toHaveBeenCalledOnce();
    expect(read('notifications/cancelled')).toHaveLength(1);
    expect(lab.processes()).toHaveLength(1);
  });

  test.each([
    ['end', 'graceful'],
    ['take-back', 'remote'],
  ])('that ends a subscription (%s) is believed by its lease', async (name, how) => {
    const pool = newPool();
    const lease = await pool.acquire(target());
    const { closed } = await lease.client.listen({ toolsListChanged: true });
    const called = lease.client.callTool({ name });
    called.catch(() => {});
    expect(await closed).toBe(how);
  });

  test('that dies takes its calls with it, and the next lease gets another', async () => {
    const pool = newPool();
    const dying = pool.use(target(), (client) => client.callTool({ name: 'exit' }));
    await expect(dying).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    const said = await pool.use(target(), (client) => client.callTool(echo('again')));
    expect(textOf(said)).toBe('again');
    expect(lab.processes()).toHaveLength(1);
  });

  test('is the only kind that a pin takes', async () => {
    const pinned = { versionNegotiation: { mode: { pin: '2026-07-28' } } };
    const pool = newPool({ connector: v2Connector(pinned) });
    const era = await pool.use(target('modern-only'), (client) => client.getProtocolEra());
    expect(era).toBe('modern');
    expect(read('initialize')).toHaveLength(0);
  });
});
