// The example gateway as it is run: a process of its own, with a configuration file. What it holds
// and what it costs is asked of itself (a module that is loaded before it) and of the system.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { type GatewayFixtureOptions, gatewayConfig } from './gateway-fixture.ts';

const MAIN = fileURLToPath(new URL('../.build/examples/gateway/main.js', import.meta.url));

const RESOLUTION_MS = 10;

/** Answers each message with facts, and does not keep the process alive. */
const PRELOAD = `
  import { monitorEventLoopDelay } from 'node:perf_hooks';
  const delay = monitorEventLoopDelay({ resolution: ${RESOLUTION_MS} });
  process.on('message', (message) => {
    if (message === 'watch') delay.enable();
    else delay.disable();
    const { user, system } = process.cpuUsage();
    const { voluntaryContextSwitches } = process.resourceUsage();
    const handles = process.getActiveResourcesInfo();
    const { mean, count } = delay;
    const cpuMs = (user + system) / 1000;
    process.send({ cpuMs, switches: voluntaryContextSwitches, handles, delay: { mean, count } });
  });
  process.channel.unref();
`;

/** What a gateway process holds, and what it has cost since it started. */
export interface ProcessFacts {
  readonly cpuMs: number;
  readonly switches: number;
  readonly handles: readonly string[];
  /** Of its event loop, while that is watched. Times in nanoseconds. */
  readonly delay: Delay;
}

interface Delay {
  readonly mean: number;
  readonly count: number;
}

/** A gateway process. */
export interface GatewayProcess {
  readonly origin: string;
  readonly child: ChildProcess;
  /** All that it has written to stdout. */
  readonly output: () => string;
  facts(): Promise<ProcessFacts>;
  /**
   * Watches both event loops, its own and ours. The function that it gives tells by how much they
   * were late since, all in all: held up, or kept from the processor by others.
   */
  watchLag(): Promise<() => Promise<number>>;
  /** Sockets that the system knows of, its own channel to us included; `undefined` off Linux. */
  sockets(): number | undefined;
  /** Its exit code; `null` if a signal killed it. */
  readonly ended: Promise<number | null>;
  /** Kills it, if it still runs. */
  close(): Promise<void>;
}

/** Starts one. Without options: the demo. */
export async function startGatewayProcess(
  options?: GatewayFixtureOptions,
): Promise<GatewayProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'gateway-'));
  const path = join(folder, 'config.json');
  if (options) writeFileSync(path, JSON.stringify(gatewayConfig(options)));
  const child = fork(MAIN, options ? [path] : [], {
    silent: true,
    execArgv: ['--import', `data:text/javascript,${encodeURIComponent(PRELOAD)}`],
    env: { ...process.env, PORT: '0', LOG_LEVEL: 'error' },
  });
  let output = '';
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  const origin = await new Promise<string>((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      const found = /listens on (http:\S+)/.exec(output)?.[1];
      if (found !== undefined) resolve(found);
    });
    void ended.then(() => reject(new Error(`The gateway did not start: ${errors}`)));
  });
  return {
    origin,
    child,
    output: () => output,
    ended,
    facts: () => ask(child, 'facts'),
    watchLag: async () => {
      const ours = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
      ours.enable();
      await ask(child, 'watch');
      return async () => {
        ours.disable();
        const { delay } = await ask(child, 'facts');
        return latenessOf(ours) + latenessOf(delay);
      };
    },
    sockets: () => countSockets(child.pid),
    close: async () => {
      if (child.exitCode === null) child.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function ask(child: ChildProcess, what: 'facts' | 'watch'): Promise<ProcessFacts> {
  const answer = once(child, 'message');
  child.send(what);
  return ((await answer) as [ProcessFacts])[0];
}

/** In milliseconds. What is measured is the time between two ticks. */
const latenessOf = ({ mean, count }: Delay): number =>
  count === 0 ? 0 : Math.max(0, mean / 1e6 - RESOLUTION_MS) * count;

function countSockets(pid: number | undefined): number | undefined {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).filter((fd) => isSocket(`${folder}/${fd}`)).length;
  } catch {
    return undefined;
  }
}

function isSocket(path: string): boolean {
  try {
    return readlinkSync(path).startsWith('socket:');
  } catch {
    // Closed since it was listed.
    return false;
  }
}
