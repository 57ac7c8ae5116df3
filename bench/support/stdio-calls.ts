// The part of `calls` about servers over stdio: each way in a process of its own with a server of
// its own, a table for each scenario, a verdict.

import type { CallRoundAnswer, CallRoundInput } from '../children/call-round.ts';
import type { Tool } from './call-texts.ts';
import { askChild } from './child.ts';
import { median } from './measure.ts';
import { printTable } from './report.ts';
import { STDIO_WAYS, type StdioWay } from './stdio-callers.ts';

export interface StdioScenario {
  readonly tool: Tool;
  readonly inFlight: number;
}

export interface StdioCallRow {
  readonly scenario: StdioScenario;
  readonly way: StdioWay;
  readonly rounds: CallRoundAnswer[];
}

/** As those of `calls` of the same names. */
export interface StdioSizes {
  readonly rounds: number;
  readonly calls: number;
  readonly warmUpCalls: number;
  readonly largeCalls: number;
}

export const STDIO_SCENARIOS: readonly StdioScenario[] = [
  { tool: 'small', inFlight: 1 },
  { tool: 'small', inFlight: 32 },
  { tool: 'large', inFlight: 1 },
];

/** Measures and prints all of it. */
export async function measureStdioCalls(sizes: StdioSizes): Promise<StdioCallRow[]> {
  const rows: StdioCallRow[] = [];
  for (const scenario of STDIO_SCENARIOS) {
    const own: StdioCallRow[] = STDIO_WAYS.map((way) => ({ scenario, way, rounds: [] }));
    for (let round = 0; round < sizes.rounds; round += 1) {
      // Starts elsewhere in each round, so that nobody is always first.
      for (let n = 0; n < own.length; n += 1) {
        const row = own[(n + round) % own.length]!;
        row.rounds.push(await measure(row, sizes));
      }
    }
    print(scenario, own);
    rows.push(...own);
  }
  return rows;
}

/** What a call costs us, beside the SDK's transport. */
export function stdioVerdict(rows: readonly StdioCallRow[]): string {
  const cpu = (way: StdioWay): number => {
    const isIt = (row: StdioCallRow): boolean =>
      row.way === way && row.scenario.tool === 'small' && row.scenario.inFlight === 32;
    return cpuOf(rows.find(isIt)!);
  };
  const [floor, ours, sdk] = [
    cpu('pipes alone'),
    cpu('pool, held lease'),
    cpu('SDK, session kept'),
  ];
  return (
    `CPU at 32 in flight, stdio: ours (held lease) ${ours.toFixed(1)} µs, SDK ${sdk.toFixed(1)} ` +
    `µs, ratio ${(sdk / ours).toFixed(2)}; floor ${floor.toFixed(1)} µs`
  );
}

function measure({ scenario, way }: StdioCallRow, sizes: StdioSizes): Promise<CallRoundAnswer> {
  const { tool, inFlight } = scenario;
  const isSmall = tool === 'small';
  const calls = isSmall ? sizes.calls : sizes.largeCalls;
  const warmUpCalls = isSmall ? sizes.warmUpCalls : Math.ceil(sizes.largeCalls / 2);
  const at = { transport: 'stdio', way } as const;
  const round: CallRoundInput = { at, tool, inFlight, calls, warmUpCalls, isProfiled: false };
  return askChild<CallRoundAnswer>('call-round', round);
}

function print({ tool, inFlight }: StdioScenario, rows: readonly StdioCallRow[]): void {
  const size = tool === 'small' ? '100 B' : '1 MiB';
  console.log(`stdio, results of ${size}, ${inFlight} in flight: one call`);
  const floor = cpuOf(rows[0]!);
  printTable(
    rows.map((row) => ({
      way: row.way,
      'µs CPU': cpuOf(row),
      'p50 ms': median(row.rounds.map((round) => round.p50Ms)),
      'p99 ms': median(row.rounds.map((round) => round.p99Ms)),
      'CPU, times floor': cpuOf(row) / floor,
      warnings: Math.max(...row.rounds.map((round) => round.warnings)),
    })),
  );
}

const cpuOf = (row: StdioCallRow): number =>
  median(row.rounds.map((round) => round.cpuMicroseconds));
