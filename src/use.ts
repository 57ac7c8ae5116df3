// Runs a caller's work with a lease, and sees to it that the lease ends and that an abort is heard,
// whether the work listens or not. Work whose session was lost before anything of it was executed
// runs a second time, once.

import type { AbortFanout } from './abort-fanout.ts';
import type { AcquireOptions } from './acquire-request.ts';
import type { Connection } from './connect/connector.ts';
import { SessionPoolError } from './errors.ts';
import type { Lease } from './lease.ts';
import type { Replay } from './policy/failure.ts';

/** Options of `use`. */
export interface UseOptions extends AcquireOptions {
  /**
   * Whether `work` may run a second time, on another session, when its session was lost and nothing
   * that the first run sent can have been executed. The second acquire has `timeoutMs` of its own.
   * Never with affinity. Default: `'if-not-executed'`.
   */
  readonly replay?: 'if-not-executed' | 'never' | undefined;
}

/** What work is given. */
export type Work<C, T> = (client: C, lease: Lease<C>) => T | PromiseLike<T>;

/** What `use` needs of the pool. */
export interface Usable<C> {
  readonly acquire: (options: AcquireOptions | undefined) => Promise<Lease<C>>;
  readonly aborts: AbortFanout;
}

/** How deep causes are followed. Bound: a cyclic chain of causes must not loop. */
const MAX_DEPTH = 8;

/** See `SessionPool.use`. */
export async function useLease<C, T>(
  pool: Usable<C>,
  work: Work<C, T>,
  options: UseOptions | undefined,
): Promise<T> {
  const { mayReplay, forAcquire } = split(options);
  const signal = forAcquire?.signal;
  const lease = await pool.acquire(forAcquire);
  if (!mayReplay) return runWithLease(lease, work, signal, pool.aborts);
  const first = await tryWithLease(lease, work, signal, pool.aborts);
  if (first !== 'again') return first.result;
  // On a session that was opened or has answered since: the others are under doubt (`doubt.ts`).
  // After an abort there is none: the acquire rejects with the signal's reason.
  return runWithLease(await pool.acquire(forAcquire), work, signal, pool.aborts);
}

/** A function of its own, so that a second run does not hold what the first one had. */
async function tryWithLease<C, T>(
  lease: Lease<C>,
  work: Work<C, T>,
  signal: AbortSignal | undefined,
  aborts: AbortFanout,
): Promise<{ readonly result: T } | 'again'> {
  // Order: before the work, for a session that is gone has let go of its connection.
  const { connection } = lease.session;
  try {
    return { result: await runWithLease(lease, work, signal, aborts) };
  } catch (error) {
    const replay = replayOf(lease, connection, error);
    if (replay === 'never' || (replay === 'once-if-reused' && !lease.wasAtHand)) throw error;
    return 'again';
  }
}

async function runWithLease<C, T>(
  lease: Lease<C>,
  work: Work<C, T>,
  signal: AbortSignal | undefined,
  aborts: AbortFanout,
): Promise<T> {
  let stopListening: () => void = () => undefined;
  try {
    if (signal === undefined) return await work(lease.client, lease);
    // It may have aborted between the grant and this turn: then the work must not begin.
    signal.throwIfAborted();
    const aborted = new Promise<never>((_resolve, reject) => {
      const onAbort = (): void => {
        // Order: the lease ends first, so that its calls are cancelled by the time anybody hears.
        lease.release();
        reject(signal.reason);
      };
      aborts.follow(signal, onAbort);
      stopListening = () => aborts.unfollow(signal, onAbort);
    });
    const working = (async () => work(lease.client, lease))();
    // Work that goes on after the abort may still reject: the race has taken that on.
    return await Promise.race([aborted, working]);
  } finally {
    stopListening();
    lease.release();
  }
}

/** Whether work with `lease` that failed with `error` may run again. */
function replayOf<C>(
  lease: Lease<C>,
  connection: Connection<C> | undefined,
  error: unknown,
): Replay {
  const client = lease.lentClient;
  // With affinity a loss is never papered over: what the session held is gone.
  if (client === undefined || lease.request.target.affinity !== undefined) return 'never';
  let isLoss = false;
  let each = error;
  try {
    for (let depth = 0; depth < MAX_DEPTH && each !== undefined; depth += 1) {
      isLoss ||= isUnexecutedLoss(each);
      // The connection knows whether it is a loss of this very session.
      const replay = isLoss ? connection?.replayOf?.(client, each) : 'never';
      // Whatever else it says, a promise or a boolean, is no permission.
      if (replay === 'once' || replay === 'once-if-reused') return replay;
      each = (each as { cause?: unknown } | null)?.cause;
    }
  } catch {
    // The connection threw, or the error did when it was read: that means no.
  }
  return 'never';
}

const isUnexecutedLoss = (error: unknown): boolean =>
  SessionPoolError.is(error) &&
  error.code === 'SESSION_LOST' &&
  (error as { execution?: unknown }).execution === 'not-executed';

function split(options: UseOptions | undefined): {
  readonly mayReplay: boolean;
  readonly forAcquire: AcquireOptions | undefined;
} {
  if (options === undefined || !('replay' in options)) {
    return { mayReplay: true, forAcquire: options };
  }
  const { replay = 'if-not-executed', ...forAcquire } = options;
  if (replay !== 'if-not-executed' && replay !== 'never') {
    throw new TypeError("Expected `replay` to be 'if-not-executed' or 'never'");
  }
  return { mayReplay: replay === 'if-not-executed', forAcquire };
}
