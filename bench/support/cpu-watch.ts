// CPU of this process over time, and when it came to rest.

import { cpuNanoseconds } from './measure.ts';

/** CPU between the sample before and this one. */
export interface CpuSample {
  /** Since the watch began. */
  readonly atMs: number;
  /** Of one core. */
  readonly cpuPercent: number;
}

const EVERY_MS = 100;
/**
 * So many samples together tell whether a process rests: a lone one may hold a collection, or the
 * end of a thousand sockets that nobody kept alive.
 */
const SMOOTHED = 10;
/** A process at rest takes less; one that spins takes all. */
const REST_PERCENT = 10;

/** Takes samples from now on, until `stop`. `onSample` runs with each. */
export class CpuWatch {
  readonly samples: CpuSample[] = [];
  readonly #startedAt = performance.now();
  readonly #interval: NodeJS.Timeout;
  #lastAt = this.#startedAt;
  #lastCpu = cpuNanoseconds();

  constructor(onSample: () => void) {
    this.#interval = setInterval(() => {
      this.#take();
      onSample();
    }, EVERY_MS);
  }

  /** Since the watch began. */
  nowMs(): number {
    return performance.now() - this.#startedAt;
  }

  stop(): void {
    clearInterval(this.#interval);
  }

  #take(): void {
    const [now, cpu] = [performance.now(), cpuNanoseconds()];
    const cpuPercent = ((cpu - this.#lastCpu) / 1e6 / (now - this.#lastAt)) * 100;
    this.samples.push({ atMs: now - this.#startedAt, cpuPercent });
    this.#lastAt = now;
    this.#lastCpu = cpu;
  }
}

/**
 * When the process came to rest for good, counted from `fromMs`: the last sample above rest, of the
 * last stretch above it. `undefined`: it did not, as far as it was watched.
 */
export function restAfterMs(samples: readonly CpuSample[], fromMs: number): number | undefined {
  const later = samples.filter(({ atMs }) => atMs > fromMs);
  const stretchTo = (end: number) => later.slice(Math.max(0, end + 1 - SMOOTHED), end + 1);
  const busyAt = later.findLastIndex((_sample, index) => mean(stretchTo(index)) > REST_PERCENT);
  if (busyAt === later.length - 1) return undefined;
  const last = stretchTo(busyAt).findLast(({ cpuPercent }) => cpuPercent > REST_PERCENT);
  return (last?.atMs ?? fromMs) - fromMs;
}

/** CPU time of the samples after `fromMs`, in milliseconds. */
export function cpuMsAfter(samples: readonly CpuSample[], fromMs: number): number {
  let sum = 0;
  for (const [index, { atMs, cpuPercent }] of samples.entries()) {
    const sinceMs = samples[index - 1]?.atMs ?? 0;
    if (atMs > fromMs) sum += (cpuPercent / 100) * (atMs - Math.max(sinceMs, fromMs));
  }
  return sum;
}

const mean = (samples: readonly CpuSample[]): number =>
  samples.reduce((sum, { cpuPercent }) => sum + cpuPercent, 0) / Math.max(1, samples.length);
