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
 * `origin`: the lane whose call's stream it came on. `only-lease`: the one live lease.
 * `all-leases`: each of them. `session`: the session's own client, which answers pings and knows
 * no other method. `nobody`: dropped.
 */
export type Route = 'origin' | 'only-lease' | 'all-leases' | 'session' | 'nobody';

/**
 * Tells of the server's state rather than of one call: every lease of the session wants to know.
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
  if (view.origin === 'live') return 'origin';
  return isOnlyLeases(view) ? 'only-lease' : 'session';
}

/**
 * Where a notification of the server goes. Progress and cancellation name a request and are routed
 * by it before. Log messages and everything else belong to one lease: attributed, or the exclusive
 * one. On a shared session an unattributed one is dropped, for it may tell of another caller's
 * call.
 */
export function routeNotification(method: string, view: RouteView): Route {
  if (FOR_ALL.has(method)) return 'all-leases';
  if (view.origin === 'live') return 'origin';
  return isOnlyLeases(view) ? 'only-lease' : 'nobody';
}

/** Whether it can be meant for nobody but the one lease there is. */
function isOnlyLeases({ origin, exclusive, leases }: RouteView): boolean {
  return origin === 'unknown' && exclusive && leases === 1;
}
