// `test/children/tool-server.ts` in a process of its own, to be killed and started again on the same
// port, with a journal of what it executed that outlives it. The next process is loaded while the
// present one still serves, so that an outage takes as long as the test wants, not a start.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('../.build/test/children/tool-server.js', import.meta.url));

/** A server that can be killed. */
export interface ToolServer {
  readonly url: string;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again, on the same port. */
  restart(): Promise<void>;
  /** How often each call was executed, by its id, over all lives of the server. */
  executions(): ReadonlyMap<string, number>;
  /** `initialize` requests answered. */
  initializes(): number;
  close(): Promise<void>;
}

export async function startToolServer(): Promise<ToolServer> {
  if (!existsSync(SCRIPT)) throw new Error('Run `npm run build && npm run build:children` first');
  const folder = mkdtempSync(join(tmpdir(), 'tool-server-'));
  const journal = join(folder, 'journal');
  writeFileSync(journal, '');
  const spawn = async (): Promise<ChildProcess> => {
    const child = fork(SCRIPT, [journal], { silent: true, execArgv: [] });
    await once(child, 'message');
    return child;
  };
  const listen = async (child: ChildProcess, port: number): Promise<number> => {
    const listening = once(child, 'message');
    child.send(port);
    const [actual] = (await listening) as [number];
    return actual;
  };
  const end = async (child: ChildProcess): Promise<void> => {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  let current = await spawn();
  const port = await listen(current, 0);
  let next = spawn();
  const lines = (): string[] => readFileSync(journal, 'utf8').split('\n');
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    kill: async () => {
      await next;
      await end(current);
    },
    restart: async () => {
      current = await next;
      next = spawn();
      await listen(current, port);
    },
    executions: () => {
      const counts = new Map<string, number>();
      for (const line of lines()) {
        const [what, id = ''] = line.split(' ');
        if (what === 'run') counts.set(id, (counts.get(id) ?? 0) + 1);
      }
      return counts;
    },
    initializes: () => lines().filter((line) => line.startsWith('initialize')).length,
    close: async () => {
      await Promise.all([end(current).catch(() => {}), next.then(end)]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
