// What every way of calling a tool looks like to the bench. Types only.

import type { Tool } from './call-texts.ts';

export interface Caller {
  /** The result of one `tools/call`. */
  call(tool: Tool, n: number): Promise<unknown>;
  /** Ends the session on the server too. */
  close(): Promise<unknown>;
}
