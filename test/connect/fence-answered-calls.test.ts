// Calls that were answered while their server holds the request open, behind a fence whose clock
// stands still.

import { describe, expect, test, vi } from 'vitest';
import {
  callOf,
  deafBody,
  EVENTS,
  only,
  post,
  type StubbedFence,
  setUp,
  stateOf,
} from '../support/stubbed-fence.ts';

/** A call whose event stream is open and being read. */
async function openCall(
  { fence, sent }: StubbedFence,
  id: number,
  body = deafBody('data: {}\n\n'),
): Promise<{ next: Promise<unknown>; signal: AbortSignal }> {
  const answer = post(fence, callOf(id));
  const request = only(sent, sent.length - 1);
  request.respond(body, { headers: EVENTS });
  const reader = (await answer).body!.getReader();
  await reader.read();
  return { next: reader.read(), signal: request.signal };
}

describe('the request of an answered call', () => {
  test('is aborted after 100 ms, and the reader of its stream is not told', async () => {
    const onStreamEnd = vi.fn();
    const stubbed = setUp({ onStreamEnd });
    const { next, signal } = await openCall(stubbed, 1);
    stubbed.fence.endCall(1);
    expect([...stubbed.timers].map(({ isReferenced }) => isReferenced)).toEqual([false]);
    stubbed.advance(99);
    expect(signal.aborted).toBe(false);
    stubbed.advance(1);
    expect(signal.aborted).toBe(true);
    expect(await stateOf(next)).toBe('pending');
    expect(onStreamEnd).not.toHaveBeenCalled();
    expect(stubbed.timers.size).toBe(0);
  });

  test('is not aborted when its server ended it in time, nor is another call', async () => {
    const stubbed = setUp();
    let end = (): void => {};
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        controller.enqueue(new TextEncoder().encode('data: {}\n\n'));
        end = () => controller.close();
      },
    });
    const ended = await openCall(stubbed, 1, body);
    const other = await openCall(stubbed, 2);
    stubbed.fence.endCall(1);
    end();
    expect(await ended.next).toMatchObject({ done: true });
    stubbed.advance(200);
    expect([ended.signal.aborted, other.signal.aborted]).toEqual([false, false]);
    expect(stubbed.timers.size).toBe(0);
  });

  test('shares one timer with others, each with a grace of its own', async () => {
    const stubbed = setUp();
    const first = await openCall(stubbed, 1);
    const second = await openCall(stubbed, 2);
    stubbed.fence.endCall(1);
    stubbed.advance(60);
    stubbed.fence.endCall(2);
    stubbed.fence.endCall(1);
    expect(stubbed.timers.size).toBe(1);
    stubbed.advance(40);
    expect([first.signal.aborted, second.signal.aborted]).toEqual([true, false]);
    stubbed.advance(60);
    expect(second.signal.aborted).toBe(true);
  });

  test('is rejected if the server has not even begun to answer it', async () => {
    const { fence, sent, advance } = setUp();
    const answer = post(fence, callOf(1));
    fence.endCall(1);
    advance(100);
    expect(await stateOf(answer)).toMatchObject({ name: 'AbortError' });
    expect(only(sent).signal.aborted).toBe(true);
  });

  test('sets no timer when it is over or unknown, nor once the fence is armed', async () => {
    const stubbed = setUp();
    const { fence, sent, timers } = stubbed;
    const answer = post(fence, callOf(1));
    only(sent).respond('{}', { headers: { 'content-type': 'application/json' } });
    await (await answer).json();
    fence.endCall(1);
    fence.endCall('never');
    expect(timers.size).toBe(0);
    await openCall(stubbed, 2);
    fence.endCall(2);
    expect(timers.size).toBe(1);
    fence.arm();
    fence.endCall(2);
    expect(timers.size).toBe(0);
  });
});
