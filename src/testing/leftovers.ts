// Tells what a piece of code left in the process: timers, sockets, servers, child processes. Counts
// what Node itself counts, so nothing has to be reported by the code under test.

import { systemClock } from '../clock.ts';

/**
 * What keeps a process alive and is never a test runner's own business in the middle of a test. Of
 * timers, Node tells only those that are referenced.
 */
const WATCHED = ['Timeout', 'TCPSocketWrap', 'TCPServerWrap', 'TLSWrap', 'ProcessWrap'];
/** Between two looks, in ms. */
const LOOK_EVERY_MS = 20;
const GRACE_MS = 2_000;

/** What is counted from one moment on. */
export interface Leftovers {
  /** What there is now beyond that moment, such as `2 TCPSocketWrap`. Empty: nothing. */
  now(): string[];
  /**
   * Settles when nothing is left, or with what still is after `graceMs` (default 2,000, minimum 0,
   * from this call): the other end of a closed socket goes on its own schedule.
   */
  settled(graceMs?: number): Promise<string[]>;
}

/**
 * Counts from this call on. Call it before the code under test, and where nothing else starts or
 * ends handles meanwhile: they are counted for the whole process.
 *
 * @example
 * ```ts
 * const left = leftovers();
 * await runMyGateway();
 * expect(await left.settled()).toEqual([]);
 * ```
 */
export function leftovers(): Leftovers {
  const before = countHandles();
  const now = (): string[] => {
    const left: string[] = [];
    for (const [kind, count] of countHandles()) {
      const extra = count - (before.get(kind) ?? 0);
      if (extra > 0) left.push(`${extra} ${kind}`);
    }
    return left;
  };
  return {
    now,
    settled: async (graceMs = GRACE_MS) => {
      const deadline = systemClock.now() + graceMs;
      let left = now();
      // Bound: the deadline. The timer of this wait has fired by the time of each look.
      while (left.length > 0 && systemClock.now() < deadline) {
        await new Promise<void>((resolve) => {
          systemClock.setTimeout(resolve, LOOK_EVERY_MS);
        });
        left = now();
      }
      return left;
    },
  };
}

function countHandles(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (WATCHED.includes(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}
