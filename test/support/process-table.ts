// Asks the operating system which processes there are, not those who started them.

import { execFileSync } from 'node:child_process';

/** Pids of all living descendants of this process. */
export function childProcesses(): number[] {
  const table = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat=,comm=']).toString();
  const rows = table.split('\n').map((line) => line.trim().split(/\s+/));
  const found = new Set([process.pid]);
  const pids: number[] = [];
  // Bound: each round finds at least one more process, or is the last.
  for (let size = 0; size !== found.size; ) {
    size = found.size;
    for (const [pid, parent, state = '', command] of rows) {
      if (!found.has(Number(parent)) || found.has(Number(pid))) continue;
      // A zombie is dead; `ps` is our own question.
      if (state.startsWith('Z') || command === 'ps') continue;
      found.add(Number(pid));
      pids.push(Number(pid));
    }
  }
  return pids;
}

/** Whether there is such a process. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
