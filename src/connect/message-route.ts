// To whom a message that the server sent on its own goes (design section 8). Pure: decides from
// what is known of the message and the session, and never guesses between leases.

/** What the decision depends on. */
export interface RouteView {
  /**
   * On whose response stream the message came: of a call in flight, of one that is over (its lease
   * may have ended, and another have the session), or nobody knows (the notification stream).
   */
  readonly origin: 'live' | 'over' | 'unknown';
  /** Live leases of the session. */
  readonly leases: number;
  /** The session is lent to one lease at a time, so that the one lease is the one meant. */
  readonly exclusive: boolean;
}

/**
 * `origin`: the lane whose call's stream it came on. `only-lease`: the one live lease. `session`:
 * the session's own lane, which answers pings and asks the pool's handlers. `everybody`: all leases
 * and the session's own lane. `caller-gone`: refused or dropped, for whoever is meant has left.
 */
export type Route = 'origin' | 'only-lease' | 'session' | 'everybody' | 'caller-gone';

/**
 * Tells of the server's state rather than of one call: every lease of the session wants to know,
 * and whoever keeps what sessions have in common.
 */
const FOR_ALL = new Set([
  'notifications/tools/list_changed',
  'notifications/prompts/list_changed',
  'notifications/resources/list_changed',
  'notifications/resources/updated',
]);

/** Where a request of the server goes. */
export function routeRequest(method: string, view: RouteView): Route {
  // Answered whether or not somebody leases: a server that gets no pong ends the session.
  if (method === 'ping') return 'session';
  return routeByOrigin(view);
}

/**
 * Where a notification of the server goes. Progress and cancellation name a request and are routed
 * by it before. Log messages and everything else belong to one lease: attributed, or the exclusive
 * one. On a shared session no lease gets an unattributed one, for it may tell of another caller's
 * call.
 */
export function routeNotification(method: string, view: RouteView): Route {
  return FOR_ALL.has(method) ? 'everybody' : routeByOrigin(view);
}

function routeByOrigin({ origin, exclusive, leases }: RouteView): Route {
  if (origin === 'live') return 'origin';
  // Its lease may have ended: neither the next one nor the pool is meant.
  if (origin === 'over') return 'caller-gone';
  // With one lease at a time it can be meant for nobody but the one there is.
  return exclusive && leases === 1 ? 'only-lease' : 'session';
}
