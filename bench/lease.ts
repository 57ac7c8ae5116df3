// Leases of real sessions, over HTTP to the SDK's own server: CPU per lease, and the latency of a
// call through the pool beside that of a session for each call.

import type { LeaseRoundInput } from './children/lease-round.ts';
import type { Latencies, ReuseRoundInput } from './children/reuse-round.ts';
import { askChild, startChild } from './support/child.ts';
import { median } from './support/measure.ts';
import { parameters } from './support/parameters.ts';
import { printHeader, printTable, saveJson } from './support/report.ts';

const sizes = parameters({ rounds: 5, leases: 20_000, calls: 300 });

printHeader('leases of real sessions', sizes);
const cpu: number[] = [];
const fresh: Latencies[] = [];
const pooled: Latencies[] = [];
for (let round = 0; round < sizes.rounds; round += 1) {
  await withServer(async (url) => {
    const lease: LeaseRoundInput = { url, leases: sizes.leases };
    cpu.push((await askChild<{ microseconds: number }>('lease-round', lease)).microseconds);
    const reuse: ReuseRoundInput = { url, calls: sizes.calls };
    const answer = await askChild<{ fresh: Latencies; pooled: Latencies }>('reuse-round', reuse);
    fresh.push(answer.fresh);
    pooled.push(answer.pooled);
  });
}
console.log('acquire, client, release: CPU per lease');
printTable([{ 'µs CPU': median(cpu), best: Math.min(...cpu), worst: Math.max(...cpu) }]);
console.log('one tool call after another');
const rows = [
  { way: 'a session per call', ...latency(fresh) },
  { way: 'through the pool', ...latency(pooled) },
];
printTable(rows);
const times = (rows[0]?.['p50 ms'] ?? 0) / (rows[1]?.['p50 ms'] ?? 1);
console.log(`a call through the pool is ${times.toFixed(1)} times as fast\n`);
saveJson('lease', { sizes, cpuMicrosecondsPerLease: cpu, rows, times });

async function withServer(work: (url: string) => Promise<void>): Promise<void> {
  const server = startChild('sdk-server', null);
  try {
    const { port } = (await server.reply()) as { port: number };
    await work(`http://127.0.0.1:${port}/mcp`);
  } finally {
    await server.stop();
  }
}

function latency(rounds: readonly Latencies[]) {
  const sorted = rounds.flatMap((each) => each.eachMs).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
  return {
    'p50 ms': at(0.5),
    'p90 ms': at(0.9),
    'p99 ms': at(0.99),
    'CPU ms per call': median(rounds.map((each) => each.cpuMsPerCall)),
  };
}
