// Servers as real processes for one test file: each test's are marked through their environment,
// which all that they start inherits, so that what is left can be asked of the operating system.

import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { afterEach } from 'vitest';
import type { StdioTarget } from '../../src/target.ts';

/** Of `test/children`. `stdio-server-2`: SDK 2's own. */
export type StdioLabServer = 'stdio-server' | 'stdio-server-2';

const scriptOf = (server: StdioLabServer): string =>
  fileURLToPath(new URL(`../.build/test/children/${server}.js`, import.meta.url));
const MARK = 'STDIO_LAB_MARK';

/** A live process: no zombie. */
export interface LiveProcess {
  readonly pid: number;
  readonly group: number;
}

export interface StdioLab {
  /** The server with these habits, marked. */
  target(...habits: readonly string[]): StdioTarget;
  /** Any other command, marked. */
  mark(target: StdioTarget): StdioTarget;
  /** What the servers of this test read, line by line. */
  readLines(): readonly string[];
  /** Processes that servers of this test are, or have started, wherever they went. */
  processes(): readonly LiveProcess[];
  /** The mark of this test, for processes that are started otherwise. */
  environment(): Record<string, string>;
}

/** Called once per test file, at its top. */
export function useStdioLab(server: StdioLabServer = 'stdio-server'): StdioLab {
  const script = scriptOf(server);
  let mark: string = randomUUID();
  const journal = (): string => `${tmpdir()}/stdio-lab-${mark}`;
  const processes = (): readonly LiveProcess[] => processesWith(`${MARK}=${mark}`);
  afterEach(() => {
    for (const { pid } of processes()) tryTo(() => process.kill(pid, 'SIGKILL'));
    rmSync(journal(), { force: true });
    mark = randomUUID();
  });
  return {
    target: (...habits) => {
      if (!existsSync(script)) throw new Error('Run `npm run build:children` first');
      const args = [script, journal(), ...habits];
      return { command: process.execPath, args, env: { [MARK]: mark } };
    },
    mark: (target) => ({ ...target, env: { ...target.env, [MARK]: mark } }),
    readLines: () =>
      existsSync(journal()) ? readFileSync(journal(), 'utf8').trimEnd().split('\n') : [],
    processes,
    environment: () => ({ [MARK]: mark }),
  };
}

/** Linux's own list. A process that has ended and waits for its parent has no environment. */
function processesWith(entry: string): LiveProcess[] {
  const found: LiveProcess[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    tryTo(() => {
      if (!readFileSync(`/proc/${name}/environ`, 'latin1').split('\0').includes(entry)) return;
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const [, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ', 3);
      found.push({ pid: Number(name), group: Number(group) });
    });
  }
  return found;
}

/** It may have gone meanwhile, or be another user's. */
function tryTo(act: () => void): void {
  try {
    act();
  } catch {
    // As above.
  }
}
