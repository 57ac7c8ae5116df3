// Keeps the events of a pool for a test to look at, and lets it wait for one. Sits where a sink of
// a gateway sits; holds no timer.

import type { EventSink, PoolEvent } from '../observe/events.ts';

/** The events of one type. */
export type EventOf<T extends PoolEvent['type']> = Extract<PoolEvent, { readonly type: T }>;

/** Events as they came. */
export interface EventRecorder {
  /** Give this to the pool. */
  readonly onEvent: EventSink;
  /** Every event so far, in order. */
  readonly events: readonly PoolEvent[];
  /** Those of one type, in order. */
  of<T extends PoolEvent['type']>(type: T): EventOf<T>[];
  /**
   * Settles with the first event of that type, also when it came before. Waits without a deadline:
   * the test's own bounds it.
   */
  first<T extends PoolEvent['type']>(type: T): Promise<EventOf<T>>;
}

/**
 * Makes a sink that remembers. Events come a turn of the event loop after what they tell of: on a
 * manual clock, `await clock.settle()` before looking.
 *
 * @example
 * ```ts
 * const { onEvent, first } = recordEvents();
 * const pool = new SessionPool({ onEvent });
 * // …
 * const { outcome } = await first('session-closed');
 * ```
 */
export function recordEvents(): EventRecorder {
  const events: PoolEvent[] = [];
  const waiters = new Map<string, ((event: PoolEvent) => void)[]>();
  const of: EventRecorder['of'] = (type) =>
    events.filter((event): event is EventOf<typeof type> => event.type === type);
  return {
    events,
    of,
    onEvent: (event) => {
      events.push(event);
      for (const wake of waiters.get(event.type) ?? []) wake(event);
      waiters.delete(event.type);
    },
    first: <T extends PoolEvent['type']>(type: T): Promise<EventOf<T>> => {
      const [found] = of(type);
      if (found !== undefined) return Promise.resolve(found);
      return new Promise((resolve) => {
        const waiting = waiters.get(type) ?? [];
        waiting.push(resolve as (event: PoolEvent) => void);
        waiters.set(type, waiting);
      });
    },
  };
}
