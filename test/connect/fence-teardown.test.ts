// The fence armed, then aborted, over a fetch that ignores both: what still leaves, what settles and
// with which reason, and what is left.

import { getEventListeners } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import {
  callOf,
  deafBody,
  EVENTS,
  get,
  HUNG,
  only,
  post,
  setUp,
  stateOf,
  URL_OF_SERVER,
} from '../support/stubbed-fence.ts';

describe('armed', () => {
  const reason = new Error('closing');

  test('nothing leaves: GETs park, the rest rejects with the first reason given', async () => {
    const { fence, sent, timers } = setUp();
    expect(fence.armed).toBe(false);
    fence.arm(reason);
    fence.arm(new Error('another'));
    expect(fence.armed).toBe(true);
    expect(await stateOf(get(fence))).toBe('pending');
    expect(await stateOf(fence.fetch(URL_OF_SERVER))).toBe('pending');
    await expect(post(fence, {})).rejects.toBe(reason);
    await expect(fence.fetch(URL_OF_SERVER, { method: 'DELETE' })).rejects.toBe(reason);
    expect(sent).toHaveLength(0);
    expect(timers.size).toBe(0);
  });

  test('without a reason, what does not leave rejects as certainly not executed', async () => {
    const { fence } = setUp();
    fence.arm();
    const notExecuted = { code: 'SESSION_LOST', execution: 'not-executed' };
    await expect(post(fence, {})).rejects.toMatchObject(notExecuted);
  });

  test('GETs that wait for the governor park, and their timers go', async () => {
    const { fence, sent, timers, advance } = setUp();
    const first = get(fence);
    only(sent).respond('', { headers: EVENTS });
    await (await first).text();
    const { signal } = new AbortController();
    const waiting = get(fence, { signal });
    fence.arm();
    expect(timers.size).toBe(0);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    advance(10_000);
    expect(await stateOf(waiting)).toBe('pending');
    expect(sent).toHaveLength(1);
  });

  test('a GET under way parks too, whether it is answered, fails or is aborted', async () => {
    for (const how of ['answer', 'failure', 'abort', 'abortAll']) {
      const { fence, sent } = setUp();
      const controller = new AbortController();
      const cancelled = vi.fn(() => HUNG);
      const answer = get(fence, { signal: controller.signal });
      fence.arm();
      if (how === 'answer') only(sent).respond(new ReadableStream({ cancel: cancelled }));
      if (how === 'failure') only(sent).fail(new Error('network'));
      if (how === 'abort') controller.abort();
      if (how === 'abortAll') fence.abortAll();
      expect(await stateOf(answer), how).toBe('pending');
      expect(cancelled).toHaveBeenCalledTimes(how === 'answer' ? 1 : 0);
      expect(only(sent).signal.aborted, how).toBe(how !== 'failure');
    }
  });

  test('bodies stay readable, POSTs under way get their answers, passThrough passes', async () => {
    const { fence, sent } = setUp();
    const [begun, pending] = [post(fence, callOf(1)), post(fence, callOf(2))];
    only(sent).respond('one');
    const answer = await begun;
    fence.arm();
    expect(await answer.text()).toBe('one');
    only(sent, 1).respond('two');
    expect(await (await pending).text()).toBe('two');
    const passed = fence.passThrough(URL_OF_SERVER, { method: 'DELETE' });
    only(sent, 2).respond(null, { status: 204 });
    expect((await passed).status).toBe(204);
  });
});

describe('aborted', () => {
  test('every body ends and every request is let go in the same turn, however deaf', async () => {
    const { fence, sent, timers } = setUp();
    const reason = new Error('severed');
    const { signal } = new AbortController();
    const call = post(fence, callOf(1), signal);
    only(sent).respond(deafBody(), { headers: EVENTS });
    const stream = get(fence, { signal });
    only(sent, 1).respond(deafBody(), { headers: EVENTS });
    const readings = [(await call).text(), (await stream).text()];
    const pending = post(fence, callOf(2), signal);
    const passing = fence.passThrough(URL_OF_SERVER, { method: 'DELETE' });
    fence.abortAll(reason);
    fence.abortAll(new Error('another'));
    const states = await Promise.all([...readings, pending, passing].map(stateOf));
    expect(states).toEqual(Array(4).fill(reason));
    expect(sent.map((each) => each.signal.aborted)).toEqual([true, true, true, true]);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    expect(timers.size).toBe(0);
    expect(fence.armed).toBe(true);
    expect(await stateOf(get(fence))).toBe('pending');
    await expect(fence.passThrough(URL_OF_SERVER)).rejects.toBe(reason);
    expect(sent).toHaveLength(4);
  });

  test('the reason is that of abortAll, or that of arm, or a lost session of unknown execution', async () => {
    const reasons = [];
    for (const how of ['abortAll', 'arm', 'neither']) {
      const { fence } = setUp();
      const pending = post(fence, callOf(1));
      fence.arm(how === 'arm' ? new Error('of arm') : undefined);
      fence.abortAll(how === 'abortAll' ? new Error('of abortAll') : undefined);
      reasons.push(await stateOf(pending));
    }
    expect(reasons).toMatchObject([
      { message: 'of abortAll' },
      { message: 'of arm' },
      { code: 'SESSION_LOST', execution: 'unknown' },
    ]);
  });
});
