// Servers of the handshake era over stdio with clients of SDK 2: what they make of the question
// for their era, which they were not made for.

import type { Client } from '@modelcontextprotocol/client';
import { SessionPool, type SessionPoolOptions, v2Connector } from 'mcp-session-pool/v2';
import { describe, expect, test, vi } from 'vitest';
import { ServerMemory } from '../../src/v2/server-memory.ts';
import { closeAfterEach } from '../support/closing.ts';
import { textOf } from '../support/http-sessions.ts';
import { until } from '../support/raw-server.ts';
import { useStdioLab } from '../support/stdio-lab.ts';
import { stdioServer } from '../support/stdio-servers.ts';

const lab = useStdioLab();
const closing = closeAfterEach();
const newPool = (options: SessionPoolOptions<Client> = {}): SessionPool<Client> =>
  closing(new SessionPool({ connector: v2Connector(), ...options }));
const echo = (text: string) => ({ name: 'echo', arguments: { text } });
const target = (...habits: string[]) => ({ ...lab.target(...habits), identity: 'ada' });
const methodsRead = (): unknown[] =>
  lab.readLines().map((line) => (JSON.parse(line) as { method?: string }).method);
const HANDSHAKE = ['initialize', 'notifications/initialized'];

describe('a session with a process', () => {
  test('of server-everything is opened once, lent again and again, and ended', async () => {
    const pool = newPool({ capabilities: { sampling: {}, elicitation: {} } });
    const everything = lab.mark(stdioServer('everything', { args: ['stdio'] }).target);
    for (const message of ['one', 'two']) {
      const said = await pool.use(everything, async (client) => {
        expect(client.getProtocolEra()).toBe('legacy');
        return textOf(await client.callTool({ name: 'echo', arguments: { message } }));
      });
      expect(said).toBe(`Echo: ${message}`);
    }
    expect(lab.processes()).toHaveLength(1);
    expect(await pool.close()).toMatchObject({ sessions: 1, closed: 1, abandoned: 0 });
    expect(lab.processes()).toEqual([]);
  });

  test('that does not answer the question gets a handshake in time, and is asked once', async () => {
    const pool = newPool({ connectTimeoutMs: 6_000 });
    const said = await pool.use(target(), (client) => client.callTool(echo('one')));
    expect(textOf(said)).toBe('one');
    pool.retire();
    await pool.use(target(), (client) => client.callTool(echo('two')));
    const asked = ['server/discover', ...HANDSHAKE, 'notifications/cancelled', 'tools/call'];
    expect(methodsRead()).toEqual([...asked, ...HANDSHAKE, 'tools/call']);
    expect(pool.stats().totals.openFailed).toBe(0);
  });

  test('that ends at the question is opened anew without it, and is not asked again', async () => {
    const pool = newPool();
    const exits = target('exit-if-asked');
    await pool.use(exits, (client) => client.callTool(echo('one')));
    pool.retire();
    await pool.use(exits, (client) => client.callTool(echo('two')));
    const calls = [...HANDSHAKE, 'tools/call'];
    expect(methodsRead()).toEqual(['server/discover', ...calls, ...calls]);
    expect(pool.stats().totals).toMatchObject({ opened: 2, openFailed: 0 });
  });

  test('that ends whatever it is asked is started twice at most', async () => {
    const pool = newPool();
    const opening = pool.acquire(target('exit-if-asked', 'exit-in-initialize'));
    await expect(opening).rejects.toMatchObject({
      code: 'OPEN_FAILED',
      cause: { code: 'PROCESS_ENDED', cause: { message: expect.stringContaining('no config') } },
    });
    expect(methodsRead()).toEqual(['server/discover', 'initialize']);
  });

  test('is opened without a question where the era is given, and not at all by a pin', async () => {
    const legacy = v2Connector({ versionNegotiation: { mode: 'legacy' } });
    await newPool({ connector: legacy }).use(target(), (client) => client.callTool(echo('one')));
    expect(methodsRead()).toEqual([...HANDSHAKE, 'tools/call']);
    const pinned = v2Connector({ versionNegotiation: { mode: { pin: '2026-07-28' } } });
    const refused = newPool({ connector: pinned }).acquire(target('exit-if-asked'));
    await expect(refused).rejects.toMatchObject({ code: 'OPEN_FAILED' });
    expect(methodsRead()).toEqual([...HANDSHAKE, 'tools/call', 'server/discover']);
  });

  test('that dies takes its call with it, and the next lease gets another', async () => {
    const pool = newPool({ connectTimeoutMs: 4_000 });
    const dying = pool.use(target(), (client) => client.callTool({ name: 'kill-self' }));
    await expect(dying).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    const said = await pool.use(target(), (client) => client.callTool(echo('again')));
    expect(textOf(said)).toBe('again');
  });
});

test('an open that is given up as it waits for the last process holds nothing of its server', async () => {
  const memories = new Set<ServerMemory>();
  const { hold } = ServerMemory.prototype;
  vi.spyOn(ServerMemory.prototype, 'hold').mockImplementation(function (
    this: ServerMemory,
    ...args
  ) {
    memories.add(this);
    return hold.apply(this, args);
  });
  const pool = newPool({ connectTimeoutMs: 500, closeTimeoutMs: 5_000, breaker: false });
  const stubborn = target('hang-initialize', 'ignore-eof', 'ignore-sigterm');
  for (const _ of [1, 2]) {
    await expect(pool.acquire(stubborn)).rejects.toMatchObject({ code: 'OPEN_FAILED' });
  }
  expect(lab.processes()).toHaveLength(1);
  await pool.close();
  await until(() => lab.processes().length === 0);
  expect([...memories].map(({ size }) => size)).toEqual([0]);
});
