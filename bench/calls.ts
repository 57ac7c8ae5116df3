// What a tool call costs the process that makes it, and how long it takes: through the pool, on
// this library's transport and on the SDK's, beside undici alone, against a server that does next
// to nothing. `--cpu-prof`: where the time goes on our transport, and no figures.

import type { CallRoundAnswer, CallRoundInput } from './children/call-round.ts';
import type { PlainServerCounts, PlainServerInput } from './children/plain-server.ts';
import {
  type CallRow,
  comparisons,
  drawCalls,
  printCalls,
  verdicts,
} from './support/call-report.ts';
import { type Answers, SCENARIOS, type Scenario } from './support/call-scenarios.ts';
import { WAYS, type Way } from './support/callers.ts';
import { askChild, type Child, startChild } from './support/child.ts';
import { packageTimes, selfTimes } from './support/cpu-profile.ts';
import { takeFlag } from './support/flag.ts';
import { parameters } from './support/parameters.ts';
import { printHeader, printTable, saveJson, saveText } from './support/report.ts';
import { measureStdioCalls, stdioVerdict } from './support/stdio-calls.ts';

const isProfiling = takeFlag('cpu-prof');
/**
 * `largeCalls`: of those with a result of 1 MiB, which are warmed up with half as many. The others
 * need a long warm-up: V8 compiles on threads of its own, whose time counts as the process's, and
 * the faster ways cost twice as much after 6,000 calls as after 20,000.
 */
const sizes = parameters({ rounds: 5, calls: 10_000, warmUpCalls: 20_000, largeCalls: 100 });
/** What takes ten or a hundred times as long is as steady with fewer calls. */
const SHARES: Partial<Record<Way, number>> = {
  'SDK, session kept': 0.5,
  'SDK 2: alone, session kept': 0.5,
  'SDK 2: alone, behind our fence': 0.5,
  '2026-07-28: SDK 2 alone': 0.5,
  '2026-07-28: SDK 2 behind our fence': 0.5,
  'SDK, session per call': 0.05,
};
const SERVER_LIMIT_MS = 7_200_000;
const TOP_FUNCTIONS = 25;

printHeader('tool calls', sizes);
const input: PlainServerInput = { streams: 'refuse' };
const server = startChild('plain-server', input, SERVER_LIMIT_MS);
try {
  const { port } = (await server.reply()) as { port: number };
  const origin = `http://127.0.0.1:${port}`;
  await (isProfiling ? profileAll(origin) : measureAll(origin));
} finally {
  await server.stop();
}

async function measureAll(origin: string): Promise<void> {
  const rows: CallRow[] = SCENARIOS.flatMap((scenario) =>
    WAYS.map((way) => ({ scenario, way, rounds: [] })),
  );
  for (const scenario of SCENARIOS) {
    for (let round = 0; round < sizes.rounds; round += 1) {
      for (const way of rotated(WAYS, round)) {
        const row = rows.find((each) => each.scenario === scenario && each.way === way);
        row?.rounds.push(await measure(origin, scenario, way, false));
      }
    }
    printCalls(scenario, rows);
  }
  const stdio = await measureStdioCalls(sizes);
  const lines = verdicts(rows);
  console.log(`${[...lines, ...comparisons(rows), stdioVerdict(stdio)].join('\n')}\n`);
  const { calls, sessions } = await count(server);
  const answered = { callsAnswered: calls, sessionsLeft: sessions };
  saveJson('calls', { sizes, ...answered, verdicts: lines, rows, stdio });
  saveText('calls.svg', await drawCalls(rows, sizes.rounds));
}

/** One way of one scenario in a process of its own. Every call must have been answered, once. */
async function measure(
  origin: string,
  scenario: Scenario,
  way: Way,
  isProfiled: boolean,
): Promise<CallRoundAnswer> {
  const { answers, inFlight, tool } = scenario;
  const share = SHARES[way] ?? 1;
  const isSmall = tool === 'small';
  const calls = Math.ceil((isSmall ? sizes.calls : sizes.largeCalls) * share);
  const warmUpCalls = Math.ceil((isSmall ? sizes.warmUpCalls : sizes.largeCalls / 2) * share);
  const at = { transport: 'http', way, url: `${origin}/${answers}` } as const;
  const round: CallRoundInput = { at, tool, inFlight, calls, warmUpCalls, isProfiled };
  const before = await count(server);
  const answer = await askChild<CallRoundAnswer>('call-round', round);
  const answered = (await count(server)).calls - before.calls;
  if (answered !== calls + warmUpCalls) {
    throw new Error(`${way}: ${answered} of ${calls + warmUpCalls} calls reached the server`);
  }
  return answer;
}

async function profileAll(origin: string): Promise<void> {
  for (const way of ['pool, held lease', 'our transport, SDK client'] as const) {
    for (const answers of ['json', 'sse'] as const) await profile(origin, way, answers);
  }
}

async function profile(origin: string, way: Way, answers: Answers): Promise<void> {
  const scenario: Scenario = { answers, inFlight: 32, tool: 'small' };
  const answer = await measure(origin, scenario, way, true);
  if (answer.profile === undefined) throw new Error('The child recorded no profile');
  const functions = selfTimes(answer.profile);
  const busyMs = functions
    .filter((each) => each.package !== 'idle')
    .reduce((sum, each) => sum + each.selfMs, 0);
  const share = (ms: number) => (100 * ms) / busyMs;
  const packages = packageTimes(functions);
  console.log(`${way}, ${answers}: self time by package, in % of ${busyMs.toFixed(0)} busy ms`);
  printTable(packages.map(([name, ms]) => ({ package: name, ms, '%': share(ms) })));
  const busiest = functions.filter((each) => each.package !== 'idle').slice(0, TOP_FUNCTIONS);
  // Grouped: packages in the order of the first table, in each its functions by self time.
  const rank = new Map(packages.map(([name], index) => [name, index]));
  const place = (name: string): number => rank.get(name) ?? packages.length;
  busiest.sort((a, b) => place(a.package) - place(b.package) || b.selfMs - a.selfMs);
  console.log(`${way}, ${answers}: the ${TOP_FUNCTIONS} functions with most self time`);
  printTable(busiest.map(({ selfMs, ...named }) => ({ ...named, ms: selfMs, '%': share(selfMs) })));
  const file = `calls-${way.replaceAll(/\W+/g, '-')}-${answers}.cpuprofile`;
  saveText(file, JSON.stringify(answer.profile));
  console.log();
}

async function count(of: Child): Promise<PlainServerCounts> {
  of.send('count');
  return (await of.reply()) as PlainServerCounts;
}

/** Starts elsewhere in each round, so that nobody is always first. */
function rotated<T>(values: readonly T[], by: number): T[] {
  const start = by % values.length;
  return [...values.slice(start), ...values.slice(0, start)];
}
