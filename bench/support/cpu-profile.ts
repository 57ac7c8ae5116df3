// Records where the CPU goes while some work runs, as V8's `.cpuprofile` (what `node --cpu-prof`
// writes, without the start of the process), and sums it up by function and by package.

import { Session } from 'node:inspector/promises';

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  /** From 0; -1 where there is no source. */
  readonly lineNumber: number;
}

/** The part of a `.cpuprofile` that is read here. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: CallFrame;
  }[];
  readonly startTime: number;
  readonly endTime: number;
  readonly samples?: readonly number[] | undefined;
  /** Microseconds before each sample. */
  readonly timeDeltas?: readonly number[] | undefined;
}

export interface FunctionTime {
  readonly package: string;
  readonly name: string;
  /** File and line. */
  readonly at: string;
  readonly selfMs: number;
}

const SAMPLING_MICROSECONDS = 250;

export async function recordProfile(work: () => Promise<void>): Promise<CpuProfile> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: SAMPLING_MICROSECONDS });
    await session.post('Profiler.start');
    await work();
    const { profile } = await session.post('Profiler.stop');
    return profile;
  } finally {
    session.disconnect();
  }
}

/** Self time of every function, the longest first. `idle` is among them. */
export function selfTimes(profile: CpuProfile): FunctionTime[] {
  const { samples = [], timeDeltas = [] } = profile;
  const byNode = new Map<number, number>();
  for (const [index, node] of samples.entries()) {
    // A sample stands for the time until the next one.
    const microseconds = timeDeltas[index + 1] ?? 0;
    byNode.set(node, (byNode.get(node) ?? 0) + microseconds);
  }
  const byFunction = new Map<string, FunctionTime>();
  for (const { id, callFrame } of profile.nodes) {
    const { functionName, url, lineNumber } = callFrame;
    const name = functionName === '' ? '(anonymous)' : functionName;
    const at = url === '' || url.startsWith('wasm:') ? '' : `${fileOf(url)}:${lineNumber + 1}`;
    const key = `${name} ${url}:${lineNumber}`;
    const selfMs = (byFunction.get(key)?.selfMs ?? 0) + (byNode.get(id) ?? 0) / 1_000;
    byFunction.set(key, { package: packageOf(callFrame), name, at, selfMs });
  }
  return [...byFunction.values()].sort((a, b) => b.selfMs - a.selfMs);
}

/** Self time of every package, the longest first. `idle` is among them. */
export function packageTimes(functions: readonly FunctionTime[]): [string, number][] {
  const sums = new Map<string, number>();
  for (const each of functions) {
    sums.set(each.package, (sums.get(each.package) ?? 0) + each.selfMs);
  }
  return [...sums].sort(([, a], [, b]) => b - a);
}

/** What V8 itself does, by the names that it gives it. `(program)` is native code: system calls. */
const PSEUDO_FUNCTIONS: ReadonlyMap<string, string> = new Map([
  ['(idle)', 'idle'],
  ['(garbage collector)', 'gc'],
  ['(program)', 'native'],
  ['(root)', 'native'],
]);

const ours = new URL('.', import.meta.resolve('mcp-session-pool')).href;
const bench = new URL('../', import.meta.url).href;

function packageOf({ functionName, url, lineNumber }: CallFrame): string {
  const pseudo = PSEUDO_FUNCTIONS.get(functionName);
  if (pseudo !== undefined) return pseudo;
  // What `new Function` made, as zod does it, has lines; what V8 brings has none.
  if (url === '') return lineNumber < 0 ? 'native' : 'generated code';
  if (url.startsWith('wasm:')) return 'llhttp (wasm)';
  if (url.startsWith('node:internal/deps/undici')) return "undici (Node's own)";
  if (url.startsWith('node:')) return 'node';
  const installed = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url);
  if (installed) return installed[1] ?? url;
  if (url.startsWith(ours)) return 'mcp-session-pool';
  return url.startsWith(bench) ? 'the bench' : 'other';
}

const fileOf = (url: string): string => url.slice(url.lastIndexOf('/') + 1);
