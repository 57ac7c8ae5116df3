// Thousands of users on one server, cut off in the middle: the callers abort, the server is killed,
// or both. Then: does every acquire settle, does the CPU come to rest, is anything left? Through the
// pool, and beside it on the SDK's client and transport without a pool. In a last round the server
// comes back and the users go on.

import type {
  Cut,
  StormMessage,
  StormRoundAnswer,
  StormRoundInput,
} from './children/storm-round.ts';
import type { StormServerCounts } from './children/storm-server.ts';
import { type Child, startChild } from './support/child.ts';
import { sleep } from './support/measure.ts';
import { parameters } from './support/parameters.ts';
import { printHeader, saveJson, saveText } from './support/report.ts';
import {
  brokenPromises,
  CUTS,
  drawStorm,
  printStorm,
  type StormRow,
} from './support/storm-report.ts';
import { StormServerHost } from './support/storm-server-host.ts';
import { STORM_WAYS, type StormWay } from './support/storm-ways.ts';

const sizes = parameters({
  users: 2_000,
  keys: 20,
  seconds: 8,
  thinkMs: 8_000,
  acquireTimeoutMs: 2_000,
  callTimeoutMs: 10_000,
  closeTimeoutMs: 5_000,
  outageMs: 1_000,
  comebackSeconds: 6,
});
/** Longer than any part may take; what hangs is killed. */
const LIMIT_MS = 90_000;
const EXIT_LIMIT_MS = 5_000;
/** At least, however small the load: after it the heap of a process at work no longer grows. */
const WARM_UP_MS = 2_000;

const CUT_OFF: readonly Cut[] = ['abort', 'kill', 'both'];
const plan: readonly { readonly way: StormWay; readonly cut: Cut }[] = [
  ...CUT_OFF.flatMap((cut) => STORM_WAYS.map((way) => ({ way, cut }))),
  { way: 'mcp-session-pool', cut: 'comeback' },
];

printHeader('storm', sizes);
const rows: StormRow[] = [];
for (const { way, cut } of plan) {
  const row = await measure(way, cut);
  rows.push(row);
  const seconds = (row.answer.samples.at(-1)?.atMs ?? 0) / 1_000;
  console.log(`${CUTS[cut]}, ${way}: done after ${seconds.toFixed(1)} s`);
}
console.log();
printStorm(rows);
const broken = rows
  .filter(({ way }) => way === 'mcp-session-pool')
  .flatMap((row) => brokenPromises(row, sizes));
console.log('every acquire settled, caps held, the CPU came to rest, nothing was left:');
console.log(broken.length === 0 ? 'held in every round\n' : `BROKEN:\n${broken.join('\n')}\n`);
saveJson('storm', { sizes, broken, rows });
saveText('storm.svg', await drawStorm(rows, sizes.users));
process.exitCode = broken.length === 0 ? 0 : 1;

async function measure(way: StormWay, cut: Cut): Promise<StormRow> {
  const host = new StormServerHost();
  const { seconds, comebackSeconds, outageMs: _, ...limits } = sizes;
  const input: StormRoundInput = {
    ...limits,
    way,
    cut,
    loadMs: seconds * 1_000,
    comebackMs: comebackSeconds * 1_000,
    // Of the others no heap is promised.
    warmUpMs: way === 'mcp-session-pool' ? Math.max(WARM_UP_MS, (seconds * 1_000) / 3) : 0,
  };
  const child = startChild('storm-round', input, LIMIT_MS);
  try {
    const { answer, server } = await serve(child, host, cut);
    return { way, cut, answer, server, exitMs: await child.exited(EXIT_LIMIT_MS) };
  } finally {
    await child.stop();
    await host.end();
  }
}

/** Does what the child asks for, until it is done. */
async function serve(
  child: Child,
  host: StormServerHost,
  cut: Cut,
): Promise<{ answer: StormRoundAnswer; server: StormServerCounts | undefined }> {
  let server: StormServerCounts | undefined;
  for (;;) {
    const message = (await child.reply()) as StormMessage;
    switch (message.type) {
      case 'server':
        child.send({ url: await host.start(0) });
        break;
      case 'cut':
        await host.end();
        if (cut !== 'comeback') break;
        await sleep(sizes.outageMs);
        child.send({ url: await host.start(host.port) });
        break;
      case 'closed':
        server = await host.counts();
        child.send('counted');
        break;
      case 'done':
        return { answer: message.answer, server };
      default:
        message satisfies never;
    }
  }
}
