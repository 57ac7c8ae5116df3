// The headers of a session's traffic without a lease, and what a failed open or a lost session says
// to the breakers: nothing when it was the caller's own headers function that failed or did not
// answer.

import { currentHeaders, headersOf as headersOfTarget } from './acquire-request.ts';
import { observe } from './connect/failure-of.ts';
import { DeadlineError } from './open-session.ts';
import { type BreakerVerdict, judge } from './policy/failure.ts';
import type { Session } from './session.ts';
import type { SessionTarget } from './target.ts';

/** How deep causes are followed. Bound: a cyclic chain of causes must not loop. */
const MAX_DEPTH = 8;

/**
 * While it opens, a session speaks for the caller it is opened for: if those credentials are
 * refused, that caller is told. From then on it speaks with the newest seen for the key.
 */
export function headersOf<C>(
  session: Session<C>,
  newestTarget: () => SessionTarget | undefined,
): () => ReturnType<typeof currentHeaders> {
  const failed = (error: unknown): never => {
    session.callersError = error;
    throw error;
  };
  return () => {
    const { target = newestTarget(), headers } = session.opensFor ?? {};
    try {
      const made = currentHeaders(target && headersOfTarget(target), headers);
      if (!(made instanceof Promise)) return made;
      session.headersAwaited += 1;
      return made.catch(failed).finally(() => {
        session.headersAwaited -= 1;
      });
    } catch (error) {
      return failed(error);
    }
  };
}

/** What a failed open says to the breakers. One that the caller's own code failed says nothing. */
export function verdictOf<C>(session: Session<C>, cause: unknown): BreakerVerdict {
  // Its time ran out while it waited for them.
  if (cause instanceof DeadlineError && session.headersAwaited > 0) return { vote: 'none' };
  if (isOf(session.callersError, cause)) return { vote: 'none' };
  return judge(observe(cause, { during: 'open', withSessionId: false })).breaker;
}

/** Whether a session was lost because the server could not be reached: as telling as an open. */
export function tellsOfServer(lostReason: unknown): boolean {
  const cause = (lostReason as { cause?: unknown } | undefined)?.cause;
  const { breaker } = judge(observe(cause, { during: 'call', withSessionId: true }));
  return breaker.vote === 'failure';
}

/** Whether `error` has `origin` among its causes. */
function isOf(origin: unknown, error: unknown): boolean {
  try {
    let each = error;
    for (let depth = 0; depth < MAX_DEPTH && each !== undefined; depth += 1) {
      if (each === origin) return true;
      each = (each as { cause?: unknown } | null)?.cause;
    }
  } catch {
    // Its members throw when they are read: it is none of ours.
  }
  return false;
}
