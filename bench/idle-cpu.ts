// What a process costs after it closed sessions that hang: CPU and wake-ups over a quiet window,
// beside a process that never did anything, a naive close loop, and the SDK's transport at its
// worst. Each in a child, all against the same kind of hostile server, in turns.

import type { ServerCounts } from './children/hostile-server.ts';
import type { ClosedAnswer, IdleRoundInput, WatchedAnswer, Way } from './children/idle-round.ts';
import { barChart } from './support/chart.ts';
import { type Child, startChild } from './support/child.ts';
import { median, sleep } from './support/measure.ts';
import { parameters } from './support/parameters.ts';
import { printHeader, printTable, saveJson, saveText } from './support/report.ts';

const sizes = parameters({ rounds: 5, windowMs: 10_000, sessions: 1_000, sdkSessions: 200 });
const OPEN_LIMIT_MS = 60_000;
const EXIT_LIMIT_MS = 5_000;

interface Setting {
  readonly name: string;
  readonly way: Way;
  readonly sessions: number;
  readonly streams: 'hang' | 'flap';
  /** What hangs on the server, for each session, once everything is open. */
  readonly hangingPerSession: number;
}
const settings: readonly Setting[] = [
  {
    name: 'idle process',
    way: 'idle',
    sessions: 0,
    streams: 'hang',
    hangingPerSession: 0,
  },
  {
    name: 'mcp-session-pool',
    way: 'pool',
    sessions: sizes.sessions,
    streams: 'hang',
    hangingPerSession: 2,
  },
  {
    name: 'naive close loop',
    way: 'naive',
    sessions: sizes.sessions,
    streams: 'hang',
    hangingPerSession: 1,
  },
  {
    name: 'SDK transport, worst case',
    way: 'sdk',
    sessions: sizes.sdkSessions,
    streams: 'flap',
    hangingPerSession: 1,
  },
];

interface Round extends WatchedAnswer, ClosedAnswer {
  readonly socketsLeft: number;
  readonly requestsAfterClose: number;
  /** `undefined`: it did not exit by itself. */
  readonly exitMs: number | undefined;
}

printHeader('CPU after closing sessions that hang', sizes);
const taken = new Map<Setting, Round[]>(settings.map((setting) => [setting, []]));
for (let round = 1; round <= sizes.rounds; round += 1) {
  for (const setting of settings) {
    const result = await measure(setting);
    taken.get(setting)?.push(result);
    const cpu = result.cpuPercent.toFixed(3);
    console.log(`round ${round}/${sizes.rounds}, ${setting.name}: ${cpu} % of a core`);
  }
}
console.log();
const rows = [...taken].map(([setting, rounds]) => ({ setting, rounds }));
printTable(rows.map(({ setting, rounds }) => summary(setting, rounds)));
const pool = rows.filter(({ setting }) => setting.way === 'pool').flatMap(({ rounds }) => rounds);
const isQuiet = pool.every(
  (round) =>
    round.socketsLeft === 0 &&
    round.requestsAfterClose === 0 &&
    round.rejected === sizes.sessions &&
    Object.keys(round.handles).length === 0 &&
    round.exitMs !== undefined,
);
console.log('the pool left no socket, request, handle or pending call, and exited by itself:');
console.log(isQuiet ? 'held in every round' : `BROKEN: ${JSON.stringify(pool, null, 2)}`);
saveJson('idle-cpu', { sizes, isQuiet, rows });
saveText('idle-cpu.svg', await draw());
process.exitCode = isQuiet ? 0 : 1;

async function measure(setting: Setting): Promise<Round> {
  const server = startChild('hostile-server', { streams: setting.streams });
  try {
    const { port } = (await server.reply()) as { port: number };
    const url = `http://127.0.0.1:${port}/mcp`;
    const { way, sessions } = setting;
    const input: IdleRoundInput = { way, url, sessions, windowMs: sizes.windowMs };
    const child = startChild('idle-round', input);
    try {
      return await closeAndWatch(setting, server, child);
    } finally {
      await child.stop();
    }
  } finally {
    await server.stop();
  }
}

async function closeAndWatch(setting: Setting, server: Child, child: Child): Promise<Round> {
  await child.reply();
  await allHang(server, setting.sessions * setting.hangingPerSession);
  child.send('close');
  const closed = (await child.reply()) as ClosedAnswer;
  // Sockets that the child has cut are on their way.
  await sleep(500);
  const atClose = await count(server);
  const watched = (await child.reply()) as WatchedAnswer;
  const atEnd = await count(server);
  return {
    ...closed,
    ...watched,
    socketsLeft: atEnd.sockets,
    requestsAfterClose: atEnd.requests - atClose.requests,
    exitMs: await child.exited(EXIT_LIMIT_MS),
  };
}

async function allHang(server: Child, wanted: number): Promise<void> {
  const limit = performance.now() + OPEN_LIMIT_MS;
  for (;;) {
    const { hanging } = await count(server);
    if (hanging >= wanted) return;
    if (performance.now() > limit) throw new Error(`Only ${hanging} of ${wanted} streams hang`);
    await sleep(100);
  }
}

async function count(server: Child): Promise<ServerCounts> {
  server.send('count');
  return (await server.reply()) as ServerCounts;
}

function summary({ name, sessions }: Setting, rounds: readonly Round[]) {
  const of = (pick: (round: Round) => number) => median(rounds.map(pick));
  const worst = (pick: (round: Round) => number) => Math.max(...rounds.map(pick));
  return {
    'after closing': name,
    sessions,
    'CPU % of a core': of((round) => round.cpuPercent),
    'worst %': worst((round) => round.cpuPercent),
    'context switches': of((round) => round.voluntaryContextSwitches),
    'close ms': Math.round(of((round) => round.closeMs)),
    'requests after': worst((round) => round.requestsAfterClose),
    'sockets left': worst((round) => round.socketsLeft),
    'handles left': worst((round) => Object.values(round.handles).reduce((a, b) => a + b, 0)),
    exits: rounds.every((round) => round.exitMs !== undefined) ? 'yes' : 'no',
  };
}

function draw(): Promise<string> {
  return barChart({
    title: 'CPU after closing sessions that hang',
    subtitle: `% of one core over ${sizes.windowMs / 1_000} s, median of ${sizes.rounds}`,
    axis: '% of one core (log scale)',
    scale: 'log',
    bars: rows.map(({ setting, rounds }) => ({
      name: setting.sessions ? `${setting.name} (${setting.sessions})` : setting.name,
      value: median(rounds.map((round) => round.cpuPercent)),
    })),
  });
}
