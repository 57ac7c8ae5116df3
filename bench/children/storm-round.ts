// The client of the storm: lets a crowd loose on a server, is cut off in the middle, watches its own
// CPU while that dies down, closes, and counts what is left. A first, shorter round warms the
// process up, so that what is left of the second is not code that was compiled in between. The
// parent has the server: it starts one when asked, and is told when to end it.

import { getEventListeners } from 'node:events';
import type { CloseReport } from 'mcp-session-pool';
import { childInput, parentSays, tellParent } from '../support/child.ts';
import { type CpuSample, CpuWatch } from '../support/cpu-watch.ts';
import { handlesLeft, heapBytes, sleep } from '../support/measure.ts';
import { Crowd, type TurnCounts } from '../support/storm-users.ts';
import {
  type Gateway,
  gateways,
  type PoolBooks,
  type StormLimits,
  type StormWay,
} from '../support/storm-ways.ts';

/** What is cut off. `comeback`: the server, which comes back, and the users go on all the while. */
export type Cut = 'abort' | 'kill' | 'both' | 'comeback';

export interface StormRoundInput extends StormLimits {
  readonly way: StormWay;
  readonly cut: Cut;
  readonly users: number;
  readonly thinkMs: number;
  readonly loadMs: number;
  /** How long the users go on once the server is back, at least. */
  readonly comebackMs: number;
  /** How long a warm-up takes; 0: none. */
  readonly warmUpMs: number;
}

export type StormMessage =
  | { readonly type: 'server' | 'cut' | 'closed' }
  | { readonly type: 'done'; readonly answer: StormRoundAnswer };

/** One round. Times are in milliseconds from the moment that the load ended. */
export interface StormRound {
  readonly turns: TurnCounts;
  /** Answered per second, until the cut. */
  readonly rate: number;
  /** When the last user had its answer or error. `undefined`: not all had. */
  readonly settledMs: number | undefined;
  readonly samples: readonly CpuSample[];
  readonly cutAtMs: number;
  readonly loadEndedAtMs: number;
  /** How long the event loop was held by the turn in which everybody aborted. */
  readonly cutTurnMs: number;
  /** When `pool.close()` was called, on the clock of the samples. */
  readonly closedAtMs: number;
  readonly closeMs: number;
  readonly report?: CloseReport | undefined;
  readonly books?: PoolBooks | undefined;
  /** From when the server listens again: the first answer of any key, and of the last one. */
  readonly comeback?: { readonly firstMs: number; readonly lastMs: number } | undefined;
  /** Listeners that are left on the users' signals. */
  readonly signalListeners: number;
}

export interface StormRoundAnswer extends StormRound {
  readonly heapBefore: number;
  readonly heapAfter: number;
  readonly handles: Record<string, number>;
  /** Listeners on the process that were not there before. */
  readonly processListeners: number;
  readonly warnings: readonly string[];
}

/** What has not settled by then never will. */
const SETTLE_LIMIT_MS = 20_000;
/** After the last promise about CPU, so that it is seen to hold. */
const QUIET_MS = 2_000;

const input = childInput<StormRoundInput>();
const warnings: string[] = [];
process.on('warning', (warning) => warnings.push(`${warning.name}: ${warning.message}`));

if (input.warmUpMs > 0) await runRound(input.warmUpMs, 0);
const listenersBefore = processListeners();
const heapBefore = await heapBytes();
const round = await runRound(input.loadMs, QUIET_MS);
const heapAfter = await heapBytes();
const answer: StormRoundAnswer = {
  ...round,
  heapBefore,
  heapAfter,
  handles: handlesLeft(),
  processListeners: processListeners() - listenersBefore,
  warnings: [...new Set(warnings)],
};
await tell({ type: 'done', answer });

async function runRound(loadMs: number, quietMs: number): Promise<StormRound> {
  const { users, keys, thinkMs, cut, closeTimeoutMs } = input;
  const { url } = (await ask({ type: 'server' })) as { url: string };
  const gateway = await gateways[input.way](url, input);
  const { turn, leave, look } = gateway;
  const watch = new CpuWatch(look);
  const crowd = new Crowd({ users, keys, thinkMs, turn, leave });
  await sleep(loadMs);
  const rate = (crowd.answered / loadMs) * 1_000;
  const cutAtMs = watch.nowMs();
  const comeback = await cutOff(crowd, cut);
  const loadEndedAtMs = comeback ? watch.nowMs() : cutAtMs;
  const cutTurnMs = watch.nowMs() - loadEndedAtMs;
  const isGone = await Promise.race([crowd.gone().then(() => true), limit(SETTLE_LIMIT_MS)]);
  const settledMs = isGone ? watch.nowMs() - loadEndedAtMs : undefined;
  const restsAtMs = loadEndedAtMs + (quietMs > 0 ? closeTimeoutMs + quietMs : 0);
  await sleep(Math.max(0, restsAtMs - watch.nowMs()));
  const closedAtMs = watch.nowMs();
  const closed = await close(gateway);
  await sleep(quietMs);
  watch.stop();
  await ask({ type: 'closed' });
  return {
    turns: countsOf(crowd),
    rate,
    settledMs,
    samples: watch.samples,
    cutAtMs,
    loadEndedAtMs,
    cutTurnMs,
    closedAtMs,
    ...closed,
    comeback,
    books: gateway.books(),
    signalListeners: listenersOn(crowd.signals),
  };
}

/** Cuts the load off, or the server for a while. */
async function cutOff(crowd: Crowd, cut: Cut): Promise<StormRound['comeback']> {
  if (cut === 'comeback') {
    await ask({ type: 'cut' });
    const backAt = performance.now();
    crowd.firstAnswers.clear();
    await sleep(input.comebackMs);
    // Being slow is no fault: they go on until every key was answered again, or never will be.
    const giveUpAt = backAt + SETTLE_LIMIT_MS;
    while (crowd.answersSince(backAt).lastMs === Number.POSITIVE_INFINITY) {
      if (performance.now() > giveUpAt) break;
      await sleep(100);
    }
    crowd.stop();
    await Promise.race([crowd.gone(), limit(SETTLE_LIMIT_MS)]);
    return crowd.answersSince(backAt);
  }
  if (cut !== 'abort') void tell({ type: 'cut' });
  crowd.stop();
  if (cut !== 'kill') crowd.abort();
  return undefined;
}

async function close(gateway: Gateway): Promise<Pick<StormRound, 'closeMs' | 'report'>> {
  const startedAt = performance.now();
  const report = await gateway.close();
  return { closeMs: performance.now() - startedAt, report };
}

function countsOf({ begun, settled, failed, wrong }: Crowd): TurnCounts {
  return { begun, settled, failed, wrong: wrong.slice(0, 10) };
}

async function limit(ms: number): Promise<false> {
  await new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
  return false;
}

function listenersOn(signals: readonly AbortSignal[]): number {
  return signals.reduce((count, signal) => count + getEventListeners(signal, 'abort').length, 0);
}

function processListeners(): number {
  return process.eventNames().reduce((count, name) => count + process.listenerCount(name), 0);
}

function tell(message: StormMessage): Promise<void> {
  return tellParent(message);
}

async function ask(message: StormMessage): Promise<unknown> {
  const answered = parentSays();
  await tell(message);
  return answered;
}
