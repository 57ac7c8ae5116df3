// acquire + release beside other pools: nanoseconds of CPU per operation in three scenarios, bytes
// per idle resource and per waiter. Every figure is a median over rounds in which contenders take
// turns, each in a process of its own.

import type { AcquireRoundInput } from './children/acquire-round.ts';
import type { MemoryRoundInput } from './children/memory-round.ts';
import { barChart } from './support/chart.ts';
import { askChild } from './support/child.ts';
import { contenders } from './support/contenders.ts';
import { median } from './support/measure.ts';
import { parameters } from './support/parameters.ts';
import { printHeader, printTable, saveJson, saveText } from './support/report.ts';

const sizes = parameters({ rounds: 5, operations: 200_000, memoryCount: 10_000 });
const OURS = 'mcp-session-pool';
const names = Object.keys(contenders);

interface Scenario {
  readonly name: string;
  readonly shape: Pick<AcquireRoundInput, 'keys' | 'resourcesPerKey' | 'borrowers'>;
}
const scenarios: readonly Scenario[] = [
  { name: 'uncontended', shape: { keys: 1, resourcesPerKey: 10, borrowers: 1 } },
  { name: '100 borrowers on 10', shape: { keys: 1, resourcesPerKey: 10, borrowers: 100 } },
  { name: '1,000 keys', shape: { keys: 1_000, resourcesPerKey: 10, borrowers: 1 } },
];

interface Row {
  readonly scenario: string;
  readonly contender: string;
  readonly nanoseconds: number;
  readonly spread: string;
  readonly timesOurs: number;
}

printHeader('acquire + release', sizes);
const rows: Row[] = [];
for (const scenario of scenarios) rows.push(...(await measure(scenario)));
const memory = await weigh();
saveJson('acquire', { sizes, cpu: rows, memory });
saveText('acquire.svg', await draw());

async function measure({ name: scenario, shape }: Scenario): Promise<Row[]> {
  const taken = new Map<string, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < sizes.rounds; round += 1) {
    for (const contender of names) {
      const input: AcquireRoundInput = { ...shape, contender, operations: sizes.operations };
      const answer = await askChild<{ nanoseconds: number }>('acquire-round', input);
      taken.get(contender)?.push(answer.nanoseconds);
    }
  }
  const own = median(taken.get(OURS) ?? []);
  const found = [...taken].map(([contender, values]) => ({
    scenario,
    contender,
    nanoseconds: median(values),
    spread: `${Math.round(Math.min(...values))}-${Math.round(Math.max(...values))}`,
    timesOurs: median(values) / own,
  }));
  console.log(`${scenario}: CPU per acquire + release`);
  printTable(
    found.map((row) => ({
      pool: row.contender,
      'ns CPU': Math.round(row.nanoseconds),
      spread: row.spread,
      'times ours': row.timesOurs,
    })),
  );
  return found;
}

async function weigh(): Promise<{ contender: string; idle: number; waiter: number }[]> {
  const found = [];
  for (const contender of names) {
    const answers: { idle: number; waiter: number }[] = [];
    for (let round = 0; round < Math.min(sizes.rounds, 3); round += 1) {
      const input: MemoryRoundInput = { contender, count: sizes.memoryCount };
      answers.push(await askChild('memory-round', input));
    }
    found.push({
      contender,
      idle: Math.round(median(answers.map((each) => each.idle))),
      waiter: Math.round(median(answers.map((each) => each.waiter))),
    });
  }
  console.log('heap');
  printTable(
    found.map(({ contender, idle, waiter }) => ({
      pool: contender,
      'bytes per idle resource': idle,
      'bytes per waiter': waiter,
    })),
  );
  return found;
}

function draw(): Promise<string> {
  return barChart({
    title: 'CPU per acquire + release',
    subtitle: `ns, median of ${sizes.rounds} rounds, Node ${process.version}`,
    axis: 'ns of CPU',
    scale: 'linear',
    bars: rows.map((row) => ({
      group: row.scenario,
      name: row.contender,
      value: row.nanoseconds,
    })),
  });
}
