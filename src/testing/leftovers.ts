// Tells what a piece of code left in the process: timers, sockets, servers, child processes. Node
// itself says what there is, so nothing has to be reported by the code under test; and only what
// was started in the course of that code counts, so that a test runner may go on with its own.

import { AsyncLocalStorage, createHook } from 'node:async_hooks';
import { systemClock } from '../clock.ts';

/** Node's names of what keeps a process alive, and ours. */
const KINDS: ReadonlyMap<string, Leftover['kind']> = new Map([
  ['Timeout', 'timer'],
  ['TCPWRAP', 'socket'],
  ['TLSWRAP', 'socket'],
  ['TCPSERVERWRAP', 'server'],
  ['PIPEWRAP', 'pipe'],
  ['PIPESERVERWRAP', 'server'],
  ['PROCESSWRAP', 'process'],
]);
/** Between two looks, in ms. */
const LOOK_EVERY_MS = 10;
const GRACE_MS = 2_000;

/** One thing that was left. */
export interface Leftover {
  readonly kind: 'timer' | 'socket' | 'server' | 'pipe' | 'process';
  /** The stack of what started it. */
  readonly startedAt: string;
}

/** What is known of a thing that was started. */
interface Started extends Leftover {
  readonly resource: WeakRef<{ hasRef?: () => boolean }>;
}

/**
 * Runs `run` and settles when nothing is left that was started in the course of it and would keep
 * the process alive; or with what still is after `graceMs` (default 2,000, minimum 0, from the end
 * of `run`), for the other end of a closed socket goes on its own schedule. Rejects with what `run`
 * rejects with. Unreferenced timers and handles do not count: the process can end with them; nor
 * does what the handlers of a server start for the requests that it gets.
 *
 * @example
 * ```ts
 * const left = await leftovers(async () => {
 *   const gateway = await startGateway();
 *   await gateway.close();
 * });
 * assert.deepEqual(left, []);
 * ```
 */
export async function leftovers(
  run: () => unknown,
  { graceMs = GRACE_MS }: { readonly graceMs?: number } = {},
): Promise<Leftover[]> {
  const course = new AsyncLocalStorage<true>();
  const started = new Map<number, Started>();
  const hook = createHook({
    init: (id, type, trigger, resource) => {
      const kind = KINDS.get(type);
      if (kind === undefined) return;
      // A socket that a server accepts is in nobody's course; what triggered it is the server.
      if (course.getStore() === undefined && !started.has(trigger)) return;
      const startedAt = new Error(`a ${kind} was started here`).stack ?? '';
      started.set(id, { kind, startedAt, resource: new WeakRef(resource) });
    },
    destroy: (id) => {
      started.delete(id);
    },
  }).enable();
  try {
    await course.run(true, async () => run());
    const deadline = systemClock.now() + graceMs;
    // Bound: the deadline. What this wait starts is outside of the course.
    while (alive(started).length > 0 && systemClock.now() < deadline) await pause();
    return alive(started).map(({ kind, startedAt }) => ({ kind, startedAt }));
  } finally {
    hook.disable();
  }
}

const alive = (started: ReadonlyMap<number, Started>): Started[] =>
  [...started.values()].filter(({ resource }) => {
    const found = resource.deref();
    return found !== undefined && found.hasRef?.() !== false;
  });

const pause = (): Promise<void> =>
  new Promise((resolve) => {
    systemClock.setTimeout(resolve, LOOK_EVERY_MS);
  });
