// Requests and bodies behind a living fence, over a fetch that answers, fails or ignores aborts as
// it is told: what the transport, its signal and the fetch below see.

import { getEventListeners } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { createFence } from '../../src/connect/fence.ts';
import { pause } from '../support/raw-server.ts';
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

describe('alive', () => {
  test('an answer keeps its status, headers, url and body', async () => {
    const answer = new Response('{"a":1}', {
      status: 418,
      statusText: 'Teapot',
      headers: { 'content-type': 'application/json', 'x-a': 'b' },
    });
    Object.defineProperty(answer, 'url', { value: 'http://elsewhere/' });
    Object.defineProperty(answer, 'redirected', { value: true });
    const { fence } = setUp({ fetch: async () => answer });
    const seen = await post(fence, {});
    expect(seen).toMatchObject({ status: 418, ok: false, statusText: 'Teapot' });
    expect(seen).toMatchObject({ url: 'http://elsewhere/', redirected: true });
    expect(seen.headers.get('x-a')).toBe('b');
    expect(await seen.json()).toEqual({ a: 1 });
  });

  test('the init passes as it is, but for a signal of our own', async () => {
    const { fence, sent } = setUp();
    const { signal } = new AbortController();
    const init = { method: 'PUT', headers: { a: 'b' }, body: 'x', redirect: 'manual' } as const;
    void fence.fetch(URL_OF_SERVER, { ...init, signal });
    expect(only(sent).init).toEqual({ ...init, signal: expect.any(AbortSignal) });
    expect(only(sent).signal).not.toBe(signal);
  });

  test.each([202, 204, 205, 304])(
    'an answer of %i has no body, whatever came with it',
    async (status) => {
      const cancelled = vi.fn(() => HUNG);
      const body = status === 202 ? new ReadableStream({ cancel: cancelled }) : null;
      const { fence, sent } = setUp();
      const answer = post(fence, {});
      only(sent).respond(body, { status });
      expect((await answer).status).toBe(status);
      expect((await answer).body).toBeNull();
      expect(await (await answer).text()).toBe('');
      expect(cancelled).toHaveBeenCalledTimes(status === 202 ? 1 : 0);
      expect(only(sent).signal.aborted).toBe(true);
    },
  );

  test('a fetch that throws, or an answer that can’t be copied, rejects', async () => {
    const thrown = setUp({
      fetch: () => {
        throw new Error('no network');
      },
    });
    await expect(post(thrown.fence, {})).rejects.toThrow('no network');
    const { fence } = setUp({ fetch: async () => Response.error() });
    await expect(post(fence, {})).rejects.toThrow(RangeError);
  });

  test('requests that share a signal cost it one listener, and none once they are over', async () => {
    const { fence, sent } = setUp();
    const { signal } = new AbortController();
    const answers = Array.from({ length: 30 }, (_, id) => post(fence, callOf(id), signal));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    for (const [at, each] of sent.entries()) {
      if (at % 3 === 0) each.fail(new Error('network'));
      else each.respond('{}');
    }
    for (const answer of answers) await answer.then((each) => each.text()).catch(() => {});
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  test('an abort rejects a POST with the signal’s reason, though fetch ignores it', async () => {
    const { fence, sent } = setUp();
    const controller = new AbortController();
    const reason = new Error('enough');
    const answers = [
      post(fence, callOf(1), controller.signal),
      post(fence, callOf(2), controller.signal),
    ];
    controller.abort(reason);
    for (const answer of answers) await expect(answer).rejects.toBe(reason);
    expect(only(sent).signal.reason).toMatchObject({ name: 'AbortError' });
    await expect(post(fence, {}, controller.signal)).rejects.toBe(reason);
    expect(sent).toHaveLength(2);
    // What comes too late is absorbed.
    const cancelled = vi.fn();
    only(sent).respond(new ReadableStream({ cancel: cancelled }));
    only(sent, 1).fail(new Error('late'));
    await pause(0);
    expect(cancelled).toHaveBeenCalledOnce();
  });

  test('a GET of an event stream is never rejected by an abort; asked again, it parks', async () => {
    const { fence, sent } = setUp();
    const controller = new AbortController();
    const first = get(fence, { signal: controller.signal });
    controller.abort();
    const second = get(fence, { signal: controller.signal });
    expect(await stateOf(first)).toBe('pending');
    expect(await stateOf(second)).toBe('pending');
    expect(sent).toHaveLength(1);
    expect(only(sent).signal.aborted).toBe(true);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test('any other GET, such as one for OAuth metadata, is neither governed nor kept waiting', async () => {
    const { fence, sent } = setUp();
    const controller = new AbortController();
    const init = { headers: { accept: 'application/json' }, signal: controller.signal };
    const answers = [1, 2, 3].map(() => fence.fetch(URL_OF_SERVER, init));
    expect(sent).toHaveLength(3);
    controller.abort();
    for (const answer of answers) await expect(answer).rejects.toThrow('aborted');
  });

  test('no byte is asked for before somebody reads, and then one chunk at a time', async () => {
    let pulls = 0;
    const { fence, sent } = setUp();
    const answer = post(fence, {});
    const body = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          await pause(0);
          pulls += 1;
          controller.enqueue(Uint8Array.of(pulls));
          if (pulls === 6) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    only(sent).respond(body);
    const reader = (await answer).body?.getReader();
    if (reader === undefined) throw new Error('no body');
    await pause(0);
    expect(pulls).toBe(0);
    expect((await reader.read()).value).toEqual(Uint8Array.of(1));
    await pause(0);
    expect(pulls).toBe(1);
    // Reads that overlap come in order, ask for no more than they are, and the last one ends.
    const read = async (count: number): Promise<unknown[]> => {
      const reads = await Promise.all(Array.from({ length: count }, () => reader.read()));
      await pause(10);
      return reads.map(({ value }) => value?.[0]);
    };
    expect(await read(3)).toEqual([2, 3, 4]);
    expect(pulls).toBe(4);
    expect(await read(3)).toEqual([5, 6, undefined]);
    expect(only(sent).signal.aborted).toBe(false);
  });

  test('an error of the body below reaches the reader as it is', async () => {
    const { fence, sent } = setUp();
    const answer = post(fence, {});
    const reason = new Error('ECONNRESET');
    only(sent).respond(new ReadableStream({ pull: () => Promise.reject(reason) }));
    await expect((await answer).text()).rejects.toBe(reason);
  });

  test('a fetch that ignores its signal has its body cancelled, for no reason it could keep', async () => {
    for (const how of ['cancel', 'abortAll']) {
      const cancelled = vi.fn();
      const { fence, sent } = setUp();
      const answer = post(fence, {});
      const below = new ReadableStream({ cancel: cancelled });
      only(sent).respond(below);
      const { body } = await answer;
      if (how === 'cancel') await body?.cancel(new Error('kept by nobody'));
      else fence.abortAll();
      expect(cancelled.mock.calls, how).toEqual([[undefined]]);
    }
  });

  test('a cancel of the reader settles at once and aborts, though the body below is deaf', async () => {
    const { fence, sent } = setUp();
    const answer = post(fence, {});
    only(sent).respond(deafBody());
    await (await answer).body?.cancel();
    expect(only(sent).signal.aborted).toBe(true);
  });
});

describe('messages over maxMessageBytes', () => {
  const tooLarge = expect.objectContaining({ code: 'MESSAGE_TOO_LARGE', maxMessageBytes: 10 });

  test('error a JSON body, and one of the very size passes', async () => {
    const { fence, sent } = setUp({ maxMessageBytes: 10 });
    const answers = [post(fence, {}), post(fence, {})];
    only(sent).respond('x'.repeat(10));
    only(sent, 1).respond('x'.repeat(11));
    expect(await (await only(answers)).text()).toHaveLength(10);
    await expect((await only(answers, 1)).text()).rejects.toEqual(tooLarge);
    expect(only(sent, 1).signal.aborted).toBe(true);
  });

  test('error an event stream at the event in question, and it counts as flapping', async () => {
    const ends: unknown[] = [];
    const { fence, sent } = setUp({ maxMessageBytes: 10, onStreamEnd: (end) => ends.push(end) });
    const answer = get(fence);
    only(sent).respond('data: 1\n\ndata: 2\n\ndata: 33333\n\n', { headers: EVENTS });
    await expect((await answer).text()).rejects.toEqual(tooLarge);
    expect(only(sent).signal.aborted).toBe(true);
    expect(ends).toMatchObject([{ broughtMessage: false }]);
  });

  test.each([0, -1, Number.NaN])('a bound of %d is refused', (maxMessageBytes) => {
    expect(() => createFence({ maxMessageBytes })).toThrow(RangeError);
  });
});
