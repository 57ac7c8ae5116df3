// The reference servers that speak over stdio, as targets: the pool starts them. Started with the
// Node that runs the tests, never through `npx`, which would leave them behind.

import { fileURLToPath } from 'node:url';
import type { StdioTarget } from 'mcp-session-pool';
import type { ServerHost } from './server-suite.ts';

/** How one is started. */
export interface StdioServerOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** `@modelcontextprotocol/server-<name>`. There is nothing to close: the pool does. */
export function stdioServer(
  name: 'everything' | 'filesystem' | 'memory',
  { args = [], env }: StdioServerOptions,
): ServerHost & { readonly target: StdioTarget } {
  const script = `../../node_modules/@modelcontextprotocol/server-${name}/dist/index.js`;
  return {
    target: {
      command: process.execPath,
      args: [fileURLToPath(new URL(script, import.meta.url)), ...args],
      identity: 'ada',
      ...(env !== undefined && { env }),
    },
    close: () => Promise.resolve(),
  };
}
