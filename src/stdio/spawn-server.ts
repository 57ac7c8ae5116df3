// Starts a server's process at the head of a group of its own, so that it can be ended with all
// that it started. Knows no messages.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import spawn from 'cross-spawn';
import { childEnvironment } from './child-environment.ts';
import { StdioError } from './stdio-error.ts';

/** How to start a server. */
export interface ServerCommand {
  readonly command: string;
  readonly args?: readonly string[] | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
}

/** A process that was started, with its pipes. */
export interface ServerProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
}

/** Rejects with a `StdioError` (`SPAWN_FAILED`) when the operating system does. */
export async function spawnServer(server: ServerCommand): Promise<ServerProcess> {
  const { command, args = [], env, cwd } = server;
  let child: ChildProcess;
  try {
    // No shell: arguments are arguments, whatever is in them. On Windows, cross-spawn finds what
    // is behind `npx` and quotes for it.
    child = spawn(command, [...args], {
      cwd,
      env: childEnvironment(env),
      stdio: ['pipe', 'pipe', 'pipe'],
      // A session and a group of its own, and no terminal: Ctrl+C in ours is for us to hand on.
      detached: process.platform !== 'win32',
      windowsHide: true,
      shell: false,
    });
  } catch (error) {
    throw spawnFailed(error, cwd);
  }
  const { pid, stdin, stdout, stderr } = child;
  if (pid === undefined) {
    const [error] = await once(child, 'error');
    throw spawnFailed(error, cwd);
  }
  // Errors of a pipe without a listener would end our own process.
  for (const each of [child, stdin, stdout, stderr]) each?.on('error', () => {});
  if (stdin === null || stdout === null || stderr === null) {
    throw spawnFailed(new Error('It has no pipes'), cwd);
  }
  return { child, pid, stdin, stdout, stderr };
}

function spawnFailed(error: unknown, cwd: string | undefined): StdioError {
  // The system's error says "no such file" and names the command, whichever is missing.
  const isAstray = cwd !== undefined && !existsSync(cwd);
  const why = isAstray ? ': its `cwd` does not exist' : '';
  return new StdioError('SPAWN_FAILED', `The server process could not be started${why}`, {
    execution: 'not-executed',
    sessionLost: true,
    cause: withoutSecrets(error),
  });
}

/** Node quotes what it was given: arguments and environment, which may hold a credential. */
function withoutSecrets(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (syscall !== undefined) {
    // The system's word names the command alone; the rest is beside it.
    Reflect.deleteProperty(error, 'spawnargs');
    return error;
  }
  // Node did not even ask the system: the message quotes the argument or the variable.
  return Object.assign(new TypeError('No process can be given what the target says'), { code });
}
