// A group of real processes, as the operating system sees it.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, test, vi } from 'vitest';
import { ProcessGroup } from '../../src/stdio/process-group.ts';

const started: ChildProcess[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});

/** Runs `script` at the head of a group, and waits until it says that it is up. */
async function startGroup(script: string): Promise<{ child: ChildProcess; group: ProcessGroup }> {
  const child = spawn(process.execPath, ['-e', `${script}; console.log('up')`], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  started.push(child);
  await once(child.stdout!, 'data');
  return { child, group: new ProcessGroup(child, child.pid!) };
}

const WAIT = 'setTimeout(() => {}, 60_000)';

test('a group lives until its last process has ended, and is left alone from then on', async () => {
  const { child, group } = await startGroup(WAIT);
  expect([group.look(), group.hasExited]).toEqual([false, false]);
  group.kill();
  expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
  expect([group.look(), group.hasExited]).toEqual([true, true]);
  const signal = vi.spyOn(process, 'kill');
  group.terminate();
  group.kill();
  expect([group.look(), signal.mock.calls]).toEqual([true, []]);
});

test('one that is stopped is asked to end too', async () => {
  const { child, group } = await startGroup(WAIT);
  process.kill(child.pid!, 'SIGSTOP');
  group.terminate();
  expect(await once(child, 'exit')).toEqual([null, 'SIGTERM']);
});

test('what a process started is of its group, and outlives it there', async () => {
  const grandchild = `spawn(process.execPath, ['-e', '${WAIT}'], { stdio: 'ignore' }).unref()`;
  const { child, group } = await startGroup(`require('node:child_process').${grandchild}`);
  await once(child, 'exit');
  expect([group.hasExited, group.look(), group.look(true)]).toEqual([true, false, false]);
  group.kill();
  await vi.waitUntil(() => group.look(), { timeout: 5_000 });
});
