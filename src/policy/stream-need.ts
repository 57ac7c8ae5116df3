// Learns which endpoints end sessions that keep no notification stream: servers that ping an idle
// session, and drop it when nobody answers, can't be answered without one. Pure: the instant is an
// argument.

/** What is known of one endpoint. Replaced, never changed. */
export interface StreamNeed {
  /** Times that sessions without a stream were found dead after silence. */
  readonly deaths: number;
  /** When the latest of these was counted. */
  readonly countedAt: number;
  /** A stream did not help either, or there is none to be had. */
  readonly isUseless: boolean;
}

/** An endpoint that nothing is known of. */
export const noNeed: StreamNeed = {
  deaths: 0,
  countedAt: Number.NEGATIVE_INFINITY,
  isUseless: false,
};

/** One death may be a server's restart; a habit shows twice. */
const DEATHS_MIN = 2;
/** Deaths within this time count as one: a restart ends all sessions together. */
const SAME_CAUSE_MS = 5_000;

/** Whether new sessions of the endpoint should open a stream at once. */
export function needsStream({ deaths, isUseless }: StreamNeed): boolean {
  return deaths >= DEATHS_MIN && !isUseless;
}

/** A session was found dead after silence, at `now`. */
export function afterSilentDeath(need: StreamNeed, hadStream: boolean, now: number): StreamNeed {
  if (hadStream) return { ...need, isUseless: true };
  if (now - need.countedAt < SAME_CAUSE_MS) return need;
  return { ...need, deaths: need.deaths + 1, countedAt: now };
}
