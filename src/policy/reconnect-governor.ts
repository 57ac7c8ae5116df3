// Decides when the next event stream (GET) of one chain of streams may be asked for: never sooner
// than a second after the last one, ever later while streams neither bring a message nor last, and
// at once again when they do. Pure: it knows no timer, no request and no fence.

/** No event stream is asked for sooner than this after the one before it began or ended. */
export const RECONNECT_FLOOR_MS = 1_000;
/** The longest wait, and the largest `retry` of a server that is honoured. */
const RECONNECT_CEILING_MS = 300_000;
/** A stream that lasted this long was no failure: servers and proxies close streams on purpose. */
const STEADY_AFTER_MS = 60_000;
/** Redirects and authorizations in a row that may be followed at once. The SDK follows five. */
const FOLLOW_UPS_MAX = 5;

/** What is known of one chain of event streams. Replaced, never changed. */
export interface ReconnectGovernor {
  /** Streams in a row that neither brought a message nor lasted. 0: healthy. */
  readonly flaps: number;
  /** Answers in a row that bid the client ask again at once: a redirect, a 401. */
  readonly followUps: number;
  /** The instant before which no stream may be asked for. */
  readonly notBeforeAt: number;
  /** The latest `retry` of the server, clamped. It holds until the server sends another. */
  readonly retryMs: number | undefined;
}

/** How a stream went. `livedMs` counts from its headers. */
export interface EndedStream {
  readonly livedMs: number;
  readonly broughtMessage: boolean;
  readonly retryMs: number | undefined;
}

/** A chain that has not begun: its first stream may be asked for at once. */
export const freshGovernor: ReconnectGovernor = {
  flaps: 0,
  followUps: 0,
  notBeforeAt: Number.NEGATIVE_INFINITY,
  retryMs: undefined,
};

/** A server's `retry`, within what is honoured. */
export function clampRetryMs(retryMs: number): number {
  return Math.min(Math.max(retryMs, RECONNECT_FLOOR_MS), RECONNECT_CEILING_MS);
}

/** How long a stream asked for at `now` has to wait. 0: it may go. */
export function reconnectWaitMs(governor: ReconnectGovernor, now: number): number {
  return Math.max(0, governor.notBeforeAt - now);
}

/** A stream was asked for: the next one of the chain keeps its distance even if none ever ends. */
export function afterStart(governor: ReconnectGovernor, now: number): ReconnectGovernor {
  return { ...governor, notBeforeAt: now + RECONNECT_FLOOR_MS };
}

/** A stream ended. `random` is in [0, 1). */
export function afterStream(
  governor: ReconnectGovernor,
  stream: EndedStream,
  now: number,
  random: number,
): ReconnectGovernor {
  const isHealthy = stream.broughtMessage || stream.livedMs >= STEADY_AFTER_MS;
  const flaps = isHealthy ? 0 : governor.flaps + 1;
  const retryMs = stream.retryMs === undefined ? governor.retryMs : clampRetryMs(stream.retryMs);
  const waitMs = Math.max(backoffMs(flaps, random), spreadRetryMs(retryMs, random));
  return { flaps, followUps: 0, notBeforeAt: now + waitMs, retryMs };
}

/** No stream came: the server could not be reached, or refused. Counts as a stream that flapped. */
export function afterFailure(
  governor: ReconnectGovernor,
  now: number,
  random: number,
): ReconnectGovernor {
  const nothing = { livedMs: 0, broughtMessage: false, retryMs: undefined };
  return afterStream(governor, nothing, now, random);
}

/** The answer asks for another request right away. Granted a few times in a row, then a failure. */
export function afterFollowUp(
  governor: ReconnectGovernor,
  now: number,
  random: number,
): ReconnectGovernor {
  const followUps = governor.followUps + 1;
  if (followUps <= FOLLOW_UPS_MAX) return { ...governor, followUps, notBeforeAt: now };
  return { ...afterFailure(governor, now, random), followUps };
}

/** Doubles with each flap; the upper half of each step is drawn, so that sessions spread out. */
function backoffMs(flaps: number, random: number): number {
  if (flaps === 0) return RECONNECT_FLOOR_MS;
  const stepMs = Math.min(RECONNECT_FLOOR_MS * 2 ** Math.min(flaps, 30), RECONNECT_CEILING_MS);
  return stepMs / 2 + (random * stepMs) / 2;
}

/**
 * A server's `retry`, up to a tenth longer, and at the ceiling up to a tenth shorter: sessions that
 * were cut off together must not come back together.
 */
function spreadRetryMs(retryMs: number | undefined, random: number): number {
  if (retryMs === undefined) return 0;
  const spread = retryMs * (1 + random / 10);
  return spread <= RECONNECT_CEILING_MS ? spread : RECONNECT_CEILING_MS * (1 - random / 10);
}
