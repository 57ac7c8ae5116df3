// The example gateway as a process: it drains on SIGTERM and ends by itself, and 200 clients that
// vanish in mid-call leave nothing behind, in it or upstream, and cost nothing afterwards.

import { spawnSync } from 'node:child_process';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { ElicitRequestSchema, ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import {
  connect,
  type Downstream,
  type DownstreamOptions,
  isEmpty,
  startUpstream,
  untilHealth,
} from '../support/gateway-fixture.ts';
import { type GatewayProcess, startGatewayProcess } from '../support/gateway-process.ts';
import { textOf } from '../support/http-sessions.ts';
import type { TestMcpServer } from '../support/mcp-server.ts';
import { pause, until } from '../support/raw-server.ts';
import { startTcpFront } from '../support/tcp-front.ts';

const SESSIONS = 200;
const USERS = Array.from({ length: 10 }, (_, n) => `user${n}`);
/** The pool's own: the gateway does not change it. */
const CLOSE_TIMEOUT_MS = 5_000;
const MARGIN_MS = 250;
/** A process is watched for so long after the storm. */
const WATCH_MS = 4_000;
/** For two processes that play against 200 clients, on a machine that may be busy. */
const STORM_LIMIT_MS = 180_000;
/** Children take their time to start. */
vi.setConfig({ testTimeout: 40_000 });

const closing = closeAfterEach();

interface World {
  readonly upstream: TestMcpServer;
  readonly gateway: GatewayProcess;
  join(user: string, options?: DownstreamOptions): Promise<Downstream>;
}

async function start(limits: Readonly<Record<string, number>> = {}): Promise<World> {
  const upstream = closing(await startUpstream(USERS));
  const servers = { main: { url: upstream.url } };
  const gateway = closing(await startGatewayProcess({ users: USERS, servers, limits }));
  return {
    upstream,
    gateway,
    join: async (user, options) => closing(await connect(gateway.origin, user, options)),
  };
}

describe('SIGTERM', () => {
  test('lets calls finish, refuses new ones, and the process ends by itself', async () => {
    const { upstream, gateway, join } = await start();
    let answer: (() => void) | undefined;
    const asked = await join('user0', {
      capabilities: { elicitation: {} },
      prepare: (client) => {
        client.setRequestHandler(ElicitRequestSchema, async () => {
          await new Promise<void>((resolve) => {
            answer = resolve;
          });
          return { action: 'accept', content: { name: 'late' } };
        });
      },
    });
    const other = await join('user1');
    const slow = other.client.callTool({ name: 'slow', arguments: { ms: 1_000 } });
    const elicit = asked.client.callTool({ name: 'elicit', arguments: { name: 'x' } });
    await until(() => upstream.count('tools/call') === 2 && answer !== undefined);
    gateway.child.kill('SIGTERM');
    await untilHealth(gateway.origin, ({ status }) => status === 'closing');
    await expect(connect(gateway.origin, 'user2')).rejects.toThrow('shutting down');
    await expect(other.client.callTool({ name: 'count' })).rejects.toMatchObject({
      code: 503,
      message: expect.stringContaining('shutting down'),
    });
    // A question that was asked in a call may still be answered.
    answer?.();
    expect(textOf(await elicit)).toBe('late');
    expect(textOf(await slow)).toBe('after 1000');
    expect(await gateway.ended).toBe(0);
    expect(upstream.sessions.size).toBe(0);
    expect(upstream.count('DELETE')).toBe(2);
    expect(upstream.aborted).toEqual([]);
  });

  test('a second one does not wait for calls that go on', async () => {
    const { upstream, gateway, join } = await start({ drainTimeoutMs: 60_000 });
    const { client } = await join('user0');
    const call = client.callTool({ name: 'hang' });
    const failed = expect(call).rejects.toMatchObject({
      data: { code: 'SESSION_LOST', execution: 'unknown' },
    });
    await until(() => upstream.count('tools/call') === 1);
    gateway.child.kill('SIGTERM');
    await untilHealth(gateway.origin, ({ status }) => status === 'closing');
    await pause(200);
    expect(gateway.child.exitCode).toBeNull();
    gateway.child.kill('SIGTERM');
    await failed;
    expect(await gateway.ended).toBe(0);
    expect(upstream.aborted).toHaveLength(1);
    expect(upstream.sessions.size).toBe(0);
  });

  test('ends an idle process with open streams, and clients hear that they are closed', async () => {
    const { upstream, gateway, join } = await start();
    await join('user0');
    await until(() => upstream.count('GET') === 1);
    gateway.child.kill('SIGTERM');
    expect(await gateway.ended).toBe(0);
    expect(upstream.sessions.size).toBe(0);
  });
});

test('the demo runs with no configuration, and ends with its upstream servers', async () => {
  const gateway = closing(await startGatewayProcess());
  const { client } = closing({
    client: new Client({ name: 'demo', version: '1.0.0' }),
    async close() {
      await this.client.close();
    },
  });
  await until(() => gateway.output().includes('/healthz'));
  const [, url, token] = /(http\S+\/notes\/mcp) +Authorization: Bearer (\S+)/.exec(
    gateway.output(),
  )!;
  const headers = { authorization: `Bearer ${token}` };
  const transport = new StreamableHTTPClientTransport(new URL(url!), { requestInit: { headers } });
  await client.connect(transport as Transport);
  expect(textOf(await client.callTool({ name: 'whoami' }))).toBe('ada');
  const note = { name: 'add-note', arguments: { text: 'remember' } };
  expect(textOf(await client.callTool(note))).toBe('1 notes in this session');
  const { contents } = await client.readResource({ uri: 'note://1' });
  expect(contents).toMatchObject([{ text: 'remember' }]);
  // A server that is a process of its own for each session, over stdio.
  const other = new Client({ name: 'demo', version: '1.0.0' }, { capabilities: { roots: {} } });
  other.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: 'file:///mine' }] }));
  const everything = new URL(url!.replace('/notes/', '/everything/'));
  const stdio = new StreamableHTTPClientTransport(everything, { requestInit: { headers } });
  await other.connect(stdio as Transport);
  const echo = { name: 'echo', arguments: { message: 'hello' } };
  expect(textOf(await other.callTool(echo))).toBe('Echo: hello');
  expect(processesOf(gateway.child.pid)).toBe(3);
  await stdio.terminateSession();
  await other.close();
  await vi.waitFor(() => expect(processesOf(gateway.child.pid)).toBe(2), 10_000);
  gateway.child.kill('SIGTERM');
  // It waits for its children: none of them outlives it.
  expect(await gateway.ended).toBe(0);
});

test('the demo ends when its terminal is closed', async () => {
  const gateway = closing(await startGatewayProcess());
  // It has answered: so it listens to signals as well.
  await untilHealth(gateway.origin, isEmpty);
  gateway.child.kill('SIGHUP');
  expect(await gateway.ended).toBe(0);
});

describe('200 clients that vanish in mid-call', () => {
  test(
    'leave upstream sessions closed in time, no handle, an idle CPU, and a gateway that goes on',
    async () => {
      const { upstream, gateway } = await start();
      // What a gateway costs that nothing ever happens to.
      const calm = await start();
      const before = { handles: await handlesOf(gateway), sockets: gateway.sockets() };

      const front = closing(await startTcpFront(Number(new URL(gateway.origin).port)));
      const clients = await many((n) => connect(`http://localhost:${front.port}`, USERS[n % 10]!));
      const ended = clients.map(({ client }) => client.callTool({ name: 'hang' }));
      const failed = Promise.allSettled(ended);
      await until(() => isHanging(upstream), STORM_LIMIT_MS);
      await untilHealth(gateway.origin, (now) => now.upstreamSessions['leased'] === SESSIONS);

      const stopWatching = await gateway.watchLag();
      const cutAt = performance.now();
      await front.close();
      await untilHealth(gateway.origin, (now) => now.upstreamSessions['leased'] === 0);
      const idleAfterMs = performance.now() - cutAt;
      await untilHealth(gateway.origin, isEmpty);
      const goneAfterMs = performance.now() - cutAt;
      const bound = CLOSE_TIMEOUT_MS + MARGIN_MS + (await stopWatching());
      expect(idleAfterMs).toBeLessThan(bound);
      expect(goneAfterMs).toBeLessThan(bound);
      await until(() => upstream.aborted.length === SESSIONS && upstream.sessions.size === 0);
      await Promise.all(clients.map(({ client }) => client.close()));
      expect((await failed).filter(({ status }) => status === 'rejected')).toHaveLength(SESSIONS);

      await until(() => gateway.sockets() === before.sockets);
      expect(await handlesOf(gateway)).toEqual(before.handles);
      await isAsCalmAs(gateway, calm.gateway);

      await many((n) => visit(gateway.origin, n));
      await untilHealth(gateway.origin, isEmpty);
      gateway.child.kill('SIGTERM');
      expect(await gateway.ended).toBe(0);
    },
    STORM_LIMIT_MS,
  );
});

/** Children of a process, as the system counts them. */
const processesOf = (pid: number | undefined): number =>
  spawnSync('ps', ['-o', 'pid=', '--ppid', String(pid)])
    .stdout.toString()
    .trim()
    .split('\n').length;

/** So many at once, in portions that one machine can play both sides of. */
async function many<T>(make: (n: number) => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  while (made.length < SESSIONS) {
    const from = made.length;
    made.push(...(await Promise.all(Array.from({ length: 25 }, (_, n) => make(from + n)))));
  }
  return made;
}

/** One session, from its begin to its end. */
async function visit(origin: string, n: number): Promise<void> {
  const { client, transport } = await connect(origin, USERS[n % 10]!);
  expect(textOf(await client.callTool({ name: 'count' }))).toBe('1');
  await transport.terminateSession();
  await client.close();
}

const isHanging = (upstream: TestMcpServer): boolean =>
  upstream.seen.filter(({ params }) => params?.['name'] === 'hang').length === SESSIONS;

/** But for what we watch it with. */
const handlesOf = async (gateway: GatewayProcess): Promise<string[]> =>
  (await gateway.facts()).handles.filter((kind) => kind !== 'IntervalHistogram').toSorted();

/**
 * Watched up to three times: collecting the garbage of a storm costs once, a loop costs for ever.
 * One in a hundred of a core and five wake-ups a second are less than any loop takes.
 */
async function isAsCalmAs(gateway: GatewayProcess, calm: GatewayProcess): Promise<void> {
  for (let round = 1; ; round += 1) {
    const [cost, idle] = await Promise.all([costOf(gateway), costOf(calm)]);
    const isCalm =
      cost.cpuMs < idle.cpuMs + WATCH_MS / 100 &&
      cost.switches < idle.switches + (WATCH_MS / 1_000) * 5;
    if (isCalm) return;
    if (round === 3) throw new Error(`Not at rest: ${JSON.stringify({ cost, idle })}`);
  }
}

async function costOf(gateway: GatewayProcess): Promise<{ cpuMs: number; switches: number }> {
  const first = await gateway.facts();
  await pause(WATCH_MS);
  const last = await gateway.facts();
  return { cpuMs: last.cpuMs - first.cpuMs, switches: last.switches - first.switches };
}
