// Opens idle sessions and weighs them: heap and memory outside of it, and the sockets that are left
// when kept-alive connections have run out. Then calls on each, when the parent says so.

import { childInput, parentSays, tellParent } from '../support/child.ts';
import { type IdleSessionsOptions, openIdleSessions } from '../support/idle-sessions.ts';
import { collectGarbage, handlesLeft, sleep } from '../support/measure.ts';

export interface IdleHeapInput extends IdleSessionsOptions {
  /** How long all is left alone before it is weighed. */
  readonly settleMs: number;
}

export interface IdleHeapAnswer {
  readonly heapBytesPerSession: number;
  /** ArrayBuffers and what native objects keep outside of the heap. */
  readonly externalBytesPerSession: number;
  /** Of the whole process, the sockets that keep it alive. */
  readonly socketHandles: number;
  readonly openMs: number;
}

/** Opened and closed first, so that code and caches that are loaded once are not weighed. */
const WARM_UP_SESSIONS = 50;

const { settleMs, ...options } = childInput<IdleHeapInput>();
const warmUp = await openIdleSessions({ ...options, sessions: WARM_UP_SESSIONS });
await warmUp.call();
await warmUp.close();
const before = await weigh();
const startedAt = performance.now();
const opened = await openIdleSessions(options);
const openMs = performance.now() - startedAt;
const after = await weigh();
const answer: IdleHeapAnswer = {
  heapBytesPerSession: (after.heapUsed - before.heapUsed) / options.sessions,
  externalBytesPerSession: (after.external - before.external) / options.sessions,
  socketHandles: handlesLeft()['TCPSocketWrap'] ?? 0,
  openMs,
};
await tellParent(answer);
await parentSays();
await opened.call();
await tellParent('called');
await opened.close();

async function weigh(): Promise<NodeJS.MemoryUsage> {
  await sleep(settleMs);
  await collectGarbage();
  return process.memoryUsage();
}
