// The storm's server in a process of its own, to be killed and started again on the same port.

import type { StormServerCounts } from '../children/storm-server.ts';
import { type Child, startChild } from './child.ts';

/** Longer than any round may take; what hangs is killed. */
const LIMIT_MS = 90_000;

/** See the file header. */
export class StormServerHost {
  port = 0;
  #child: Child | undefined;

  /** Starts one on `port`, in place of the one there may be. */
  async start(port: number): Promise<string> {
    await this.end();
    this.#child = startChild('storm-server', { port }, LIMIT_MS);
    const started = (await this.#child.reply()) as { port: number };
    this.port = started.port;
    return `http://127.0.0.1:${this.port}/mcp`;
  }

  async counts(): Promise<StormServerCounts | undefined> {
    this.#child?.send('count');
    return (await this.#child?.reply()) as StormServerCounts | undefined;
  }

  /** Kills it. */
  async end(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    await child?.stop();
  }
}
