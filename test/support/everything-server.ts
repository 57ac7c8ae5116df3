// `@modelcontextprotocol/server-everything` over HTTP, as a child process. It would listen on all
// interfaces; a module loaded before it makes that 127.0.0.1.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const SERVER = fileURLToPath(
  new URL(
    '../../node_modules/@modelcontextprotocol/server-everything/dist/index.js',
    import.meta.url,
  ),
);

/** Also tells us the port, and ends the child with its parent. */
const LOOPBACK = `
  import { Server } from 'node:net';
  const { listen } = Server.prototype;
  Server.prototype.listen = function (port, ...rest) {
    this.once('listening', () => process.send(this.address().port));
    return listen.call(this, { port: Number(port), host: '127.0.0.1' }, ...rest);
  };
  process.on('disconnect', () => process.exit());
`;

export interface EverythingServer {
  readonly url: string;
  readonly port: number;
  /** Kills the child, as a crash would. Idempotent. */
  close(): Promise<void>;
}

/** Starts it on `port`; 0: any. */
export async function startEverythingServer(
  port = 0,
  transport: 'streamableHttp' | 'sse' = 'streamableHttp',
): Promise<EverythingServer> {
  const preload = `data:text/javascript,${encodeURIComponent(LOOPBACK)}`;
  const child = fork(SERVER, [transport], {
    execArgv: ['--import', preload],
    env: { ...process.env, PORT: String(port) },
    // It logs every request.
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const gone = once(child, 'exit');
  const early = gone.then(() => Promise.reject(new Error('server-everything did not start')));
  const [actual] = (await Promise.race([once(child, 'message'), early])) as [number];
  early.catch(() => {});
  return {
    url: `http://127.0.0.1:${actual}/${transport === 'sse' ? 'sse' : 'mcp'}`,
    port: actual,
    close: async () => {
      child.kill('SIGKILL');
      await gone;
    },
  };
}
