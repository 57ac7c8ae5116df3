// What the server sends on its own: finds the lane that each request and notification belongs to,
// and remembers which lane owes which answer. Sits under the session link; sends nothing itself.

import type {
  JSONRPCMessage,
  JSONRPCNotification,
  JSONRPCRequest,
  MessageExtraInfo,
  RequestId,
} from '@modelcontextprotocol/sdk/types.js';
import type { Clock } from '../clock.ts';
import { createBudget } from '../policy/budget.ts';
import type { CallTable } from './call-table.ts';
import type { Lane } from './lane.ts';
import type { Route, RouteView } from './message-route.ts';
import { routeNotification, routeRequest } from './message-route.ts';

/** Tells on which call's response stream a message came: its upstream id, where that is known. */
export type OriginOf = (message: JSONRPCMessage, extra?: MessageExtraInfo) => number | undefined;

/** What the routing rests on. */
export interface ServerMessagesOptions {
  readonly calls: CallTable;
  readonly clock: Clock;
  /** The session's own lane: answers pings, and asks the pool's handlers for all else. */
  readonly root: Lane;
  /** The session is lent to one lease at a time. */
  readonly exclusive: boolean;
  readonly originOf: OriginOf | undefined;
  /** Answers a request with an error. */
  readonly refuse: (lane: Lane, id: RequestId, error: { code: number; message: string }) => void;
  /** Tells of what the server did that it must not. */
  readonly report: (error: unknown) => void;
}

/** Requests that lanes have not answered yet. Bound: a server can't grow the table without end. */
const MAX_ASKED = 1_000;
const BUSY = { code: -32_603, message: 'Too many unanswered requests' } as const;
const CALLER_GONE = { code: -32_000, message: 'The caller is gone' } as const;

/**
 * What a server may send per minute while nobody leases: 1,000 messages of up to 1 KiB, or fewer.
 */
const IDLE_BUDGET = { kibibytes: 1_000, periodMs: 60_000 } as const;

/** Where a message came from, and the lane of the call in flight on whose stream it came. */
interface Origin {
  readonly origin: RouteView['origin'];
  readonly lane: Lane | undefined;
}

/** See the file header. */
export class ServerMessages {
  readonly #options: ServerMessagesOptions;
  /** Live leases. Changed by `join` and `leave` only. */
  readonly #leases = new Set<Lane>();
  /** Requests of the server by id, and the lane each was handed to. */
  readonly #asked = new Map<RequestId, Lane>();
  readonly #idleBudget = createBudget(IDLE_BUDGET.kibibytes, IDLE_BUDGET.periodMs);
  /** Two leases were live at once: nothing is taken for the only lease's from then on. */
  #shared = false;

  constructor(options: ServerMessagesOptions) {
    this.#options = options;
  }

  join(lane: Lane): void {
    this.#leases.add(lane);
    if (this.#leases.size > 1) this.#shared = true;
  }

  /**
   * The lane is over: what it was asked is answered for it, so that no server waits for it. Returns
   * whether there was any.
   */
  leave(lane: Lane): boolean {
    this.#leases.delete(lane);
    let owed = false;
    for (const [id, asked] of this.#asked) {
      if (asked !== lane) continue;
      owed = true;
      this.#asked.delete(id);
      this.#options.refuse(lane, id, CALLER_GONE);
    }
    return owed;
  }

  /** The session is over: nobody answers anything any more. Returns the leases that were live. */
  clear(): readonly Lane[] {
    this.#asked.clear();
    return [...this.#leases];
  }

  /** Whether `lane` was handed request `id` and has not answered it. Asked once per answer. */
  takeAnswer(lane: Lane, id: RequestId | undefined): boolean {
    return id !== undefined && this.#asked.get(id) === lane && this.#asked.delete(id);
  }

  /** Counts a message of the server. True: nobody leases, and it is more than is put up with. */
  isOverIdleBudget(message: JSONRPCMessage): boolean {
    if (this.#leases.size > 0) return false;
    const kibibytes = JSON.stringify(message).length / 1024;
    return !this.#idleBudget.spend(Math.max(1, kibibytes), this.#options.clock.now());
  }

  request(message: JSONRPCRequest, extra?: MessageExtraInfo): void {
    const { id, method } = message;
    if (this.#asked.has(id)) {
      // The one answer that can be sent is the first one's: a refusal would be taken for it.
      this.#options.report(new Error('The server used the id of a request that is not answered'));
      return;
    }
    const origin = this.#originOf(message, extra);
    const route = routeRequest(method, this.#view(origin));
    const lane = this.#lanesFor(route, origin.lane)[0];
    if (lane === undefined) {
      this.#options.refuse(this.#options.root, id, CALLER_GONE);
    } else if (this.#asked.size >= MAX_ASKED && method !== 'ping') {
      this.#options.refuse(lane, id, BUSY);
    } else {
      this.#asked.set(id, lane);
      lane.deliver(message, extra);
    }
  }

  notification(message: JSONRPCNotification, extra?: MessageExtraInfo): void {
    const { method, params } = message;
    if (method === 'notifications/progress') {
      this.#progress(message, extra);
    } else if (method === 'notifications/cancelled') {
      // The server gave up a request of its own: only the lane that works on it is told.
      const id = params?.['requestId'] as RequestId;
      const lane = this.#asked.get(id);
      this.#asked.delete(id);
      lane?.deliver(message, extra);
    } else {
      const origin = this.#originOf(message, extra);
      const route = routeNotification(method, this.#view(origin));
      const lanes = this.#lanesFor(route, origin.lane);
      // Each its own: what one lease does to a message must not show in another's.
      const isForMany = lanes.length > 1;
      for (const lane of lanes) lane.deliver(isForMany ? structuredClone(message) : message, extra);
    }
  }

  #progress(message: JSONRPCNotification, extra?: MessageExtraInfo): void {
    const { params } = message;
    const call = this.#options.calls.find(params?.['progressToken'] as RequestId | undefined);
    // Of a call that is over, or that did not ask for progress.
    if (call?.progressToken === undefined) return;
    const { progressToken } = call;
    call.lane.deliver({ ...message, params: { ...params, progressToken } }, extra);
  }

  #originOf(message: JSONRPCMessage, extra?: MessageExtraInfo): Origin {
    const callId = this.#options.originOf?.(message, extra);
    const lane = this.#options.calls.find(callId)?.lane;
    if (lane !== undefined) return { origin: 'live', lane };
    return { origin: callId === undefined ? 'unknown' : 'over', lane: undefined };
  }

  #view({ origin }: Origin): RouteView {
    const exclusive = this.#options.exclusive && !this.#shared;
    return { origin, leases: this.#leases.size, exclusive };
  }

  #lanesFor(route: Route, origin: Lane | undefined): readonly Lane[] {
    switch (route) {
      case 'origin':
        return origin ? [origin] : [];
      case 'only-lease':
        return [...this.#leases];
      case 'everybody':
        // A copy: what a lane does on delivery may end leases.
        return [...this.#leases, this.#options.root];
      case 'session':
        return [this.#options.root];
      case 'caller-gone':
        return [];
      default:
        return route satisfies never;
    }
  }
}
