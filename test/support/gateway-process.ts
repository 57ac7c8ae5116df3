// The example gateway as it is run: a process of its own, with a configuration file. What it holds
// and what it costs is asked of itself (a module that is loaded before it) and of the system.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type GatewayFixtureOptions, gatewayConfig } from './gateway-fixture.ts';

const MAIN = fileURLToPath(new URL('../.build/examples/gateway/main.js', import.meta.url));

/** Answers each message with facts, and does not keep the process alive. */
const PRELOAD = `
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    const { voluntaryContextSwitches } = process.resourceUsage();
    const handles = process.getActiveResourcesInfo();
    process.send({ cpuMs: (user + system) / 1000, switches: voluntaryContextSwitches, handles });
  });
  process.channel.unref();
`;

/** What a gateway process holds, and what it has cost since it started. */
export interface ProcessFacts {
  readonly cpuMs: number;
  readonly switches: number;
  readonly handles: readonly string[];
}

/** A gateway process. */
export interface GatewayProcess {
  readonly origin: string;
  readonly child: ChildProcess;
  /** All that it has written to stdout. */
  readonly output: () => string;
  facts(): Promise<ProcessFacts>;
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
    facts: async () => {
      const answer = once(child, 'message');
      child.send('facts');
      return ((await answer) as [ProcessFacts])[0];
    },
    sockets: () => countSockets(child.pid),
    close: async () => {
      if (child.exitCode === null) child.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

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
