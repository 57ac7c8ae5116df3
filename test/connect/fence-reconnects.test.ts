// Event streams behind a living fence: when the next GET goes, what is told of a stream that ended,
// and what a cancelled call still does. Time stands still unless moved.

import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import {
  callOf,
  cancelOf,
  deafBody,
  EVENTS,
  get,
  HUNG,
  only,
  post,
  type Sent,
  setUp,
  stateOf,
  URL_OF_SERVER,
} from '../support/stubbed-fence.ts';

describe('governed', () => {
  const endAtOnce = async (answer: Promise<Response>, sent: Sent, text = ''): Promise<string> => {
    sent.respond(text, { headers: EVENTS });
    return (await answer).text();
  };

  test('the first GET goes at once, later ones when the governor lets them, none is rejected', async () => {
    const { fence, sent, timers, advance } = setUp();
    await endAtOnce(get(fence), only(sent));
    const second = get(fence);
    expect(sent).toHaveLength(1);
    expect([...timers]).toMatchObject([{ at: 1_000, isReferenced: false }]);
    advance(999);
    expect(sent).toHaveLength(1);
    advance(1);
    expect(sent).toHaveLength(2);
    only(sent, 1).fail(new TypeError('fetch failed'));
    await expect(second).rejects.toThrow('fetch failed');
    // Two flaps in a row: 2 s.
    const third = get(fence);
    advance(1_999);
    expect(sent).toHaveLength(2);
    advance(1);
    only(sent, 2).respond('no', { status: 503 });
    expect((await third).status).toBe(503);
    void get(fence);
    advance(3_999);
    expect(sent).toHaveLength(3);
    advance(1);
    expect(sent).toHaveLength(4);
  });

  test('a message resets the wait; GETs at the same time keep their distance', async () => {
    const { fence, sent, advance } = setUp();
    await endAtOnce(get(fence), only(sent));
    for (const _ of [1, 2, 3]) void get(fence);
    advance(1_000);
    expect(sent).toHaveLength(2);
    advance(1_000);
    expect(sent).toHaveLength(3);
    advance(1_000);
    expect(sent).toHaveLength(4);
    only(sent, 3).respond('data: 1\n\n', { headers: EVENTS });
  });

  test('the retry of a server is waited out here, the transport sees the floor', async () => {
    const { fence, sent, advance } = setUp();
    expect(await endAtOnce(get(fence), only(sent), 'retry: 90000\n\n')).toBe('retry: 1000\n\n');
    void get(fence);
    advance(89_999);
    expect(sent).toHaveLength(1);
    advance(1);
    expect(sent).toHaveLength(2);
  });

  test.each([307, 401])(
    'an answer of %i is followed up at once, but not for ever',
    async (status) => {
      const { fence, sent } = setUp();
      for (let n = 0; n < 6; n += 1) {
        const answer = get(fence);
        only(sent, n).respond(null, { status });
        await answer;
      }
      void get(fence);
      expect(sent).toHaveLength(6);
    },
  );

  test('an aborted GET that waits gives up its timer and its listener', async () => {
    const { fence, sent, timers, advance } = setUp();
    await endAtOnce(get(fence), only(sent));
    const controller = new AbortController();
    const waiting = get(fence, { signal: controller.signal });
    expect(timers.size).toBe(1);
    controller.abort();
    expect(timers.size).toBe(0);
    advance(10_000);
    expect(await stateOf(waiting)).toBe('pending');
    expect(sent).toHaveLength(1);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test('a flapping notification stream does not delay the resumption of a call', async () => {
    const { fence, sent, advance } = setUp();
    await endAtOnce(get(fence), only(sent));
    const call = post(fence, callOf(1));
    only(sent, 1).respond('id: c1\ndata:\n\n', { headers: EVENTS });
    await (await call).text();
    advance(1_000);
    await endAtOnce(get(fence), only(sent, 2));
    const resumed = get(fence, { lastEventId: 'c1' });
    expect(sent).toHaveLength(4);
    // The next resumption goes on with the same chain, under the new id or, failing that, the old.
    await endAtOnce(resumed, only(sent, 3), 'id: c2\ndata:\n\n');
    void get(fence, { lastEventId: 'c2' });
    expect(sent).toHaveLength(4);
    advance(1_000);
    expect(sent).toHaveLength(5);
  });

  test('chains beyond the bound are governed as notifications', async () => {
    const { fence, sent } = setUp();
    for (let id = 0; id < 65; id += 1) {
      const call = post(fence, callOf(id));
      only(sent, id).respond(`id: c${id}\ndata:\n\n`, { headers: EVENTS });
      await (await call).text();
    }
    // c0 is forgotten: its GET goes at once as the first of the notification stream.
    void get(fence, { lastEventId: 'c0' });
    void get(fence, { lastEventId: 'c1' });
    expect(sent).toHaveLength(66);
  });

  test('each stream that its peer ended is reported, with what it brought', async () => {
    const ends: unknown[] = [];
    const { fence, sent, advance } = setUp({ onStreamEnd: (end) => ends.push(end) });
    const answer = get(fence);
    only(sent).respond('retry: 2\nid: 5\ndata: {}\n\n', { headers: EVENTS });
    const response = await answer;
    advance(70);
    await response.text();
    expect(ends).toEqual([{ livedMs: 70, broughtMessage: true, retryMs: 1_000, lastEventId: '5' }]);
    // Neither a POST's stream nor one that somebody on this side ended.
    const call = post(fence, callOf(1));
    only(sent, 1).respond('data: {}\n\n', { headers: EVENTS });
    await (await call).text();
    advance(1_000);
    const cancelled = get(fence);
    only(sent, 2).respond(deafBody(), { headers: EVENTS });
    await (await cancelled).body?.cancel();
    advance(1_000);
    const aborted = get(fence);
    only(sent, 3).respond(deafBody(), { headers: EVENTS });
    const reading = (await aborted).text();
    fence.abortAll(new Error('over'));
    await expect(reading).rejects.toThrow('over');
    expect(ends).toHaveLength(1);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('observer');
      },
    ],
    ['rejects', (): unknown => Promise.reject(new Error('observer'))],
  ])('an observer that %s changes nothing', async (_name, onStreamEnd) => {
    const { fence, sent, advance } = setUp({ onStreamEnd });
    expect(await endAtOnce(get(fence), only(sent), 'data: 1\n\n')).toBe('data: 1\n\n');
    void get(fence);
    advance(1_000);
    expect(sent).toHaveLength(2);
  });
});

describe('cancelled calls', () => {
  test('are aborted after their cancel was handed to fetch', async () => {
    const order: string[] = [];
    const { fence } = setUp({
      fetch: (_url, init) => {
        order.push(init?.body as string);
        init?.signal?.addEventListener('abort', () => order.push('aborted'), { once: true });
        return HUNG;
      },
    });
    const call = post(fence, callOf(4));
    void post(fence, callOf(5));
    void post(fence, cancelOf(4));
    await expect(call).rejects.toMatchObject({ name: 'AbortError' });
    expect(order).toEqual([
      JSON.stringify(callOf(4)),
      JSON.stringify(callOf(5)),
      JSON.stringify(cancelOf(4)),
      'aborted',
    ]);
  });

  test('lose a JSON body with an AbortError', async () => {
    const { fence, sent } = setUp();
    const call = post(fence, callOf(4));
    only(sent).respond(deafBody(), { headers: { 'content-type': 'application/json' } });
    const reading = (await call).json();
    void fence.passThrough(URL_OF_SERVER, { method: 'POST', body: JSON.stringify(cancelOf(4)) });
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('leave the reader of an event stream waiting, and free its request', async () => {
    const { fence, sent } = setUp();
    const call = post(fence, callOf(4));
    only(sent).respond(deafBody(), { headers: EVENTS });
    const reading = (await call).text();
    void post(fence, cancelOf(4));
    expect(await stateOf(reading)).toBe('pending');
    expect(only(sent).signal.aborted).toBe(true);
  });

  test('are not resumed: what waits gives up, what comes parks, what runs is aborted', async () => {
    const { fence, sent, timers, advance } = setUp();
    const call = post(fence, callOf(4));
    only(sent).respond('id: c1\ndata:\n\n', { headers: EVENTS });
    await (await call).text();
    advance(1_000);
    const resumed = get(fence, { lastEventId: 'c1' });
    const waiting = get(fence, { lastEventId: 'c1' });
    expect(sent).toHaveLength(2);
    expect(timers.size).toBe(1);
    void post(fence, cancelOf(4));
    expect(timers.size).toBe(0);
    expect(only(sent, 1).signal.aborted).toBe(true);
    advance(60_000);
    const late = get(fence, { lastEventId: 'c1' });
    for (const each of [resumed, waiting, late]) expect(await stateOf(each)).toBe('pending');
    expect(sent).toHaveLength(3);
  });

  test('of another id, or of none that is open, abort nothing', () => {
    const { fence, sent } = setUp();
    void post(fence, callOf(4));
    void post(fence, cancelOf(5));
    void post(fence, { method: 'notifications/cancelled', params: { requestId: '4' } });
    expect(sent.map(({ signal }) => signal.aborted)).toEqual([false, false, false]);
  });
});
