// Plays fuzz episodes one after another for a while and adds up what came of them. Between episodes
// nothing may be left: no handle, and no heap that grows.

import { pause } from './fuzz-client.ts';
import { type Episode, playEpisode } from './fuzz-episode.ts';

/** What came of a run. */
export interface FuzzRun {
  readonly seed: number;
  readonly episodes: number;
  readonly requests: number;
  readonly sends: number;
  readonly messages: number;
  /** Kinds of answers, and how often each was given. */
  readonly answered: ReadonlyMap<string, number>;
  /** How much the heap grew from the first third of the run to its end, in MiB. */
  readonly heapGrowthMiB: number;
  /** What did not hold, each with the seed of its episode. */
  readonly findings: readonly string[];
}

/** How much heap a run may add once it is warm: code, shapes, and what the collector leaves. */
const HEAP_SLACK_MIB = 16;
/** How long the handles of an episode may take to go. */
const HANDLES_GONE_MS = 1_000;
const WATCHED_HANDLES = ['Timeout', 'TCPSocketWrap', 'TCPServerWrap'];

/** Plays the episodes of `seed`, `seed + 1` and so on for `seconds`, or `episodes` of them. */
export async function fuzz(plan: {
  readonly seed: number;
  readonly seconds: number;
  readonly episodes?: number | undefined;
}): Promise<FuzzRun> {
  const { seed, seconds, episodes: limit = Number.POSITIVE_INFINITY } = plan;
  const startedAt = performance.now();
  const passed = (): number => (performance.now() - startedAt) / 1_000;
  const findings: string[] = [];
  const sums = { episodes: 0, requests: 0, sends: 0, messages: 0 };
  const answered = new Map<string, number>();
  let warmHeap: number | undefined;
  while (passed() < seconds && sums.episodes < limit) {
    const handles = countHandles();
    const episode = await playEpisode(seed + sums.episodes);
    const left = await handlesBeyond(handles);
    const all = left === '' ? episode.findings : [...episode.findings, `handles left: ${left}`];
    findings.push(...all.map((what) => `seed=${episode.seed} ${what}`));
    add(sums, answered, episode);
    if (warmHeap === undefined && passed() > seconds / 3) warmHeap = heapMiB();
  }
  const heapGrowthMiB = warmHeap === undefined ? 0 : heapMiB() - warmHeap;
  if (heapGrowthMiB > HEAP_SLACK_MIB) {
    findings.push(`seed=${seed} the heap grew by ${heapGrowthMiB.toFixed(1)} MiB`);
  }
  return { seed, ...sums, answered, heapGrowthMiB, findings };
}

function add(
  sums: { episodes: number; requests: number; sends: number; messages: number },
  answered: Map<string, number>,
  episode: Episode,
): void {
  sums.episodes += 1;
  sums.requests += episode.requests;
  sums.sends += episode.sends;
  sums.messages += episode.messages;
  for (const [kind, count] of episode.answered) {
    answered.set(kind, (answered.get(kind) ?? 0) + count);
  }
}

function heapMiB(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

function countHandles(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (WATCHED_HANDLES.includes(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/** What is there now and was not before, once it had time to go. Empty: nothing. */
async function handlesBeyond(before: ReadonlyMap<string, number>): Promise<string> {
  const deadline = performance.now() + HANDLES_GONE_MS;
  for (;;) {
    const left = [...countHandles()].filter(([kind, count]) => count > (before.get(kind) ?? 0));
    if (left.length === 0) return '';
    if (performance.now() > deadline) return left.map(([kind]) => kind).join(', ');
    await pause(5);
  }
}
