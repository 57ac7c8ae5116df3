// Time, as the pool sees it: one injected clock, so that tests control every wait. The only module
// that may touch timers, `performance` or `AbortSignal.timeout`.

/** The longest delay a timer takes. Node turns anything above it into 1 ms (hazard 3b). */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** A pending timer. Referenced (it keeps the process alive) until `unref()` is called. */
export interface Timer {
  ref(): unknown;
  unref(): unknown;
}

/** What the pool needs to know of time. Instants are monotonic milliseconds of no fixed origin. */
export interface Clock {
  /** The present instant. */
  now(): number;
  /** Runs `run` once after `delayMs` (clamped to [0, 2^31-1]), on a referenced timer. */
  setTimeout(run: () => void, delayMs: number): Timer;
  clearTimeout(timer: Timer): void;
  /** A signal that aborts after `delayMs`. It does not keep the process alive by itself. */
  timeoutSignal(delayMs: number): AbortSignal;
  /** Runs `run` after the event loop had a chance to serve others. Keeps the process alive. */
  yield(run: () => void): void;
}

const clamp = (delayMs: number): number => Math.min(Math.max(delayMs, 0), MAX_TIMER_MS);

// The global is an accessor in Node, and reading it costs a third of `now`. Its method is read at
// call time, so that global fakes work too.
const { performance } = globalThis;

/** The clock of the process. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (run, delayMs) => globalThis.setTimeout(run, clamp(delayMs)),
  clearTimeout: (timer) => globalThis.clearTimeout(timer as NodeJS.Timeout),
  timeoutSignal: (delayMs) => AbortSignal.timeout(Math.ceil(clamp(delayMs))),
  yield: (run) => {
    globalThis.setImmediate(run);
  },
};

/**
 * The instant that a date in an HTTP header names, in ms of the wall clock of whoever wrote it;
 * `undefined` for other text. Dates without a zone (asctime, obsolete since 1996) are not read.
 */
export function httpDateMs(text: string): number | undefined {
  if (!/^[A-Z][a-z]{2,8}, .{9,} GMT$/.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : at;
}
