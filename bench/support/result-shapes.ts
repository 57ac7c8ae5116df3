// Whether benches wrote what they should: every row there, every figure a number that can be. For
// `smoke.ts`; how good the figures are, nobody judges here.

import { equal, match, ok } from 'node:assert/strict';
import type { IdleHeapAnswer } from '../children/idle-heap-round.ts';
import type { CallRow } from './call-report.ts';
import { SCENARIOS } from './call-scenarios.ts';
import { WAYS } from './callers.ts';
import { STDIO_WAYS } from './stdio-callers.ts';
import { STDIO_SCENARIOS, type StdioCallRow } from './stdio-calls.ts';

export function checkCalls(result: unknown): void {
  const { rows, stdio, verdicts, sessionsLeft } = result as {
    rows: readonly CallRow[];
    stdio: readonly StdioCallRow[];
    verdicts: readonly string[];
    sessionsLeft: number;
  };
  equal(rows.length, SCENARIOS.length * WAYS.length);
  equal(stdio.length, STDIO_SCENARIOS.length * STDIO_WAYS.length);
  for (const { way, rounds } of [...rows, ...stdio]) {
    ok(rounds.length > 0, `${way}: no rounds`);
    for (const { cpuMicroseconds, p50Ms, p99Ms } of rounds) {
      for (const figure of [cpuMicroseconds, p50Ms]) ok(figure > 0, `${way}: ${figure}`);
      ok(p99Ms >= p50Ms, `${way}: p99 ${p99Ms} ms below p50 ${p50Ms} ms`);
    }
  }
  equal(sessionsLeft, 0);
  checkVerdicts(verdicts);
}

export function checkIdle(result: unknown): void {
  const { memory, streams, verdicts } = result as {
    memory: readonly {
      readonly name: string;
      readonly listens: boolean;
      readonly sessions: number;
      readonly rounds: readonly (IdleHeapAnswer & { readonly sockets: number })[];
    }[];
    streams: readonly { readonly name: string; readonly part: { readonly cpuPercent: number } }[];
    verdicts: readonly string[];
  };
  equal(memory.length, 8);
  for (const { name, listens, sessions, rounds } of memory) {
    ok(rounds.length > 0, `${name}: no rounds`);
    for (const { heapBytesPerSession, sockets } of rounds) {
      ok(Number.isFinite(heapBytesPerSession), `${name}: ${heapBytesPerSession} bytes`);
      if (listens) ok(sockets >= sessions, `${name}: ${sockets} sockets for ${sessions} streams`);
    }
  }
  equal(streams.length, 2);
  for (const { name, part } of streams) ok(part.cpuPercent >= 0, `${name}: ${part.cpuPercent} %`);
  checkVerdicts(verdicts);
}

function checkVerdicts(lines: readonly string[]): void {
  equal(lines.length, 3);
  for (const line of lines) match(line, /target [≤≥] \d+: (?:reached|MISSED)/);
  ok(!lines.join().includes('NaN'), `A verdict has no figure: ${lines.join('; ')}`);
}
