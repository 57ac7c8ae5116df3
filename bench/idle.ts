// What idle sessions cost: memory and sockets of each, through the pool and on the SDK's bare
// transport; then CPU late in the life of sessions whose server ends each notification stream at
// once with `retry: 0`. The whole course of such streams, and their GETs, is what
// `notification-streams` watches, with the same children; here is one figure of it, beside a single
// session of the SDK.

import type { IdleHeapAnswer, IdleHeapInput } from './children/idle-heap-round.ts';
import type { PlainServerCounts, PlainServerInput } from './children/plain-server.ts';
import { type Child, startChild } from './support/child.ts';
import { median } from './support/measure.ts';
import { measureParts, type Part } from './support/notification-parts.ts';
import { parameters } from './support/parameters.ts';
import { printHeader, printTable, saveJson } from './support/report.ts';

/**
 * Weighed with a tenth of `sessions`, and with all, which agree within a few percent: one round
 * will do. `settleMs`: longer than a connection is kept alive.
 */
const sizes = parameters({
  rounds: 1,
  sessions: 10_000,
  settleMs: 6_000,
  streamSessions: 100,
  'minutes-from': 3,
  'minutes-to': 5,
});
const MAX_HEAP_KIB = 12;
const MAX_SOCKETS = 0;
const MAX_CPU_PERCENT = 1;
const ROUND_LIMIT_MS = 900_000;

interface Setting {
  readonly name: string;
  readonly way: 'pool' | 'sdk';
  /** Whether a session has a notification stream that stays open. */
  readonly listens: boolean;
}
type Round = IdleHeapAnswer & { readonly sockets: number };

const settings: readonly Setting[] = [
  { name: 'mcp-session-pool, nobody listens', way: 'pool', listens: false },
  { name: 'mcp-session-pool, a stream each', way: 'pool', listens: true },
  { name: 'SDK transport, GET refused', way: 'sdk', listens: false },
  { name: 'SDK transport, a stream each', way: 'sdk', listens: true },
];
const scales = [...new Set([Math.ceil(sizes.sessions / 10), sizes.sessions])];

printHeader('idle sessions', sizes);
const memory = scales.flatMap((sessions) =>
  settings.map((setting) => ({ ...setting, sessions, rounds: [] as Round[] })),
);
for (let round = 1; round <= sizes.rounds; round += 1) {
  for (const row of memory) row.rounds.push(await weigh(row));
  console.log(`round ${round}/${sizes.rounds} weighed`);
}
console.log();
const weights = memory.map(summary);
printTable(weights);
const minutes = `minutes ${sizes['minutes-from']} to ${sizes['minutes-to']}`;
console.log(`server ends each stream at once with retry: 0, ${minutes}`);
const streams = await Promise.all([
  watchStreams('mcp-session-pool', 'pool', sizes.streamSessions),
  watchStreams('SDK transport', 'sdk', 1),
]);
printTable(
  streams.map(({ name, sessions, part }) => ({
    name,
    sessions,
    'CPU % of a core': part.cpuPercent,
    'GETs/s': part.getsPerSecond,
  })),
);
const lines = verdicts();
console.log(`${lines.join('\n')}\n`);
saveJson('idle', { sizes, verdicts: lines, memory, streams });

/** Opens, weighs and calls in a process of its own, against a server of its own. */
async function weigh({ way, listens, sessions }: Setting & { sessions: number }): Promise<Round> {
  const serverInput: PlainServerInput = { streams: listens ? 'hold' : 'refuse' };
  const server = startChild('plain-server', serverInput, ROUND_LIMIT_MS);
  try {
    const { port } = (await server.reply()) as { port: number };
    const input: IdleHeapInput = {
      way,
      url: `http://127.0.0.1:${port}/json`,
      sessions,
      notifications: listens,
      settleMs: sizes.settleMs,
    };
    const child = startChild('idle-heap-round', input, ROUND_LIMIT_MS);
    try {
      const answer = (await child.reply()) as IdleHeapAnswer;
      const { sockets } = await count(server);
      child.send('call');
      if ((await child.reply()) !== 'called') throw new Error('Expected the child to have called');
      return { ...answer, sockets };
    } finally {
      await child.stop();
    }
  } finally {
    await server.stop();
  }
}

async function count(server: Child): Promise<PlainServerCounts> {
  server.send('count');
  return (await server.reply()) as PlainServerCounts;
}

function summary(row: (typeof memory)[number]) {
  const of = (pick: (round: Round) => number) => median(row.rounds.map(pick));
  const worst = (pick: (round: Round) => number) => Math.max(...row.rounds.map(pick));
  const heaps = row.rounds.map((round) => round.heapBytesPerSession / 1_024);
  return {
    'idle sessions': row.name,
    sessions: row.sessions,
    'heap KiB each': median(heaps),
    'worst KiB': Math.max(...heaps),
    'external KiB each': of((round) => round.externalBytesPerSession / 1_024),
    sockets: worst((round) => round.sockets),
    'socket handles': worst((round) => round.socketHandles),
    'open ms each': of((round) => round.openMs) / row.sessions,
  };
}

async function watchStreams(name: string, way: 'pool' | 'sdk', sessions: number) {
  const [fromMs, toMs] = [sizes['minutes-from'] * 60_000, sizes['minutes-to'] * 60_000];
  if (toMs <= fromMs) throw new RangeError('Expected --minutes-to to be above --minutes-from');
  const partsMs = [fromMs, toMs - fromMs];
  const parts = await measureParts({ way, retryMs: 0, sessions, partsMs });
  return { name, sessions, before: parts[0], part: parts[1] as Part };
}

function verdicts(): string[] {
  const ours = weights.filter((_, index) => {
    const row = memory[index];
    return row?.way === 'pool' && !row.listens;
  });
  const heap = Math.max(...ours.map((row) => row['heap KiB each']));
  const sockets = Math.max(...ours.map((row) => row.sockets));
  const [pool, sdk] = streams.map(({ part }) => part.cpuPercent);
  return [
    `heap per idle session: ${heap.toFixed(1)} KiB ${target(heap, MAX_HEAP_KIB)}`,
    `sockets of idle sessions, nobody listens: ${sockets} ${target(sockets, MAX_SOCKETS)}`,
    `CPU with retry: 0, ${minutes}: ${sizes.streamSessions} sessions ${pool?.toFixed(2)} % ` +
      `${target(pool ?? Number.NaN, MAX_CPU_PERCENT)}; one SDK session ${sdk?.toFixed(1)} %`,
  ];
}

function target(value: number, bound: number): string {
  return `(target ≤ ${bound}: ${value <= bound ? 'reached' : 'MISSED'})`;
}
