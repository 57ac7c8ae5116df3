import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, it } from 'vitest';
import { Dispatchers } from '../../src/connect/dispatchers.ts';
import { type Errand, HttpTraffic } from '../../src/connect/http-traffic.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { startRawServer } from '../support/raw-server.ts';

function newTraffic(
  context: AsyncLocalStorage<Errand>,
  endpoint: URL,
  clock: ManualClock,
): { traffic: HttpTraffic; close: () => void } {
  const dispatchers = new Dispatchers({ connectTimeoutMs: 1_000 }).hold();
  const traffic = new HttpTraffic({
    endpoint,
    authorization: undefined,
    sessionHeaders: () => ({}),
    dispatchers,
    context,
    clock,
    fence: {},
    carryStream: (fetch, url, init) => fetch(url, init),
  });
  const close = (): void => {
    dispatchers.release(new Error('over'));
    traffic.fence.abortAll();
  };
  return { traffic, close };
}

const mcp = { accept: 'application/json, text/event-stream' };

describe('the traffic of a session', () => {
  it('knows its own calls, and not those of another session whose handler it serves', () => {
    const context = new AsyncLocalStorage<Errand>();
    const url = new URL('http://127.0.0.1:1/');
    const clock = new ManualClock();
    const [one, other] = [newTraffic(context, url, clock), newTraffic(context, url, clock)];
    one.traffic.carry({ callId: 7, headers: undefined }, () => {
      expect(one.traffic.originOf()).toBe(7);
      expect(other.traffic.originOf()).toBeUndefined();
    });
    expect(one.traffic.originOf()).toBeUndefined();
    one.close();
    other.close();
  });

  it('waits 30 s for a notification to be taken, any time for the answer of a call', async () => {
    const server = await startRawServer(() => {});
    const clock = new ManualClock();
    const { traffic, close } = newTraffic(new AsyncLocalStorage(), server.url, clock);
    const post = (callId: number | undefined): Promise<unknown> =>
      traffic.carry({ callId, headers: undefined }, () =>
        traffic.fetch(server.url, { method: 'POST', headers: mcp, body: '{}' }),
      );
    const outcomes: string[] = [];
    const calling = post(1).catch(() => outcomes.push('call'));
    const notifying = post(undefined).catch((error: Error) => outcomes.push(error.name));
    await expect.poll(() => server.pending).toBe(2);
    await clock.advance(29_000);
    expect(outcomes).toEqual([]);
    await clock.advance(1_000);
    await notifying;
    await expect.poll(() => server.pending).toBe(1);
    await clock.advance(3_600_000);
    expect(outcomes).toEqual(['TimeoutError']);
    close();
    await calling;
    await server.close();
  });
});
