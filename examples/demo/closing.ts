// Closes a pool under watch: progress while it waits, then what the process costs once it is closed.

import type { CloseReport, SessionPool } from 'mcp-session-pool';
import { ms, say, sleep } from './page.ts';

const PROGRESS_EVERY_MS = 500;
const QUIET_WINDOW_MS = 5_000;

/** Closes the pool and says every half second how far it is. */
export async function closeVisibly<C>(pool: SessionPool<C>): Promise<CloseReport> {
  const startedAt = performance.now();
  const before = pool.stats().totals;
  const progress = setInterval(() => {
    const { sessions, totals } = pool.stats();
    const closed = totals.closed - before.closed;
    const abandoned = totals.abandoned - before.abandoned;
    const counts = `${sessions.closing} closing, ${closed} closed, ${abandoned} abandoned`;
    say(`${ms(performance.now() - startedAt).padStart(7)}  ${counts}`);
  }, PROGRESS_EVERY_MS);
  try {
    const report = await pool.close();
    const { closed, unterminated, abandoned, durationMs } = report;
    const counts = `${closed} closed, ${unterminated} unterminated, ${abandoned} abandoned`;
    say(`${ms(durationMs).padStart(7)}  close() settled: ${counts}`);
    return report;
  } finally {
    clearInterval(progress);
  }
}

/** CPU of this process over the next 5 s, in percent of a core. */
export async function watchCpu(): Promise<number> {
  const startedAt = performance.now();
  const before = process.cpuUsage();
  await sleep(QUIET_WINDOW_MS);
  const { user, system } = process.cpuUsage(before);
  const percent = (user + system) / 10 / (performance.now() - startedAt);
  say(`process CPU over the next ${ms(QUIET_WINDOW_MS)}: ${percent.toFixed(2)} % of a core`);
  return percent;
}

/** A generous bound: the window begins right after close, and other processes may be busy. */
export const MAX_CPU_PERCENT = 5;

/** What `close()` may take: its own deadline, a margin, and the event loop's lag. */
export const MAX_CLOSE_MS: number = 5_000 + 250 + 250;
