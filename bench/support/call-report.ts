// The figures of `calls`: a table for each scenario, the verdicts, a chart.

import type { CallRoundAnswer } from '../children/call-round.ts';
import { nameOf, SCENARIOS, type Scenario } from './call-scenarios.ts';
import type { Way } from './callers.ts';
import { barChart } from './chart.ts';
import { median } from './measure.ts';
import { printTable } from './report.ts';

/** One way in one scenario. */
export interface CallRow {
  readonly scenario: Scenario;
  readonly way: Way;
  readonly rounds: CallRoundAnswer[];
}

const FLOOR: Way = 'undici alone';
const OURS: Way = 'pool, held lease';
const SDK: Way = 'SDK, session kept';
const FRESH: Way = 'SDK, session per call';
/** Ours and the SDK's own, in either era. */
const SDK_2_PAIRS: readonly (readonly [Way, Way, string])[] = [
  ['SDK 2: pool, held lease', 'SDK 2: alone, session kept', 'SDK 2'],
  ['2026-07-28: pool, held lease', '2026-07-28: SDK 2 alone', 'SDK 2 without sessions'],
];
/** Of what we should cost at most, against the floor and against the SDK's transport. */
const TARGETS = { timesFloor: 2, timesCheaperThanSdk: 5, timesFasterThanFresh: 8 };

export function printCalls(scenario: Scenario, rows: readonly CallRow[]): void {
  const cpu = (way: Way) => cpuOf(find(rows, scenario, way));
  console.log(`${nameOf(scenario)}: one call`);
  printTable(
    rows
      .filter((row) => row.scenario === scenario)
      .map((row) => ({
        way: row.way,
        'µs CPU': cpuOf(row),
        'spread %': spread(row.rounds.map((round) => round.cpuMicroseconds)),
        'p50 ms': median(row.rounds.map((round) => round.p50Ms)),
        'p99 ms': median(row.rounds.map((round) => round.p99Ms)),
        'CPU, times floor': cpuOf(row) / cpu(FLOOR),
        'CPU, times ours': cpuOf(row) / cpu(OURS),
        warnings: Math.max(...row.rounds.map((round) => round.warnings)),
      })),
  );
}

/** Lines that hold the figures against what was set out to be reached. */
export function verdicts(rows: readonly CallRow[]): string[] {
  const lines = SCENARIOS.filter(
    (scenario) => scenario.tool === 'small' && scenario.inFlight === 32,
  ).map((scenario) => {
    const cpu = (way: Way) => cpuOf(find(rows, scenario, way));
    const [floor, ours, sdk] = [cpu(FLOOR), cpu(OURS), cpu(SDK)];
    return (
      `CPU at 32 in flight, ${scenario.answers.toUpperCase()}: ` +
      `ours (held lease) ${ours.toFixed(1)} µs, SDK reused ${sdk.toFixed(1)} µs, ` +
      `ratio ${target(sdk / ours, 'min', TARGETS.timesCheaperThanSdk)}; ` +
      `floor ${floor.toFixed(1)} µs, ` +
      `${target(ours / floor, 'max', TARGETS.timesFloor)}`
    );
  });
  const [alone] = SCENARIOS;
  if (alone === undefined) return lines;
  const p50 = (way: Way) => median(find(rows, alone, way).rounds.map((round) => round.p50Ms));
  const [reused, fresh] = [p50(OURS), p50(FRESH)];
  lines.push(
    `latency one after another, JSON: reused ${reused.toFixed(3)} ms, a fresh SDK session per ` +
      `call ${fresh.toFixed(3)} ms, ` +
      `ratio ${target(fresh / reused, 'min', TARGETS.timesFasterThanFresh)}`,
  );
  return lines;
}

/** Lines on clients of SDK 2. There is no target for them, whose own work costs more. */
export function comparisons(rows: readonly CallRow[]): string[] {
  const busy = SCENARIOS.filter(({ tool, inFlight }) => tool === 'small' && inFlight === 32);
  return busy.flatMap((scenario) =>
    SDK_2_PAIRS.map(([ours, theirs, name]) => {
      const cpu = (way: Way) => cpuOf(find(rows, scenario, way));
      const [cheap, dear] = [cpu(ours), cpu(theirs)];
      return (
        `CPU at 32 in flight, ${scenario.answers.toUpperCase()}, ${name}: ours (held lease) ` +
        `${cheap.toFixed(1)} µs, SDK 2 reused ${dear.toFixed(1)} µs, ` +
        `ratio ${(dear / cheap).toFixed(2)}`
      );
    }),
  );
}

export function drawCalls(rows: readonly CallRow[], rounds: number): Promise<string> {
  return barChart({
    title: 'CPU of a tool call, client process',
    subtitle: `µs, median of ${rounds}`,
    axis: 'µs of CPU per call',
    scale: 'linear',
    bars: rows.map((row) => ({
      name: row.way,
      value: cpuOf(row),
      group: nameOf(row.scenario),
    })),
  });
}

function find(rows: readonly CallRow[], scenario: Scenario, way: Way): CallRow {
  const row = rows.find((each) => each.scenario === scenario && each.way === way);
  if (row === undefined) throw new Error(`No figures of ${way}`);
  return row;
}

const cpuOf = (row: CallRow): number => median(row.rounds.map((round) => round.cpuMicroseconds));

/** From the lowest to the highest, in % of the median. */
function spread(values: readonly number[]): number {
  return (100 * (Math.max(...values) - Math.min(...values))) / median(values);
}

function target(value: number, kind: 'min' | 'max', bound: number): string {
  const isReached = kind === 'min' ? value >= bound : value <= bound;
  const sign = kind === 'min' ? '≥' : '≤';
  return `${value.toFixed(2)} (target ${sign} ${bound}: ${isReached ? 'reached' : 'MISSED'})`;
}
