// Whole processes with a pool in them: they end by themselves when they may, and not before
// (promises P1, P2; row 16 of the hazards).

import type { CloseReport } from 'mcp-session-pool';
import { type HostileServer, hostileServer } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { runChild, startChild } from '../support/child-process.ts';
import {
  answerJson,
  beginEvents,
  type RawServer,
  speakMcp,
  startRawServer,
  until,
} from '../support/raw-server.ts';
import { type SseHandlers, startSseServer, take } from '../support/sse-server.ts';

/** What a process may still take to end: less than any keep-alive, more than a busy machine needs. */
const AT_ONCE_MS = 2_000;

/** Of the event loop of a child, on such a machine. */
const LAG_MS = 250;

/** A server that answers no DELETE, ends no call, and keeps notification streams open. */
const startHostileServer = (): Promise<HostileServer> =>
  hostileServer('never-ends', { also: ['delete-unanswered'] });

const startHonestServer = (): Promise<RawServer> =>
  startRawServer(
    speakMcp({
      'tools/list': (exchange) => answerJson(exchange, { tools: [] }),
      GET: (exchange) => void beginEvents(exchange),
    }),
  );

describe('a process that closes a pool as the last thing in its main module', () => {
  test('ends with code 0 though 300 clients never acknowledge their close', async () => {
    const { code, facts, stderr } = await runChild('close-last', 'fakes', '300');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(facts['report']).toMatchObject({ sessions: 300, abandoned: 300, closed: 0 });
    expect(facts['handles']).toEqual([]);
    expect((facts['report'] as CloseReport).durationMs).toBeLessThan(500 + 250 + LAG_MS);
    expect(facts['lingeredMs']).toBeLessThan(AT_ONCE_MS);
  });

  test('ends with code 0 though calls, streams and DELETEs of 40 sessions hang', async () => {
    const server = await startHostileServer();
    const { child, ended } = startChild('close-last', 'sessions', '40', server.url.href);
    // Each session has a call and a notification stream, and nothing else is under way.
    await until(() => server.pending === 80, 6_000);
    const closingAt = performance.now();
    child.send('close');
    const { code, facts, stderr } = await ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(performance.now() - closingAt).toBeLessThan(2_000 + 250 + AT_ONCE_MS);
    expect(facts['report']).toMatchObject({ sessions: 40, closed: 40, unterminated: 40 });
    expect(facts['codes']).toEqual(Array(40).fill('SESSION_LOST'));
    expect(facts['handles']).toEqual([]);
    expect(server.count('DELETE')).toBe(40);
    await until(() => server.openSockets === 0);
    await server.close();
  });
});

describe('a process with sessions over HTTP+SSE', { timeout: 25_000 }, () => {
  const hung: SseHandlers = { 'tools/call': take, 'notifications/cancelled': () => {} };

  test('ends with code 0 though their calls and cancels hang', async () => {
    const server = await startSseServer(hung);
    const { child, ended } = startChild('close-last', 'sse', '20', server.url.href);
    await until(() => server.count('POST', 'tools/call') === 20, 15_000);
    const closingAt = performance.now();
    child.send('close');
    const { code, facts, stderr } = await ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(performance.now() - closingAt).toBeLessThan(2_000 + 250 + AT_ONCE_MS);
    expect(facts['report']).toMatchObject({ sessions: 20, closed: 20, abandoned: 0 });
    expect(facts['codes']).toEqual(Array(20).fill('SESSION_LOST'));
    expect(facts['handles']).toEqual([]);
    await until(() => server.openSockets === 0);
    await server.close();
  });

  test('ends at once when they were lost, whatever `retry` the server left with', async () => {
    const server = await startSseServer(hung);
    const { child, ended } = startChild('close-last', 'sse', '5', server.url.href);
    await until(() => server.count('POST', 'tools/call') === 5, 15_000);
    for (const { response } of server.streams) response.end('retry: 600000\n\n');
    await until(() => server.openSockets === 0);
    child.send('close');
    const { code, facts, stderr } = await ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(facts['codes']).toEqual(Array(5).fill('SESSION_LOST'));
    expect(facts['handles']).toEqual([]);
    expect(facts['lingeredMs']).toBeLessThan(AT_ONCE_MS);
    expect(server.count('GET')).toBe(5);
    await server.close();
  });
});

describe('a process that leaves its pool open', () => {
  test.each(['idle-fake', 'idle-session', 'kept-alive-session', 'leased-session'])(
    'ends at once when nothing is under way: %s',
    async (scenario) => {
      const server = await startHonestServer();
      const { code, facts, stderr } = await runChild('stay-or-go', scenario, server.url.href);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(facts['stats']).toMatchObject({ totals: { opened: 1 } });
      expect(facts['lingeredMs']).toBeLessThan(AT_ONCE_MS);
      await server.close();
    },
  );

  test.each(['pending-open', 'pending-wait'])(
    'lives until the last acquire has settled: %s',
    async (scenario) => {
      const { code, facts, stderr } = await runChild('stay-or-go', scenario);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(facts['error']).toBe('ACQUIRE_TIMEOUT');
      expect(facts['handles']).toEqual([]);
    },
  );

  test('lives until its warm has settled, though only a back-off is awaited', async () => {
    const { code, facts, stderr } = await runChild('stay-or-go', 'pending-warm');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(facts).toMatchObject({ error: 'OPEN_FAILED', report: { sessions: 2, opened: 2 } });
  });
});
