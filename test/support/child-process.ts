// Runs a compiled child of `test/children` until it exits by itself, and says how it ended.

import { type ChildProcess, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** How long a child may live before it is killed. Only its start takes seconds on a busy machine. */
const LIMIT_MS = 20_000;

/** How a child ended. */
export interface ChildEnd {
  /** `null`: it had to be killed. */
  readonly code: number | null;
  readonly stderr: string;
  /** What it said at its exit: its facts, and the handles that were left. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** A running child. */
export interface RunningChild {
  readonly child: ChildProcess;
  readonly ended: Promise<ChildEnd>;
}

/** Starts `test/children/<name>.ts`, as compiled, with these arguments. */
export function startChild(name: string, ...args: readonly string[]): RunningChild {
  const script = fileURLToPath(new URL(`../.build/test/children/${name}.js`, import.meta.url));
  if (!existsSync(script)) throw new Error('Run `npm run build && npm run build:children` first');
  // `silent`: its output is ours. `execArgv`: not the flags of the test runner.
  const child = fork(script, args, { silent: true, execArgv: [] });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const limit = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  const ended = new Promise<ChildEnd>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(limit);
      resolve({ code, stderr, facts: stdout === '' ? {} : JSON.parse(stdout) });
    });
  });
  return { child, ended };
}

/** Starts a child and waits for its end. */
export function runChild(name: string, ...args: readonly string[]): Promise<ChildEnd> {
  return startChild(name, ...args).ended;
}
