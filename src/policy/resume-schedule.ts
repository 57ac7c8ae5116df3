// When the stream of one call that ended before its response is asked for again, and when that is
// given up. Unlike the notification stream, somebody waits: the waits are short, and what bounds
// them is the call's own timeout. Pure.

/** What is known of one call's attempts. Replaced, never changed. */
export interface ResumeSchedule {
  /** Streams in a row that ended without a message. A server may do so on purpose (SEP-1699). */
  readonly empty: number;
  /** Requests in a row that brought no stream. */
  readonly failures: number;
  /** The server's latest `retry`, in ms. */
  readonly retryMs: number | undefined;
}

/** What to do next. */
export interface ResumeStep {
  readonly schedule: ResumeSchedule;
  readonly waitMs: number;
}

/** A call whose stream has not ended yet. */
export const freshSchedule: ResumeSchedule = { empty: 0, failures: 0, retryMs: undefined };

/** A server may ask for less; no stream is asked for sooner than this after the last. */
const FLOOR_MS = 100;
/** What the protocol leaves open when the server names no `retry`. */
const RETRY_DEFAULT_MS = 1_000;
const RETRY_MAX_MS = 300_000;
/** The longest wait that we choose ourselves. */
const BACKOFF_MAX_MS = 5_000;
const FAILURES_MAX = 5;

/** The stream ended, without the response. */
export function afterEarlyEnd(
  schedule: ResumeSchedule,
  stream: { readonly broughtMessage: boolean; readonly retryMs: number | undefined },
): ResumeStep {
  const empty = stream.broughtMessage ? 0 : schedule.empty + 1;
  const retryMs = stream.retryMs ?? schedule.retryMs;
  const asked = Math.min(Math.max(retryMs ?? RETRY_DEFAULT_MS, FLOOR_MS), RETRY_MAX_MS);
  // The first two empty ends are how servers poll; a server that goes on is slowed down.
  const backoffMs = empty <= 2 ? 0 : doubled(empty - 2);
  return { schedule: { empty, failures: 0, retryMs }, waitMs: Math.max(asked, backoffMs) };
}

/** The server could not be reached, or had no stream. `undefined`: give up. */
export function afterNoStream(schedule: ResumeSchedule): ResumeStep | undefined {
  const failures = schedule.failures + 1;
  if (failures >= FAILURES_MAX) return undefined;
  return { schedule: { ...schedule, failures }, waitMs: doubled(failures) };
}

const doubled = (step: number): number => Math.min(500 * 2 ** Math.min(step, 10), BACKOFF_MAX_MS);

/** Whether an answer means that the server knows the event no more, or can't take its id. */
export function refusesEvent(status: number | undefined): boolean {
  if (status === undefined || status < 400 || status >= 500) return false;
  return ![401, 403, 408, 429].includes(status);
}
