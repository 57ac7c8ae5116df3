// The recipe for a process that is told to end: its pool is closed first, in order and in time, and
// then it ends as it would have without. Knows a pool by its `close` alone.

import { constants } from 'node:os';
import { type CloseOptions, type CloseReport, checkCloseOptions } from './closing.ts';
import { checkKnown } from './known-members.ts';
import { listenToProcess } from './process-listeners.ts';
import { killLiveGroups } from './stdio/live-groups.ts';

/** What `closeOnSignals` closes. */
export interface ClosablePool {
  close(options?: CloseOptions): Promise<CloseReport>;
}

/** Options of `closeOnSignals`. */
export interface CloseOnSignalsOptions {
  /** As for `pool.close`. Minimum 0. Default: 0, leases are taken back at once. */
  readonly drainTimeoutMs?: number | undefined;
  /** Default: `['SIGTERM', 'SIGINT', 'SIGHUP']`. */
  readonly signals?: readonly NodeJS.Signals[] | undefined;
}

const SIGNALS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP'];

/**
 * Closes `pool` when the process gets one of `signals`, and then ends the process by that same
 * signal, so that whoever sent it sees why: unless somebody else listens to it too, whose decision
 * it then is. A second signal ends the drain; the next one, or the second where there was no drain,
 * ends the process at once, with code 128 + the signal's number. No process of a server is left
 * behind in any of these cases; those of pools that do not listen to the signal are killed.
 *
 * Servers over stdio are kept out of reach of Ctrl+C and of signals to the process group, so that
 * they can be ended in order: a process with such servers needs this, or the same by its own hand.
 *
 * @example
 * ```ts
 * const pool = new SessionPool();
 * closeOnSignals(pool, { drainTimeoutMs: 10_000 });
 * ```
 *
 * @returns Takes the listeners off again. Idempotent. What a signal has begun goes on, and the
 * listeners stay until it has ended.
 * @throws TypeError or RangeError for a malformed option.
 */
export function closeOnSignals(
  pool: ClosablePool,
  options: CloseOnSignalsOptions = {},
): () => void {
  checkKnown('option', options, new Set(['drainTimeoutMs', 'signals']));
  const { drainTimeoutMs = 0, signals = SIGNALS } = options;
  checkCloseOptions({ drainTimeoutMs });
  checkSignals(signals);
  let signalCount = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    signalCount += 1;
    if (signalCount === 1) {
      // It settles in time and does not reject; a pool of somebody else's may.
      const end = (): void => {
        stopListening();
        endBy(signal);
      };
      pool.close({ drainTimeoutMs }).then(end, end);
    } else if (signalCount === 2 && drainTimeoutMs > 0) {
      // Its failure is the first close's too, which ends the process above, however it ends.
      pool.close({ drainTimeoutMs: 0 }).catch(() => {});
    } else {
      // What is left of servers is killed by those who listen to the process's exit.
      exitBy(signal);
    }
  };
  const stopListening = listenToProcess(signals, onSignal);
  return () => {
    // What has begun listens to its end: without, another pool's end, or a second signal, would end
    // the process in mid-close, and servers that ignore the end of their input would be left.
    if (signalCount === 0) stopListening();
  };
}

/** Ends the process as `signal` does, unless somebody listens to it. */
function endBy(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 0) return;
  // Of pools that do not listen to this signal: nobody else would.
  killLiveGroups();
  process.kill(process.pid, signal);
  // The first process of a container is spared by signals that it does not listen to.
  exitBy(signal);
}

function exitBy(signal: NodeJS.Signals): never {
  process.exit(128 + constants.signals[signal]);
}

function checkSignals(signals: readonly NodeJS.Signals[]): void {
  const isHeard = (each: unknown): boolean =>
    Object.hasOwn(constants.signals, String(each)) && each !== 'SIGKILL' && each !== 'SIGSTOP';
  if (Array.isArray(signals) && signals.length > 0 && signals.every(isHeard)) return;
  throw new TypeError('Expected `signals` to be names of signals that can be listened to');
}
