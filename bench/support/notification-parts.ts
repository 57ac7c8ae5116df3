// What idle sessions cost over time whose server ends each notification stream (GET) at once: part
// by part, the CPU of the process that holds them and the GETs that reach the server.

import type { FlapCounts } from '../children/flapping-server.ts';
import type { NotificationRoundInput } from '../children/notification-round.ts';
import { type Child, startChild } from './child.ts';

/** Beyond the parts: for opening the sessions, calling on each, closing them. */
const GRACE_MS = 120_000;

export interface Part {
  readonly cpuPercent: number;
  readonly getsPerSecond: number;
  readonly shortestGapMs: number | null;
}

export interface NotificationSetting {
  readonly way: 'pool' | 'sdk';
  /** What the server asks for as the delay of the next stream. */
  readonly retryMs: number;
  readonly sessions: number;
  /** How long each part is, from the moment that all are open. */
  readonly partsMs: readonly number[];
}

/** Throws when the sessions do not work afterwards. */
export async function measureParts(setting: NotificationSetting): Promise<Part[]> {
  const { retryMs, ...round } = setting;
  const limitMs = setting.partsMs.reduce((sum, partMs) => sum + partMs, GRACE_MS);
  const server = startChild('flapping-server', { retryMs }, limitMs);
  try {
    const { port } = (await server.reply()) as { port: number };
    const input: NotificationRoundInput = { ...round, url: `http://127.0.0.1:${port}/mcp` };
    const child = startChild('notification-round', input, limitMs);
    try {
      return await watch(input, server, child);
    } finally {
      await child.stop();
    }
  } finally {
    await server.stop();
  }
}

async function watch(input: NotificationRoundInput, server: Child, child: Child): Promise<Part[]> {
  await child.reply();
  let before = await count(server);
  const parts: Part[] = [];
  for (const partMs of input.partsMs) {
    const { cpuPercent } = (await child.reply()) as { cpuPercent: number };
    const { gets, shortestGapMs } = await count(server);
    const getsPerSecond = ((gets - before.gets) / partMs) * 1_000;
    parts.push({ cpuPercent, getsPerSecond, shortestGapMs });
    before = { gets, shortestGapMs };
  }
  if ((await child.reply()) !== 'called') throw new Error('The sessions did not work any more');
  return parts;
}

async function count(server: Child): Promise<FlapCounts> {
  server.send('count');
  return (await server.reply()) as FlapCounts;
}
