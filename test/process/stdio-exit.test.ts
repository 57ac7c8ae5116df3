// Whole gateways with servers over stdio: however one ends, it leaves no process behind (promise
// P2); what is left is asked of the operating system.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { until as untilTrue } from '../support/raw-server.ts';
import { useStdioLab } from '../support/stdio-lab.ts';

/** To start a gateway and its servers takes a busy machine seconds. */
const until = (isTrue: () => boolean): Promise<void> => untilTrue(isTrue, 25_000);

const lab = useStdioLab();
const gateways: ChildProcess[] = [];
afterEach(() => {
  for (const gateway of gateways.splice(0)) gateway.kill('SIGKILL');
});

const compiled = (name: string): string =>
  fileURLToPath(new URL(`../.build/test/children/${name}.js`, import.meta.url));

interface Gateway {
  readonly process: ChildProcess;
  readonly messages: unknown[];
  /** Code or signal. */
  readonly ended: Promise<number | string>;
}

/** A gateway that is ready, with two servers, to end in this way. */
async function startGateway(way: string): Promise<Gateway> {
  const child = fork(compiled('stdio-gateway'), [way, compiled('stdio-server')], {
    env: { ...process.env, ...lab.environment() },
    execArgv: [],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  gateways.push(child);
  const messages: unknown[] = [];
  child.on('message', (message) => messages.push(message));
  const ended = once(child, 'exit').then(([code, signal]) => code ?? signal);
  await until(() => messages.includes('ready'));
  messages.length = 0;
  return { process: child, messages, ended };
}

const noneIsLeft = (): Promise<void> => until(() => lab.processes().length === 0);

describe('a gateway with the recipe for signals', { timeout: 60_000 }, () => {
  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'that gets %s ends by it, after its servers',
    async (signal) => {
      const gateway = await startGateway('recipe');
      expect(lab.processes()).toHaveLength(3);
      gateway.process.kill(signal);
      expect(await gateway.ended).toBe(signal);
      expect(lab.processes()).toEqual([]);
    },
  );

  test('ends at once, and its servers with it, when it is told twice', async () => {
    const gateway = await startGateway('impatient');
    gateway.process.kill('SIGTERM');
    // The well-behaved server is closed, the other has some seconds left.
    await until(() => lab.processes().length === 2);
    gateway.process.kill('SIGINT');
    expect(await gateway.ended).toBe(128 + 2);
    await noneIsLeft();
  });

  test('for two pools, taken off in between, ends when both are closed', async () => {
    const gateway = await startGateway('two-pools');
    expect(lab.processes()).toHaveLength(3);
    gateway.process.kill('SIGTERM');
    expect(await gateway.ended).toBe('SIGTERM');
    expect(lab.processes()).toEqual([]);
  });

  test('takes the servers of a pool with it that does not listen to that signal', async () => {
    const gateway = await startGateway('one-of-two-pools');
    expect(lab.processes()).toHaveLength(3);
    gateway.process.kill('SIGTERM');
    expect(await gateway.ended).toBe('SIGTERM');
    await noneIsLeft();
  });

  test('lets leases end first', async () => {
    const gateway = await startGateway('recipe-with-drain');
    gateway.process.kill('SIGTERM');
    expect(await gateway.ended).toBe('SIGTERM');
    expect(gateway.messages).toEqual(['pinged']);
    expect(lab.processes()).toEqual([]);
  });

  test('leaves the end to a host that listens too', async () => {
    const gateway = await startGateway('recipe-and-host');
    gateway.process.kill('SIGTERM');
    expect(await gateway.ended).toBe(0);
    expect(gateway.messages).toMatchObject(['host was told', { closed: 2, abandoned: 0 }]);
    expect(lab.processes()).toEqual([]);
  });
});

describe('a gateway without it', { timeout: 60_000 }, () => {
  test('leaves no server that ends with its input, when it is killed', async () => {
    const gateway = await startGateway('no-recipe');
    gateway.process.kill('SIGKILL');
    expect(await gateway.ended).toBe('SIGKILL');
    await noneIsLeft();
  });

  test('that took the recipe off ends by the signal at once', async () => {
    const gateway = await startGateway('recipe-taken-off');
    gateway.process.kill('SIGTERM');
    expect(await gateway.ended).toBe('SIGTERM');
  });

  test.each([
    ['exit', 3],
    ['throw', 1],
    ['end', 0],
    ['close', 0],
  ])('takes its servers with it: %s', async (way, code) => {
    const gateway = await startGateway(way);
    const apart = way === 'close' ? 1 : 0;
    await until(() => lab.processes().length === 3 + apart);
    gateway.process.send('go');
    expect(await gateway.ended).toBe(code);
    // Who left its server's group holds its pipes, and keeps nobody.
    await until(() => lab.processes().length === apart);
  });
});
