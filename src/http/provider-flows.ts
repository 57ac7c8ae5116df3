// The OAuth flows of one provider, over all sessions that were given it: one at a time, for two
// would use the same refresh token, and servers take that for theft. Also remembers what the last
// ones came to, so that what helped nobody is not tried by everybody. Knows no challenges.

import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import { againstSignal } from '../against-signal.ts';
import type { Clock, Timer } from '../clock.ts';
import { fetchOn } from './dispatcher-fetch.ts';
import type { DispatcherHold } from './dispatchers.ts';
import { HttpRequestError } from './http-request-error.ts';

/** What a flow works with. */
export interface FlowTools {
  readonly signal: AbortSignal;
  /** Never carries headers of a session. */
  readonly fetch: FetchLike;
}

/** Whoever starts a flow: what it is run with. */
export interface FlowStarter {
  readonly clock: Clock;
  readonly dispatchers: Pick<DispatcherHold, 'another'>;
}

/** A flow that runs. */
export interface Flow {
  /** Who asks with the same key is served by this flow too. */
  readonly key: string;
  /** Whether there are new credentials. */
  readonly result: Promise<boolean>;
}

interface RunningFlow extends Flow {
  /** Synchronous: its sockets are gone when it returns, its result rejects with `reason`. */
  readonly end: (reason: Error) => void;
}

/** How long one flow may take: metadata, registration, token, and the provider's own part. */
const AUTH_TIMEOUT_MS = 30_000;

/** See the file header. */
export class ProviderFlows {
  /** The header with the token of the last flow that succeeded. */
  gainedHeader: string | undefined;
  /** The challenge that the last step-up was for, and the header that it gained. */
  steppedUp: { readonly challenge: string; readonly header: string | undefined } | undefined;
  /** A challenge that came again for the header that stepping up for it had gained. */
  futile: { readonly challenge: string; readonly until: number } | undefined;
  /** What the last flow failed with, for whom, and until when it speaks for others. */
  failed:
    | {
        readonly asked: string;
        readonly header: string | undefined;
        readonly error: unknown;
        readonly until: number;
      }
    | undefined;
  /** No flow starts before this instant. */
  pausedUntil: number = Number.NEGATIVE_INFINITY;
  /** Sessions that live. What is under way goes on for the others when the one that began ends. */
  readonly #members = new Set<object>();
  /** At most one for a challenge; and sign-ins. */
  readonly #running = new Set<RunningFlow>();

  /** The flow that runs, and the oldest where there are several. */
  get running(): Flow | undefined {
    const [flow] = this.#running;
    return flow;
  }

  join(member: object): void {
    this.#members.add(member);
  }

  /** The last one to leave ends what is under way: nothing is fetched any more. Idempotent. */
  leave(member: object, reason: Error): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    for (const flow of this.#running) flow.end(reason);
  }

  /** Runs `run` as a flow. Bound: `AUTH_TIMEOUT_MS`, whatever `run` does. */
  start(
    key: string,
    run: (tools: FlowTools) => Promise<boolean>,
    { clock, dispatchers }: FlowStarter,
  ): Promise<boolean> {
    const controller = new AbortController();
    const { signal } = controller;
    // Its own: the session that began may end before it.
    const hold = dispatchers.another();
    const end = (reason: Error): void => {
      controller.abort(reason);
      hold.release(reason);
    };
    const timer: Timer = clock.setTimeout(() => end(timeoutError()), AUTH_TIMEOUT_MS);
    // Order: it is known as a flow before it asks the provider for anything, so that `leave` ends
    // it.
    const work = Promise.resolve({ signal, fetch: fetchOn(hold) }).then(run);
    const result = againstSignal(signal, work).finally(() => {
      clock.clearTimeout(timer);
      this.#running.delete(flow);
      hold.release(new Error('The authorization is over'));
    });
    const flow: RunningFlow = { key, result, end };
    this.#running.add(flow);
    return result;
  }
}

/**
 * Finds the flows of a provider, by the object: sessions that share one share its flows. Holds no
 * provider that nobody else holds.
 */
export class ProviderFlowsMap {
  readonly #flows = new WeakMap<OAuthClientProvider, ProviderFlows>();

  of(provider: OAuthClientProvider): ProviderFlows {
    const known = this.#flows.get(provider);
    if (known !== undefined) return known;
    const flows = new ProviderFlows();
    this.#flows.set(provider, flows);
    return flows;
  }
}

function timeoutError(): HttpRequestError {
  const message = `Authorization took more than ${AUTH_TIMEOUT_MS}ms`;
  return new HttpRequestError('TIMEOUT', message, {
    execution: 'not-executed',
    sessionLost: false,
  });
}
