// What the kit offers to look at a pool with: its events, and what it left in the process.

import { spawn } from 'node:child_process';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { SessionPool } from 'mcp-session-pool';
import { gatedConnector, leftovers, ManualClock, recordEvents } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { TARGET, watch } from '../support/pool-fixture.ts';

describe('a recorder of events', () => {
  test('keeps them in order, gives them by type, and lets a test wait for one', async () => {
    const clock = new ManualClock();
    const recorder = recordEvents();
    const { onEvent, of, first } = recorder;
    const { connect } = gatedConnector({ clock });
    const pool = new SessionPool({ connector: connect, onEvent }, { clock });
    const closed = watch(first('pool-closed'));
    await clock.waitFor(pool.use(TARGET, () => 'done'));
    await clock.settle();
    expect(closed.state).toBe('pending');
    await clock.waitFor(pool.close());
    await clock.settle();
    expect(closed.got).toMatchObject({ type: 'pool-closed', sessions: 1, abandoned: 0 });
    expect(recorder.events.map(({ type }) => type)).toEqual([
      ...['session-opened', 'lease-granted', 'lease-ended', 'pool-closing'],
      ...['session-retired', 'session-closed', 'pool-closed'],
    ]);
    expect(of('lease-ended')).toMatchObject([{ reason: 'released' }]);
    expect(of('session-abandoned')).toEqual([]);
    // Also when it came before.
    expect((await first('session-closed')).outcome.result).toBe('closed');
  });

  test('wakes everybody who waits for a type, once, with the first of it', async () => {
    const { onEvent, first } = recordEvents();
    const waiting = [first('pool-closing'), first('pool-closing')];
    onEvent({ type: 'pool-closing', sessions: 1, drainTimeoutMs: 0 });
    onEvent({ type: 'pool-closing', sessions: 2, drainTimeoutMs: 0 });
    waiting.push(first('pool-closing'));
    expect((await Promise.all(waiting)).map(({ sessions }) => sessions)).toEqual([1, 1, 1]);
  });
});

describe('leftovers', () => {
  test('name what was left, and who started it; what went by itself is none', async () => {
    const timers: NodeJS.Timeout[] = [];
    const servers: Server[] = [];
    const leaveSomething = async (): Promise<void> => {
      setTimeout(() => undefined, 30);
      clearTimeout(setTimeout(() => undefined, 60_000));
      setTimeout(() => undefined, 60_000).unref();
      await new Promise((resolve) => setImmediate(resolve));
      timers.push(setTimeout(() => undefined, 60_000));
      servers.push(createServer().listen(0, '127.0.0.1'));
      await new Promise((resolve) => servers[0]?.once('listening', resolve));
    };
    const left = await leftovers(leaveSomething, { graceMs: 500 });
    expect(left.map(({ kind }) => kind).toSorted()).toEqual(['server', 'timer']);
    expect(left.find(({ kind }) => kind === 'timer')?.startedAt).toContain('leaveSomething');
    clearTimeout(timers[0]);
    await new Promise((resolve) => servers[0]?.close(resolve));
  });

  test('are of sockets on both ends, and of child processes with their pipes', async () => {
    const closers: (() => void)[] = [];
    const left = await leftovers(
      async () => {
        const server = createServer((socket) => void closers.push(() => socket.destroy()));
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
        const { port } = server.address() as AddressInfo;
        const socket = connect(port, '127.0.0.1');
        await new Promise((resolve) => server.once('connection', resolve));
        const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
        closers.push(
          () => server.close(),
          () => socket.destroy(),
          () => void child.kill('SIGKILL'),
        );
        await new Promise((resolve) => child.once('spawn', resolve));
      },
      { graceMs: 0 },
    );
    const kinds = left.map(({ kind }) => kind);
    expect(new Set(kinds)).toEqual(new Set(['server', 'socket', 'process', 'pipe']));
    expect(kinds.filter((kind) => kind === 'socket')).toHaveLength(2);
    for (const close of closers) close();
  });

  test('are not of what goes on beside, nor of what began before', async () => {
    const before = setTimeout(() => undefined, 60_000);
    const looking = leftovers(() => new Promise((resolve) => setTimeout(resolve, 60)));
    const beside = setTimeout(() => undefined, 60_000);
    expect(await looking).toEqual([]);
    clearTimeout(before);
    clearTimeout(beside);
  });

  test('are waited for while they go by themselves', async () => {
    const startedAt = performance.now();
    expect(await leftovers(() => void setTimeout(() => undefined, 100))).toEqual([]);
    expect(performance.now() - startedAt).toBeGreaterThan(90);
  });

  test('are not told of a run that fails: it rejects with its reason', async () => {
    const reason = new Error('no');
    await expect(leftovers(() => Promise.reject(reason))).rejects.toBe(reason);
    await expect(
      leftovers(() => {
        throw reason;
      }),
    ).rejects.toBe(reason);
  });
});
