// One `pool.close()` of sessions whose client and transport never acknowledge a close.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { SessionPool } from 'mcp-session-pool';
import { childInput, tellParent } from '../support/child.ts';
import { handlesLeft, heapBytes, sleep } from '../support/measure.ts';

export interface CloseScaleInput {
  readonly sessions: number;
  readonly keys: number;
  readonly closeTimeoutMs: number;
}

export interface CloseScaleAnswer {
  readonly durationMs: number;
  readonly longestStallMs: number;
  readonly abandoned: number;
  readonly closed: number;
  /** Sessions whose two closes were not each called exactly once. */
  readonly miscalled: number;
  readonly heapPerOpenSession: number;
  readonly heapLeft: number;
  readonly peakRssMiB: number;
  readonly handles: Record<string, number>;
}

const { sessions, keys, closeTimeoutMs } = childInput<CloseScaleInput>();
const calls: { client: number; transport: number }[] = [];

async function openSilent() {
  const called = { client: 0, transport: 0 };
  calls.push(called);
  const closeOf = (part: keyof typeof called) => ({
    close: (): Promise<void> => {
      called[part] += 1;
      return new Promise(() => {});
    },
  });
  return { client: closeOf('client'), transport: closeOf('transport') };
}

const heapAtStart = await heapBytes();
let pool: SessionPool<{ close(): Promise<void> }> | undefined = new SessionPool({
  connector: openSilent,
  maxSessionsPerKey: sessions,
  maxSessions: sessions,
  maxOpeningPerKey: sessions,
  maxWaitersPerKey: sessions,
  closeTimeoutMs,
});
await open(pool);
const heapOpen = await heapBytes();

// A timer each millisecond; how late the latest one was is the longest stall.
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
await sleep(100);
delay.reset();
const startedAt = performance.now();
const report = await pool.close();
const durationMs = performance.now() - startedAt;
const longestStallMs = delay.max / 1e6 - 1;
delay.disable();
pool = undefined;
const miscalled = calls.filter((each) => each.client !== 1 || each.transport !== 1).length;
// The bench's own notes are not what the pool keeps.
calls.length = 0;

const answer: CloseScaleAnswer = {
  durationMs,
  longestStallMs,
  abandoned: report.abandoned,
  closed: report.closed,
  miscalled,
  heapPerOpenSession: (heapOpen - heapAtStart) / sessions,
  heapLeft: (await heapBytes()) - heapAtStart,
  peakRssMiB: process.resourceUsage().maxRSS / 1024,
  handles: handlesLeft(),
};
await tellParent(answer);

/** Every session lent once; one in ten stays lent, as it is when a gateway goes down. */
async function open(from: SessionPool<{ close(): Promise<void> }>): Promise<void> {
  const leases = await Promise.all(
    Array.from({ length: sessions }, (_, index) =>
      from.acquire({ url: `http://127.0.0.1:1/server-${index % keys}/mcp`, identity: 'bench' }),
    ),
  );
  for (const [index, lease] of leases.entries()) if (index % 10 !== 0) lease.release();
}
