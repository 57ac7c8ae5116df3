// Asks a connector for one session, or a session for a sign of life, and makes sure of the end:
// both settle in time whatever the peer does. A connection that arrives after its open was given up
// is not lost but handed over to be taken down.

import pTimeout from 'p-timeout';
import type { Clock } from './clock.ts';
import type { ConnectContext, Connection, Connector } from './connect/connector.ts';
import { takeOver } from './take-over.ts';
import type { SessionTarget } from './target.ts';

/** Rejected with when our own deadline ended a wait. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
}

/**
 * Opens one session within `timeoutMs`, from now. Rejects with what the connector threw, with the
 * reason of `controller`'s abort, or with `DeadlineError`.
 */
export function openSession<C>(details: {
  readonly connector: Connector<C>;
  readonly target: SessionTarget;
  readonly context: Omit<ConnectContext, 'signal'>;
  readonly controller: AbortController;
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Receives a connection that came after its open had been given up. */
  readonly onLate: (connection: Connection<C>) => void;
  /** Called once, after all others, when the connector itself has settled, in time or late. */
  readonly onSettled: () => void;
}): Promise<Connection<C>> {
  const { connector, target, context, controller, onLate, onSettled } = details;
  let arrived: Connection<C> | undefined;
  let isGivenUp = false;
  // Order: the connector is foreign code, so it runs after the turn that decided to open.
  const connecting = Promise.resolve().then(async () =>
    takeOver(await connector(target, { ...context, signal: controller.signal })),
  );
  connecting.then(
    (connection) => {
      if (isGivenUp) onLate(connection);
      else arrived = connection;
    },
    () => undefined,
  );
  const opening = inTime(connecting, details).catch((error: unknown) => {
    isGivenUp = true;
    // It may have arrived between the end of its time and this line.
    if (arrived !== undefined) onLate(arrived);
    throw error;
  });
  // Order: only when the caller has its result as well, so that there is no moment in between in
  // which a closing pool knows of neither the open nor the session.
  void Promise.allSettled([connecting, opening]).then(onSettled);
  return opening;
}

/** Probes one session within `timeoutMs`, from now. Rejects when the peer did not answer well. */
export function probeSession(
  probe: (signal: AbortSignal) => Promise<void>,
  limits: {
    readonly controller: AbortController;
    readonly timeoutMs: number;
    readonly clock: Clock;
  },
): Promise<void> {
  const { signal } = limits.controller;
  return inTime(
    Promise.resolve().then(() => probe(signal)),
    limits,
  );
}

/** `work`, or the reason of `controller`'s abort, which comes after `timeoutMs` at the latest. */
async function inTime<T>(
  work: Promise<T>,
  limits: {
    readonly controller: AbortController;
    readonly timeoutMs: number;
    readonly clock: Clock;
  },
): Promise<T> {
  const { controller, timeoutMs, clock } = limits;
  const timer = clock.setTimeout(
    () => controller.abort(new DeadlineError(`Not settled within ${timeoutMs} ms`)),
    timeoutMs,
  );
  try {
    const milliseconds = Number.POSITIVE_INFINITY;
    return await pTimeout(work, { milliseconds, signal: controller.signal });
  } finally {
    clock.clearTimeout(timer);
  }
}
