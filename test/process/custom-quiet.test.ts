// Whole processes that close pools over the SDK's own transport, set to reconnect for ever: idle
// afterwards, and gone when they may (promise P2; rows 4, 5 and 10b of the hazards). The bare SDK
// takes 48-106 % of a core there, and does not end.

import { expect, test } from 'vitest';
import { runChild, startChild } from '../support/child-process.ts';
import {
  answerInitialize,
  beginEvents,
  type RawExchange,
  speakMcp,
  startRawServer,
  until,
} from '../support/raw-server.ts';

/** Of a core. An idle process takes a fifth of a percent; one in a hot loop half a core and more. */
const CPU_SHARE = 0.1;
/** In two seconds. A hot loop of failing fetches makes tens of thousands. */
const SWITCHES = 500;
/** What a process may still take to end. */
const AT_ONCE_MS = 2_000;
const SESSIONS = 20;
/** For a child to start and to open its sessions, on a busy machine. */
const START_MS = 15_000;
const TEST = { timeout: 40_000 };

// Row 4.
test('a process is idle after the close of 20 sessions whose reconnects hang', TEST, async () => {
  const seen = new Set<unknown>();
  const server = await startRawServer(
    speakMcp({
      initialize: (exchange) => answerInitialize(exchange, `session-${exchange.count}`),
      GET: (exchange) => {
        const session = exchange.headers['mcp-session-id'];
        if (!seen.has(session)) beginEvents(exchange, 'retry: 0\n\n').end();
        seen.add(session);
      },
      'tools/call': (exchange) => void beginEvents(exchange),
    }),
  );
  const { child, ended } = startChild('custom-quiet', 'hung', server.url.href);
  await until(
    () => server.count('GET') === 2 * SESSIONS && server.pending === 2 * SESSIONS,
    START_MS,
  );
  child.send('close');
  const { code, facts, stderr } = await ended;
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(facts).toMatchObject({ askedAfter: 0, handles: [], codes: lost(SESSIONS) });
  expect(facts['report']).toMatchObject({ sessions: SESSIONS, closed: SESSIONS, unterminated: 0 });
  expect(facts['cpuShare']).toBeLessThan(CPU_SHARE);
  expect(facts['switches']).toBeLessThan(SWITCHES);
  expect(facts['lingeredMs']).toBeLessThan(AT_ONCE_MS);
  expect(server.openSockets).toBe(0);
  await server.close();
});

// Row 5: the SDK's timers can't be cleared from outside, so the server's wish is what counts.
test(
  'a process ends soon after the close though calls were to be resumed in ten minutes',
  TEST,
  async () => {
    let id = 0;
    const poll = (exchange: RawExchange): void => {
      id += 1;
      beginEvents(exchange, `retry: 600000\nid: ${id}\ndata:\n\n`).end();
    };
    const server = await startRawServer(speakMcp({ GET: poll, 'tools/call': poll }));
    const { child, ended } = startChild('custom-quiet', 'polled', server.url.href);
    await until(
      () => server.count('POST', 'tools/call') === SESSIONS && server.pending === 0,
      START_MS,
    );
    child.send('close');
    const { code, facts, stderr } = await ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(facts).toMatchObject({ handles: [], codes: lost(SESSIONS) });
    expect(facts['cpuShare']).toBeLessThan(CPU_SHARE);
    expect(facts['lingeredMs']).toBeLessThan(AT_ONCE_MS);
    await server.close();
  },
);

// Row 10b.
test(
  'a process is idle after the close of a session that was flooded over a deaf fetch',
  TEST,
  async () => {
    const { code, facts, stderr } = await runChild(
      'custom-quiet',
      'flood',
      'http://127.0.0.1:1/mcp',
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(facts).toMatchObject({ heardAfter: 0, handles: [], report: { sessions: 1, closed: 1 } });
    expect(facts['cpuShare']).toBeLessThan(CPU_SHARE);
    expect(facts['switches']).toBeLessThan(SWITCHES);
    expect(facts['lingeredMs']).toBeLessThan(AT_ONCE_MS);
  },
);

const lost = (count: number): string[] => Array(count).fill('SESSION_LOST');
