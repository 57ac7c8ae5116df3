// `pool.close()` of ever more sessions that never acknowledge a close: how long it takes, how long
// the event loop stood still at most, what it keeps.

import type { CloseScaleAnswer, CloseScaleInput } from './children/close-scale-round.ts';
import { barChart } from './support/chart.ts';
import { startChild } from './support/child.ts';
import { median } from './support/measure.ts';
import { parameters } from './support/parameters.ts';
import { printHeader, printTable, saveJson, saveText } from './support/report.ts';

const sizes = parameters({ rounds: 3, closeTimeoutMs: 5_000, largest: 10_000, keys: 10 });
/** What P1 allows beyond `closeTimeoutMs`. */
const GRACE_MS = 250;

type Round = CloseScaleAnswer & { readonly exitMs: number | undefined };

printHeader('close() of sessions that never acknowledge', sizes);
const found: { sessions: number; rounds: Round[] }[] = [];
for (const sessions of [1, 100, 1_000, 10_000].filter((count) => count <= sizes.largest)) {
  const rounds: Round[] = [];
  for (let round = 0; round < sizes.rounds; round += 1) rounds.push(await closeOnce(sessions));
  found.push({ sessions, rounds });
}
printTable(found.map(({ sessions, rounds }) => summary(sessions, rounds)));
const promised = found.every(({ sessions, rounds }) =>
  rounds.every((round) => isPromised(sessions, round)),
);
console.log(
  `at most ${sizes.closeTimeoutMs} + ${GRACE_MS} ms, all abandoned, each close called once:`,
);
console.log(promised ? 'held in every round' : 'BROKEN');
saveJson('close-scale', { sizes, promised, found });
saveText('close-scale.svg', await draw());
process.exitCode = promised ? 0 : 1;

async function closeOnce(sessions: number): Promise<Round> {
  const input: CloseScaleInput = {
    sessions,
    keys: Math.min(sizes.keys, sessions),
    closeTimeoutMs: sizes.closeTimeoutMs,
  };
  const child = startChild('close-scale-round', input);
  try {
    const answer = (await child.reply()) as CloseScaleAnswer;
    return { ...answer, exitMs: await child.exited(5_000) };
  } finally {
    await child.stop();
  }
}

function isPromised(sessions: number, round: Round): boolean {
  return (
    round.durationMs <= sizes.closeTimeoutMs + GRACE_MS &&
    round.abandoned === sessions &&
    round.miscalled === 0 &&
    round.exitMs !== undefined
  );
}

function summary(sessions: number, rounds: readonly Round[]) {
  const of = (pick: (round: Round) => number) => median(rounds.map(pick));
  return {
    sessions,
    'close ms': Math.round(of((round) => round.durationMs)),
    'slowest ms': Math.round(Math.max(...rounds.map((round) => round.durationMs))),
    abandoned: of((round) => round.abandoned),
    miscalled: Math.max(...rounds.map((round) => round.miscalled)),
    'longest stall ms': of((round) => round.longestStallMs),
    'worst stall ms': Math.max(...rounds.map((round) => round.longestStallMs)),
    'bytes per open session': Math.round(of((round) => round.heapPerOpenSession)),
    'KiB left': Math.round(of((round) => round.heapLeft) / 1024),
    'peak RSS MiB': Math.round(of((round) => round.peakRssMiB)),
    exits: rounds.every((round) => round.exitMs !== undefined) ? 'yes' : 'NO',
  };
}

function draw(): Promise<string> {
  const bars = found.flatMap(({ sessions, rounds }) => [
    {
      group: 'duration of close(), ms',
      name: `${sessions.toLocaleString('en')} sessions`,
      value: median(rounds.map((round) => round.durationMs)),
    },
  ]);
  return barChart({
    title: 'close() of sessions that never acknowledge',
    subtitle: `closeTimeoutMs ${sizes.closeTimeoutMs}, median of ${sizes.rounds}`,
    axis: 'ms',
    scale: 'linear',
    bars,
  });
}
