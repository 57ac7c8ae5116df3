// Act 2: 500 real sessions, each with a call that never ends and a notification stream, on a server
// that never answers a DELETE. The pool closes them all.

import { type Lease, SessionPool, SessionPoolError } from 'mcp-session-pool';
import { closeVisibly, MAX_CLOSE_MS, MAX_CPU_PERCENT, watchCpu } from './closing.ts';
import { heading, ms, say, sleep, type Verdict } from './page.ts';
import type { DemoServer } from './server-process.ts';

const USERS = 10;
const SESSIONS_PER_USER = 50;
const SESSIONS: number = USERS * SESSIONS_PER_USER;
const STREAMS_OPEN_LIMIT_MS = 10_000;

export async function closeHungSessions(server: DemoServer, verdict: Verdict): Promise<void> {
  heading(`2. ${SESSIONS} real sessions: calls that never end, a DELETE that is never answered`);
  const openingAt = performance.now();
  const pool = new SessionPool({ maxSessionsPerKey: SESSIONS_PER_USER });
  const leases = await openAll(pool, server);
  const calls = leases.map((lease) => hangingCall(lease));
  const open = await allHang(server);
  const streams = `${open.openAnswers} streams hang on ${open.openSockets} sockets`;
  say(`opened in ${ms(performance.now() - openingAt)}; ${streams}; now close():`);

  const report = await closeVisibly(pool);
  const rejected = (await settledSoon(calls)).filter((code) => code === 'SESSION_LOST').length;
  say(`calls in flight that were rejected with SESSION_LOST: ${rejected}`);
  // Sockets that were cut a moment ago may still be on the server's list.
  await sleep(100);
  const atClose = await server.report();
  const cpu = await watchCpu();
  const { openSockets, requests } = await server.report();
  const late = requests - atClose.requests;
  say(`sockets left on the server: ${openSockets}; requests that reached it meanwhile: ${late}`);

  const isBounded = report.durationMs <= MAX_CLOSE_MS;
  verdict.note('P1 bounded', isBounded, `${SESSIONS} sessions closed in ${ms(report.durationMs)}`);
  const isQuiet = openSockets === 0 && late === 0 && cpu <= MAX_CPU_PERCENT;
  const found = `${openSockets} sockets, ${late} requests, ${cpu.toFixed(2)} % CPU after close`;
  verdict.note('P2 quiet', isQuiet, found);
  const { sessions, closed, unterminated, abandoned } = report;
  const counts = `${closed} closed (${unterminated} unterminated) + ${abandoned} abandoned`;
  const isHonest =
    sessions === SESSIONS &&
    closed + abandoned === SESSIONS &&
    unterminated === SESSIONS &&
    rejected === SESSIONS;
  verdict.note('P8 honest', isHonest, `${counts}; ${rejected} calls told`);
}

function openAll(pool: SessionPool, { hostileUrl }: DemoServer): Promise<Lease[]> {
  const targets = Array.from({ length: SESSIONS }, (_, index) => ({
    url: hostileUrl,
    identity: `user-${index % USERS}`,
    notifications: true,
  }));
  return Promise.all(targets.map((target) => pool.acquire(target)));
}

/** Settles with the code of the error that the call ends with. */
async function hangingCall({ client }: Lease): Promise<string> {
  try {
    await client.callTool({ name: 'hang' });
    return 'answered';
  } catch (error) {
    return SessionPoolError.is(error) ? error.code : String(error);
  }
}

/** Waits until the server holds a hung call and a notification stream of every session. */
async function allHang(server: DemoServer): Promise<{ openAnswers: number; openSockets: number }> {
  const deadline = performance.now() + STREAMS_OPEN_LIMIT_MS;
  for (;;) {
    const report = await server.report();
    if (report.openAnswers >= SESSIONS * 2) return report;
    if (performance.now() > deadline) throw new Error(`Only ${report.openAnswers} streams hang`);
    await sleep(50);
  }
}

/** What has settled once `close()` has: nobody is to wait any longer. */
function settledSoon(calls: readonly Promise<string>[]): Promise<string[]> {
  const nothing = sleep(100).then(() => 'pending');
  return Promise.all(calls.map((call) => Promise.race([call, nothing])));
}
