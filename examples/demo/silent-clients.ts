// Act 3: clients that never acknowledge a close, as after the bug this library answers. No network:
// a connector of our own hands them out. The pool gives up on them at its deadline, and says so.

import { type Connection, type PoolEvent, SessionPool } from 'mcp-session-pool';
import { closeVisibly, MAX_CLOSE_MS, MAX_CPU_PERCENT, watchCpu } from './closing.ts';
import { heading, ms, say, type Verdict } from './page.ts';

const SESSIONS = 500;

interface SilentClient {
  read(): Promise<never>;
  close(): Promise<void>;
}

export async function abandonSilentClients(verdict: Verdict): Promise<void> {
  heading(`3. ${SESSIONS} fake clients that never acknowledge a close`);
  const closeCalls: number[] = [];
  const abandonedEvents: PoolEvent[] = [];
  const pool = new SessionPool<SilentClient>({
    connector: async () => silentConnection(closeCalls),
    maxSessionsPerKey: SESSIONS,
    onEvent: (event) => {
      if (event.type === 'session-abandoned') abandonedEvents.push(event);
    },
  });
  const target = { url: 'http://127.0.0.1:9/never-contacted', identity: 'demo' };
  const acquires = Array.from({ length: SESSIONS }, () => pool.acquire(target));
  for (const lease of await Promise.all(acquires)) void lease.client.read();
  say('every client blocks in a read; now close():');

  const report = await closeVisibly(pool);
  const cpu = await watchCpu();
  const once = closeCalls.length === SESSIONS * 2 && closeCalls.every((calls) => calls === 1);
  say(`close() of each client and transport was called ${once ? 'exactly once' : 'NOT once'}`);

  const isBounded = report.durationMs <= MAX_CLOSE_MS;
  verdict.note('P1 bounded', isBounded, `${SESSIONS} abandoned after ${ms(report.durationMs)}`);
  const isQuiet = cpu <= MAX_CPU_PERCENT && once;
  verdict.note('P2 quiet', isQuiet, `${cpu.toFixed(2)} % CPU afterwards, each closed once`);
  const { sessions, abandoned } = report;
  const told = abandonedEvents.length;
  const isHonest = sessions === SESSIONS && abandoned === SESSIONS && told === SESSIONS;
  verdict.note('P8 honest', isHonest, `${abandoned} abandoned, ${told} events say so`);
}

/** `closeCalls` gets one entry each for the client and the transport: how often it was closed. */
function silentConnection(closeCalls: number[]): Connection<SilentClient> {
  const peer = (): { close(): Promise<void> } => {
    let index: number | undefined;
    return {
      close: () => {
        index ??= closeCalls.push(0) - 1;
        closeCalls[index] = (closeCalls[index] ?? 0) + 1;
        return new Promise(() => {});
      },
    };
  };
  return { client: { ...peer(), read: () => new Promise(() => {}) }, transport: peer() };
}
