// What the gateway runs with when it is given no configuration: two upstream servers in processes
// of their own, a third that each session starts for itself, and two users with tokens that
// everybody knows.

import { type ChildProcess, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { checkConfig, type GatewayConfig } from './config.ts';

const EVERYTHING = createRequire(import.meta.url).resolve(
  '@modelcontextprotocol/server-everything/dist/index.js',
);
const USERS = ['ada', 'bob'];

export interface DemoWorld {
  readonly config: GatewayConfig;
  /** Downstream, by user. */
  readonly tokens: Readonly<Record<string, string>>;
  /** Ends the upstream servers and waits until they are gone. */
  stop(): Promise<void>;
}

export async function startDemoWorld(): Promise<DemoWorld> {
  const notes = await startUpstream('notes');
  const tools = await startUpstream('tools');
  const tokens = Object.fromEntries(USERS.map((id) => [id, `demo-token-of-${id}`]));
  const users = USERS.map((id) => ({
    id,
    tokenSha256: createHash('sha256').update(tokens[id]!).digest('hex'),
    credentials: {
      notes: credentialOf(id, 'notes'),
      tools: credentialOf(id, 'tools'),
      // It asks for none.
      everything: '',
    },
  }));
  const servers = {
    notes: { url: notes.url },
    tools: { url: tools.url, sessions: 'per-call' },
    // A process for each session, which ends with it.
    everything: { command: process.execPath, args: [EVERYTHING, 'stdio'] },
  };
  return {
    config: checkConfig({ port: Number(process.env['PORT'] ?? 8_808), servers, users }),
    tokens,
    stop: async () => {
      await Promise.all([notes.stop(), tools.stop()]);
    },
  };
}

const credentialOf = (user: string, server: string): string =>
  `Bearer upstream-${server}-secret-of-${user}`;

async function startUpstream(
  name: string,
): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const users = Object.fromEntries(USERS.map((id) => [credentialOf(id, name), id]));
  const script = fileURLToPath(new URL('./demo-upstream.js', import.meta.url));
  const child: ChildProcess = fork(script, [name, JSON.stringify(users)]);
  const ended = once(child, 'exit').then(() => {
    throw new Error(`The upstream server ${name} ended before it listened`);
  });
  const [port] = (await Promise.race([once(child, 'message'), ended])) as [number];
  ended.catch(() => {});
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    stop: async () => {
      if (!child.connected) return;
      const gone = once(child, 'exit');
      child.disconnect();
      await gone;
    },
  };
}
