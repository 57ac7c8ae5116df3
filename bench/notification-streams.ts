// What idle sessions cost whose server ends each notification stream (GET) at once and asks for the
// next without delay: `retry: 0`, or `retry: 3000000000`, which Node's timers turn into 1 ms.
// Through the pool, and beside it on the SDK's bare transport. Row 3 and 3b of the hazards. `idle`
// takes one figure of the same thing: CPU late in the window, beside a single session of the SDK.

import { median } from './support/measure.ts';
import { measureParts, type NotificationSetting, type Part } from './support/notification-parts.ts';
import { parameters } from './support/parameters.ts';
import { printHeader, printTable, saveJson } from './support/report.ts';

/** The window of the pool is looked at in parts; that of the SDK is two of them. */
const sizes = parameters({ parts: 20, partMs: 15_000, sessions: 100, sdkSessions: 10 });
/** From when on the streams are to be few and CPU to be next to none. */
const SETTLED_AFTER_MS = 60_000;
/** At most one GET per second and session, less what timers fire early. */
const FLOOR_MS = 980;
/** Promised: % of a core after the first minute. */
const MAX_CPU_PERCENT = 2;

interface Setting extends NotificationSetting {
  readonly name: string;
}

const settings: readonly Setting[] = (['pool', 'sdk'] as const).flatMap((way) =>
  [0, 3_000_000_000].map((retryMs) => ({
    name: `${way === 'pool' ? 'mcp-session-pool' : 'SDK transport'}, retry: ${retryMs}`,
    way,
    retryMs,
    sessions: way === 'pool' ? sizes.sessions : sizes.sdkSessions,
    partsMs: Array.from({ length: way === 'pool' ? sizes.parts : 2 }, () => sizes.partMs),
  })),
);

printHeader('idle sessions whose server ends their notification streams', sizes);
const rows: { readonly setting: Setting; readonly parts: readonly Part[] }[] = [];
for (const setting of settings) {
  const seconds = (setting.partsMs.length * sizes.partMs) / 1_000;
  console.log(`${setting.name}: ${setting.sessions} sessions for ${seconds} s`);
  rows.push({ setting, parts: await measureParts(setting) });
}
console.log();
printTable(rows.map(({ setting, parts }) => summary(setting, parts)));
const isKept = rows.every(({ setting, parts }) => setting.way === 'sdk' || keepsPromise(parts));
console.log(
  'the pool: one GET per second and session at most, few after a minute, next to no CPU:',
);
console.log(isKept ? 'held' : 'BROKEN');
saveJson('notification-streams', { sizes, isKept, rows });
process.exitCode = isKept ? 0 : 1;

/** The parts after the first minute; of a shorter window, none. */
function settled(parts: readonly Part[]): readonly Part[] {
  return parts.slice(Math.ceil(SETTLED_AFTER_MS / sizes.partMs));
}

function keepsPromise(parts: readonly Part[]): boolean {
  const isSpaced = parts.every(({ shortestGapMs }) => (shortestGapMs ?? FLOOR_MS) >= FLOOR_MS);
  // At most one GET a part and session: those that wait for the five minutes that a `retry` is
  // clamped to all ask again together.
  const rate = (sizes.sessions / sizes.partMs) * 1_000;
  const isQuiet = settled(parts).every(
    ({ cpuPercent, getsPerSecond }) => cpuPercent <= MAX_CPU_PERCENT && getsPerSecond <= rate,
  );
  return isSpaced && isQuiet;
}

function summary({ name, sessions }: Setting, parts: readonly Part[]) {
  const [first, last] = [parts[0], parts.at(-1)];
  const cpu = settled(parts).map(({ cpuPercent }) => cpuPercent);
  const gaps = parts.flatMap(({ shortestGapMs }) => shortestGapMs ?? []);
  return {
    setting: name,
    sessions,
    'GETs/s first': first?.getsPerSecond,
    'GETs/s last': last?.getsPerSecond,
    'shortest gap ms': gaps.length > 0 ? Math.min(...gaps) : undefined,
    'CPU % first': first?.cpuPercent,
    'CPU % last': last?.cpuPercent,
    'CPU % after a minute': cpu.length > 0 ? median(cpu) : undefined,
  };
}
