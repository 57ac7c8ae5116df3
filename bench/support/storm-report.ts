// The figures of `storm`: a table, what was promised and broken, a chart.

import type { Cut, StormRoundAnswer } from '../children/storm-round.ts';
import type { StormServerCounts } from '../children/storm-server.ts';
import { cpuMsAfter, restAfterMs } from './cpu-watch.ts';
import { lineChart } from './line-chart.ts';
import { printTable } from './report.ts';
import { SESSIONS_PER_KEY, type StormLimits, type StormWay, sessionsInAll } from './storm-ways.ts';

export interface StormRow {
  readonly way: StormWay;
  readonly cut: Cut;
  readonly answer: StormRoundAnswer;
  /** What the server says once the client has closed. `undefined`: it was killed. */
  readonly server: StormServerCounts | undefined;
  /** How long the client took to exit by itself. `undefined`: it did not. */
  readonly exitMs: number | undefined;
}

/** What a cut is called in tables and charts. */
export const CUTS: Readonly<Record<Cut, string>> = {
  abort: 'callers abort',
  kill: 'server killed',
  both: 'both at once',
  comeback: 'server comes back',
};

const HEAP_GROWTH_MAX = 0.1;
/** What the event loop of a busy machine may add to a close. */
const CLOSE_SLACK_MS = 1_000;

export function printStorm(rows: readonly StormRow[]): void {
  printTable(
    rows.map(({ way, cut, answer, server, exitMs }) => ({
      cut: CUTS[cut],
      way,
      'calls/s before': Math.round(answer.rate),
      'settled ms': rounded(answer.settledMs),
      'cut held ms': Math.round(answer.cutTurnMs),
      'at rest ms': rounded(restAfterCut(answer)),
      'CPU ms after': Math.round(cpuMsAfter(answer.samples, answer.loadEndedAtMs)),
      'close ms': way === 'mcp-session-pool' ? Math.round(answer.closeMs) : undefined,
      'most sessions': answer.books?.mostSessions ?? server?.mostSessions,
      'sockets left': server?.sockets,
      'handles left': total(answer.handles),
      listeners: answer.signalListeners + answer.processListeners,
      warnings: answer.warnings.length,
      'heap %': ((answer.heapAfter / answer.heapBefore) * 100 - 100).toFixed(1),
      exits: exitMs === undefined ? 'no' : 'yes',
    })),
  );
  for (const { cut, way, answer } of rows) {
    const failed = Object.entries(answer.turns.failed).map(([kind, count]) => `${count} ${kind}`);
    const { begun, settled } = answer.turns;
    const calls = `${begun} begun, ${settled} settled; failed: ${failed.join(', ') || 'none'}`;
    console.log(`${CUTS[cut]}, ${way}: ${calls}`);
    const { comeback, books } = answer;
    if (books !== undefined) console.log(`  ${bookLine(books)}`);
    if (comeback === undefined) continue;
    // A key that never was answered is `null` on its way from the child.
    const [first, last] = [rounded(comeback.firstMs), rounded(comeback.lastMs ?? Number.NaN)];
    console.log(`  first answer ${first} ms after the server was back, of every key ${last} ms`);
  }
  console.log();
}

/** Every promise of the pool that did not hold, in words. */
export function brokenPromises(row: StormRow, limits: StormLimits): string[] {
  const { answer, server, exitMs, cut, way } = row;
  const { books, turns, comeback, report } = answer;
  const broken: string[] = [];
  const check = (holds: boolean, what: string): void => {
    if (!holds) broken.push(`${way}, ${CUTS[cut]}: ${what}`);
  };
  check(answer.settledMs !== undefined, `${turns.begun - turns.settled} turns never settled`);
  check(turns.wrong.length === 0, `wrong answers: ${turns.wrong.join('; ')}`);
  if (books === undefined) throw new Error('Only a pool makes promises');
  const { acquires, totals } = books;
  check(acquires.begun === acquires.settled, `acquires unsettled: ${JSON.stringify(acquires)}`);
  // Work that ran again acquired twice.
  const told = books.granted + books.rejected;
  check(told >= acquires.begun, `${told} acquires told of, ${acquires.begun} begun`);
  check(books.granted === totals['acquired'], `${books.granted} grants told of`);
  check(books.ended === books.granted, `${books.granted} leases granted, ${books.ended} ended`);
  check(books.mostSessions <= sessionsInAll(limits.keys), `${books.mostSessions} sessions at once`);
  check(books.mostOfOneKey <= SESSIONS_PER_KEY, `${books.mostOfOneKey} sessions of one key`);
  check(total(books.left) === 0, `left in the pool: ${JSON.stringify(books.left)}`);
  const rests = { 'the cut': restAfterCut(answer), 'pool.close()': restAfterClose(answer) };
  for (const [since, ms] of Object.entries(rests)) {
    const isAtRest = ms !== undefined && ms <= limits.closeTimeoutMs;
    check(isAtRest, `CPU at rest ${rounded(ms) ?? 'never'} ms after ${since}`);
  }
  check(answer.closeMs <= limits.closeTimeoutMs + CLOSE_SLACK_MS, `close: ${answer.closeMs} ms`);
  check(report?.abandoned === 0, `close: ${JSON.stringify(report)}`);
  check(totals['abandoned'] === 0, `${totals['abandoned']} sessions abandoned`);
  check((server?.sockets ?? 0) === 0, `sockets left on the server: ${server?.sockets}`);
  check((server?.repeated ?? 0) === 0, `calls executed twice: ${server?.repeated}`);
  check(total(answer.handles) === 0, `handles left: ${JSON.stringify(answer.handles)}`);
  check(answer.signalListeners === 0, `listeners on signals: ${answer.signalListeners}`);
  check(answer.processListeners === 0, `listeners on the process: ${answer.processListeners}`);
  check(answer.warnings.length === 0, `warnings: ${answer.warnings.join('; ')}`);
  const growth = answer.heapAfter / answer.heapBefore - 1;
  check(growth <= HEAP_GROWTH_MAX, `heap grew by ${(growth * 100).toFixed(1)} %`);
  check(exitMs !== undefined, 'the process did not exit by itself');
  const isBack = comeback === undefined || Number.isFinite(comeback.lastMs);
  check(isBack, 'a key without an answer after the outage');
  return broken;
}

/** CPU of every way over time, one panel for each cut. */
export function drawStorm(rows: readonly StormRow[], users: number): Promise<string> {
  return lineChart({
    title: `${users.toLocaleString('en')} users cut off: CPU of the client process`,
    subtitle: '% of one core, every 100 ms; 0 s: the cut',
    x: 'seconds',
    y: '% of one core',
    points: rows.flatMap(({ way, cut, answer }) =>
      answer.samples.map(({ atMs, cpuPercent }) => ({
        x: (atMs - answer.cutAtMs) / 1_000,
        y: cpuPercent,
        line: way,
        panel: CUTS[cut],
      })),
    ),
  });
}

/** While the pool is still open. */
function restAfterCut({ samples, loadEndedAtMs, closedAtMs }: StormRoundAnswer) {
  const open = samples.filter(({ atMs }) => atMs <= closedAtMs);
  return restAfterMs(open, loadEndedAtMs);
}

function restAfterClose({ samples, closedAtMs }: StormRoundAnswer) {
  return restAfterMs(samples, closedAtMs);
}

function bookLine(books: NonNullable<StormRoundAnswer['books']>): string {
  const { granted, rejected, mostOfOneKey, mostWaiting, totals } = books;
  const counted = [
    'opened',
    'openFailed',
    'reused',
    'lost',
    'worn',
    'evicted',
    'closed',
    'abandoned',
  ];
  const figures = counted.map((name) => `${name} ${totals[name]}`).join(', ');
  const most = `most of one key ${mostOfOneKey}, most waiting ${mostWaiting}`;
  return `granted ${granted}, rejected ${rejected}; ${most}; ${figures}`;
}

const rounded = (value: number | undefined): number | undefined =>
  value === undefined ? undefined : Math.round(value);

const total = (counts: object): number =>
  Object.values(counts as Record<string, number>).reduce((sum, count) => sum + count, 0);
