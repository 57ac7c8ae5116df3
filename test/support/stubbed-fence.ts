// A fence over a fetch of the test's own, which answers, fails or ignores aborts as it is told, on a
// clock that stands still unless it is moved.

import type { Clock, Timer } from '../../src/clock.ts';
import { createFence, type Fence, type FenceOptions } from '../../src/connect/fence.ts';
import { pause } from './raw-server.ts';

/** Where nobody listens. */
export const URL_OF_SERVER = 'http://127.0.0.1:1/mcp';
/** The headers of an event stream. */
export const EVENTS = { 'content-type': 'text/event-stream' };
/** Never settles. */
export const HUNG: Promise<never> = new Promise(() => {});

/** A request that reached the fetch below the fence. */
export interface Sent {
  readonly init: RequestInit;
  readonly signal: AbortSignal;
  respond(body: ConstructorParameters<typeof Response>[0], init?: ResponseInit): void;
  fail(error: Error): void;
}

/** A timer that was set and neither ran nor was cleared. */
export interface Timed {
  readonly run: () => void;
  readonly at: number;
  isReferenced: boolean;
}

/** What `setUp` returns. */
export interface StubbedFence {
  readonly fence: Fence;
  /** Every request that left, in order. */
  readonly sent: readonly Sent[];
  readonly timers: ReadonlySet<Timed>;
  /** Moves time on and runs what is due. */
  advance(ms: number): void;
}

/** A fence over a fetch that ignores aborts and answers when told, on a clock that stands still. */
export function setUp(options: FenceOptions = {}): StubbedFence {
  const sent: Sent[] = [];
  const timers = new Set<Timed>();
  let now = 0;
  const clock: Clock = {
    now: () => now,
    setTimeout: (run, delayMs) => {
      const timer = { run, at: now + delayMs, isReferenced: true };
      timers.add(timer);
      const handle: Timer & { timer: Timed } = {
        timer,
        ref: () => {},
        unref: () => {
          timer.isReferenced = false;
        },
      };
      return handle;
    },
    clearTimeout: (timer) => void timers.delete((timer as Timer & { timer: Timed }).timer),
    timeoutSignal: () => new AbortController().signal,
    yield: (run) => run(),
  };
  const advance = (ms: number): void => {
    now += ms;
    for (const timer of timers) {
      if (timer.at <= now && timers.delete(timer)) timer.run();
    }
  };
  const fence = createFence({
    fetch: (_url, init = {}) =>
      new Promise((resolve, reject) => {
        sent.push({
          init,
          signal: init.signal as AbortSignal,
          respond: (body, responseInit) => resolve(new Response(body, responseInit)),
          fail: reject,
        });
      }),
    clock,
    random: () => 0,
    ...options,
  });
  return { fence, sent, timers, advance };
}

/** POSTs `message` through the fence. */
export const post = (fence: Fence, message: unknown, signal?: AbortSignal): Promise<Response> =>
  fence.fetch(URL_OF_SERVER, {
    method: 'POST',
    body: JSON.stringify(message),
    ...(signal && { signal }),
  });

/** A call as the SDK writes it. */
export const callOf = (id: number): object => ({
  method: 'tools/call',
  params: {},
  jsonrpc: '2.0',
  id,
});
/** The cancel of a call. */
export const cancelOf = (requestId: number): object => ({
  method: 'notifications/cancelled',
  params: { requestId },
});

/** Asks for an event stream through the fence. */
export const get = (
  fence: Fence,
  { signal, lastEventId }: { signal?: AbortSignal; lastEventId?: string } = {},
): Promise<Response> =>
  fence.fetch(URL_OF_SERVER, {
    headers: {
      Accept: 'text/event-stream',
      ...(lastEventId !== undefined && { 'Last-Event-ID': lastEventId }),
    },
    ...(signal && { signal }),
  });

/** What a promise has come to, once everything that can happen now has happened. */
export async function stateOf(promise: Promise<unknown>): Promise<unknown> {
  const settled = promise.then(
    () => 'resolved',
    (error: unknown) => error,
  );
  await pause(0);
  return Promise.race([settled, Promise.resolve('pending')]);
}

/** A body that ignores everything: its reads and its cancel never settle. */
export const deafBody = (first = ''): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start: (controller) => {
      if (first !== '') controller.enqueue(new TextEncoder().encode(first));
    },
    cancel: () => HUNG,
  });

/** The item at `at`, which must exist. */
export const only = <T>(items: readonly T[], at = 0): T => {
  const item = items[at];
  if (item === undefined) throw new Error(`nothing at ${at}`);
  return item;
};
