// The demo server as a child process: where it listens, what it has seen, and its end.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ServerMessage, ServerReport } from '../demo-server.ts';

/** How long the child may take for anything it is asked. */
const PATIENCE_MS = 10_000;

export interface DemoServer {
  /** A good server. */
  readonly url: string;
  /** The same server, but it never answers a DELETE. */
  readonly hostileUrl: string;
  report(): Promise<ServerReport>;
  /** Ends the child and waits until it is gone. */
  stop(): Promise<void>;
}

export async function startDemoServer(): Promise<DemoServer> {
  const child = fork(fileURLToPath(new URL('../demo-server.js', import.meta.url)));
  const first = await next(child);
  if (!('port' in first)) throw new Error('Expected the demo server to tell its port first');
  const origin = `http://127.0.0.1:${first.port}`;
  return {
    url: `${origin}/mcp`,
    hostileUrl: `${origin}/hostile/mcp`,
    report: async () => {
      const answer = next(child);
      child.send('report');
      const message = await answer;
      if (!('report' in message)) throw new Error('Expected the demo server to send a report');
      return message.report;
    },
    stop: async () => {
      const gone = once(child, 'exit');
      child.disconnect();
      await gone;
    },
  };
}

async function next(child: ChildProcess): Promise<ServerMessage> {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  const { signal } = patience;
  try {
    const ended = once(child, 'exit', { signal }).then(() => {
      throw new Error('The demo server ended before it answered');
    });
    const [message] = await Promise.race([once(child, 'message', { signal }), ended]);
    return message as ServerMessage;
  } finally {
    clearTimeout(timer);
    patience.abort();
  }
}
