// For children: tells the parent, at the very end, how the process ended and what it still held.

import { writeSync } from 'node:fs';

/** Kinds of handles that a pool could leave. Others come and go with Node and its standard streams. */
const WATCHED_HANDLES = ['Timeout', 'Immediate', 'TCPSocketWrap', 'TCPServerWrap', 'ProcessWrap'];

/** What a child wants known beside its end. Filled in as it goes. */
export type Facts = Record<string, unknown>;

/**
 * Writes `facts`, the exit code and the handles left to stdout as the process exits. `facts.doneAt`,
 * where the child sets it, becomes `lingeredMs`: how long it lived on after its work was done.
 */
export function reportAtExit(facts: Facts): void {
  process.once('exit', (code) => {
    const { doneAt = performance.now(), ...rest } = facts;
    const lingeredMs = performance.now() - Number(doneAt);
    writeSync(1, `${JSON.stringify({ ...rest, code, handles: handlesLeft(), lingeredMs })}\n`);
  });
}

/** Handles that keep this process alive, by kind, in any order. */
export function handlesLeft(): string[] {
  return process.getActiveResourcesInfo().filter((kind) => WATCHED_HANDLES.includes(kind));
}
