// The group of processes that a server and what it started make up: signals it, and asks the
// operating system whether it is empty. On Windows, where there are no groups, the tree below the
// process. Knows no pipes and no time.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { hasLiveMember } from './group-members.ts';

/** See the file header. */
export class ProcessGroup {
  readonly #child: ChildProcess;
  readonly #pid: number;
  /**
   * Set once. From then on nothing is signalled any more: the system may have given the number to
   * somebody else.
   */
  #isEmpty = false;

  constructor(child: ChildProcess, pid: number) {
    this.#child = child;
    this.#pid = pid;
  }

  /** The process itself has ended. What it started may live on. */
  get hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /**
   * Asks the operating system whether any process of the group is left; returns whether there is
   * none. `thoroughly`: does not count those that have ended and wait for their parent to notice,
   * which is for ever where the first process of a container does not care.
   */
  look(thoroughly = false): boolean {
    if (!this.#isEmpty && this.hasExited) {
      this.#isEmpty =
        process.platform === 'win32' ||
        !this.#send(0) ||
        (thoroughly && hasLiveMember(this.#pid) === false);
    }
    return this.#isEmpty;
  }

  /** Asks every process of the group to end, also those that are stopped. */
  terminate(): void {
    if (process.platform === 'win32') return this.#killTree(false);
    this.#send('SIGTERM');
    this.#send('SIGCONT');
  }

  /** Ends every process of the group. `atExit`: there is no later for our own process. */
  kill(atExit = false): void {
    if (process.platform === 'win32') return this.#killTree(atExit);
    this.#send('SIGKILL');
  }

  /** Signals the group; 0 only asks. False: nobody is left. */
  #send(signal: NodeJS.Signals | 0): boolean {
    if (this.#isEmpty) return false;
    try {
      return process.kill(-this.#pid, signal);
    } catch (error) {
      // Whoever may not be signalled (EPERM) is there.
      return (error as NodeJS.ErrnoException).code !== 'ESRCH';
    }
  }

  #killTree(atExit: boolean): void {
    if (this.hasExited) return;
    const args = ['/pid', String(this.#pid), '/T', '/F'];
    if (atExit) spawnSync('taskkill', args, { windowsHide: true });
    else spawn('taskkill', args, { windowsHide: true, stdio: 'ignore' }).on('error', () => {});
  }
}
