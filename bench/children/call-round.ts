// Calls a tool over and over in one way, and says what a call costs this process and how long it
// took; or, asked for a profile, where the time went. Every result is checked.

import { checkResult, type Tool } from '../support/call-texts.ts';
import { callers, type Way } from '../support/callers.ts';
import { childInput, tellParent } from '../support/child.ts';
import { type CpuProfile, recordProfile } from '../support/cpu-profile.ts';
import { cpuNanoseconds } from '../support/measure.ts';
import { percentile } from '../support/percentile.ts';
import { type StdioWay, stdioCallers } from '../support/stdio-callers.ts';

export interface CallRoundInput {
  readonly at:
    | { readonly transport: 'http'; readonly way: Way; readonly url: string }
    | { readonly transport: 'stdio'; readonly way: StdioWay };
  readonly tool: Tool;
  readonly inFlight: number;
  readonly calls: number;
  /** Calls before the measured ones. */
  readonly warmUpCalls: number;
  readonly isProfiled: boolean;
}

export interface CallRoundAnswer {
  readonly cpuMicroseconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Warnings of the process, of listeners that pile up and the like. */
  readonly warnings: number;
  readonly profile?: CpuProfile;
}

const input = childInput<CallRoundInput>();
const { at, tool, inFlight, calls } = input;
const caller = await (at.transport === 'http' ? callers[at.way](at.url) : stdioCallers[at.way]());
let lastCall = 0;
let warnings = 0;
// Counted only: to print thousands would cost more than the calls.
process.removeAllListeners('warning');
process.on('warning', () => {
  warnings += 1;
});

await run(input.warmUpCalls);
globalThis.gc?.();
const answer = input.isProfiled ? await profile() : await measure();
await caller.close();
await tellParent(answer);

async function measure(): Promise<CallRoundAnswer> {
  const before = cpuNanoseconds();
  const eachMs = await run(calls);
  const cpuMicroseconds = (cpuNanoseconds() - before) / 1_000 / calls;
  eachMs.sort();
  const [p50Ms, p99Ms] = [percentile(eachMs, 0.5), percentile(eachMs, 0.99)];
  return { cpuMicroseconds, p50Ms, p99Ms, warnings };
}

async function profile(): Promise<CallRoundAnswer> {
  const recorded: CallRoundAnswer[] = [];
  const found = await recordProfile(async () => {
    recorded.push(await measure());
  });
  return { ...recorded[0]!, profile: found };
}

/** Makes `count` calls, as many as may be in flight at once; how long each took. */
async function run(count: number): Promise<Float64Array> {
  const eachMs = new Float64Array(count);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < count) {
      const index = next;
      next += 1;
      lastCall += 1;
      const n = lastCall;
      const startedAt = performance.now();
      const result = await caller.call(tool, n);
      eachMs[index] = performance.now() - startedAt;
      checkResult(result, tool, n);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, work));
  return eachMs;
}
