// Measures a process from inside: heap, CPU, wake-ups, and what it still holds.

/** Kinds of handles that a pool could leave behind. Others come and go with Node itself. */
const WATCHED_HANDLES = ['Timeout', 'Immediate', 'TCPSocketWrap', 'TCPServerWrap', 'ProcessWrap'];

export interface IdleWindow {
  /** Of one core. */
  readonly cpuPercent: number;
  /** How often the process went to sleep and was woken. */
  readonly voluntaryContextSwitches: number;
  readonly durationMs: number;
}

export const sleep = (durationMs: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, durationMs);
  });

/** Runs the collector as often as it takes to also free what finalizers let go. */
export async function collectGarbage(): Promise<void> {
  if (globalThis.gc === undefined) throw new Error('Run with --expose-gc');
  for (let cycle = 0; cycle < 3; cycle += 1) {
    globalThis.gc();
    await sleep(50);
  }
}

/** Bytes of live objects. */
export async function heapBytes(): Promise<number> {
  await collectGarbage();
  return process.memoryUsage().heapUsed;
}

/** CPU time of this process in nanoseconds, user and system. */
export function cpuNanoseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1_000;
}

/** Lets the process settle, then watches what it costs while it should do nothing. */
export async function watchIdle(windowMs: number): Promise<IdleWindow> {
  await sleep(1_500);
  await collectGarbage();
  await sleep(500);
  const startedAt = performance.now();
  const before = { cpu: cpuNanoseconds(), usage: process.resourceUsage() };
  await sleep(windowMs);
  const durationMs = performance.now() - startedAt;
  const cpuMs = (cpuNanoseconds() - before.cpu) / 1e6;
  return {
    cpuPercent: (cpuMs / durationMs) * 100,
    voluntaryContextSwitches:
      process.resourceUsage().voluntaryContextSwitches - before.usage.voluntaryContextSwitches,
    durationMs,
  };
}

/** Handles that keep the process alive, by kind. */
export function handlesLeft(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) {
    if (WATCHED_HANDLES.includes(kind)) counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** The middle value; of an even number of values, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)];
  if (upper === undefined) throw new RangeError('No values to take the median of');
  return Number.isInteger(middle) ? (upper + (sorted[middle - 1] ?? upper)) / 2 : upper;
}
