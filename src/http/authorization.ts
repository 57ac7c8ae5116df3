// OAuth for one session: the credentials that its requests carry, and what a 401 or a 403 with a
// challenge leads to: when a flow runs, for whom, and when none does any more. Knows no messages.

import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import { againstSignal } from '../against-signal.ts';
import type { Clock } from '../clock.ts';
import { SessionLostError } from '../errors.ts';
import type { AnswerHead } from './answer-reader.ts';
import { type FlowAim, readChallenge, runAuthorizationFlow } from './authorization-flow.ts';
import { HttpRequestError } from './http-request-error.ts';

/** What it works with. */
export interface AuthorizationOptions {
  readonly endpoint: URL;
  readonly provider: OAuthClientProvider;
  /** On the session's dispatcher. Never carries the session's own headers. */
  readonly fetch: FetchLike;
  readonly clock: Clock;
}

/** What one request has already tried; starts empty, `Authorization.onChallenge` fills it. */
export interface ChallengeHistory {
  refreshed: boolean;
  steppedUp: boolean;
}

/** How long one flow may take: metadata, registration, token, and the provider's own part. */
const AUTH_TIMEOUT_MS = 30_000;
/** How long no flow runs after the server has refused the token of the last one. */
const FUTILE_PAUSE_MS = 30_000;
/** A flow that runs. */
interface Flow {
  /** Who asks with the same key is served by this flow too. */
  readonly key: string;
  readonly controller: AbortController;
  /** Whether there are new credentials. */
  readonly result: Promise<boolean>;
}

/** See the file header. */
export class Authorization {
  readonly #options: AuthorizationOptions;
  #isClosed = false;
  /** At most one for a challenge, since two would use up the same refresh token; and sign-ins. */
  readonly #flows = new Set<Flow>();
  /** What the last challenges asked for; a sign-in is completed for the same. */
  #aim: FlowAim = {};
  /** The header with the token of the last flow that succeeded. */
  #gainedHeader: string | undefined;
  /** The challenge that the last step-up was for, and the header that it gained. */
  #steppedUp: { readonly challenge: string; readonly header: string | undefined } | undefined;
  /** A challenge that came again for the header that stepping up for it had gained. */
  #futileChallenge: string | undefined;
  /** No flow starts before this instant. */
  #pausedUntil = Number.NEGATIVE_INFINITY;

  constructor(options: AuthorizationOptions) {
    this.#options = options;
  }

  /**
   * The `authorization` header of the next request; `undefined` while there is no token. Asks the
   * provider, and takes as long as the provider does.
   */
  async header(): Promise<string | undefined> {
    this.#assertOpen();
    return this.#currentHeader();
  }

  /**
   * The server answered 401, or 403. True: there are new credentials, send once more. False: there
   * is nothing (more) to try. Rejects with what the flow failed with: the SDK's `UnauthorizedError`
   * when somebody has to sign in.
   */
  async onChallenge(
    head: AnswerHead,
    sentHeader: string | undefined,
    history: ChallengeHistory,
  ): Promise<boolean> {
    this.#assertOpen();
    const challenge = challengeOf(head);
    if (head.status === 401) return this.#onUnauthorized(challenge, sentHeader, history);
    if (head.status === 403) return this.#onForbidden(challenge, sentHeader, history);
    return false;
  }

  /** Completes a sign-in with the code it led to; after `close` only with a `fetch` for it. */
  async finish(authorizationCode: string, fetch?: FetchLike): Promise<void> {
    if (fetch === undefined) this.#assertOpen();
    // Waits for no other flow: it may be called out of one, by a provider that signs in by itself.
    await this.#start('sign-in', async (signal) => {
      await this.#authorize({ ...this.#aim, authorizationCode }, signal, fetch);
      // Somebody has signed in: what did not help before may help now.
      this.#futileChallenge = undefined;
      this.#pausedUntil = Number.NEGATIVE_INFINITY;
      return true;
    });
  }

  /** Ends what is under way; nothing is fetched any more. Idempotent. */
  close(): void {
    this.#isClosed = true;
    for (const { controller } of this.#flows) controller.abort(closedError());
  }

  async #onUnauthorized(
    challenge: string,
    sentHeader: string | undefined,
    history: ChallengeHistory,
  ): Promise<boolean> {
    if (history.refreshed) {
      // Bound: a server that refuses even new tokens gets one flow per pause, not one per request.
      if (sentHeader !== undefined && sentHeader === this.#gainedHeader) {
        this.#pausedUntil = this.#options.clock.now() + FUTILE_PAUSE_MS;
      }
      return false;
    }
    history.refreshed = true;
    const { resourceMetadataUrl, scope } = await readChallenge(challenge);
    return this.#once(`401 ${sentHeader}`, async (signal) => {
      const current = await this.header();
      // Another request, or another session, has refreshed it meanwhile.
      if (current !== undefined && current !== sentHeader) return true;
      if (this.#isPaused()) return false;
      this.#aim = { resourceMetadataUrl, scope };
      await this.#authorize(this.#aim, signal);
      return true;
    });
  }

  async #onForbidden(
    challenge: string,
    sentHeader: string | undefined,
    history: ChallengeHistory,
  ): Promise<boolean> {
    const { error, resourceMetadataUrl, scope } = await readChallenge(challenge);
    if (error !== 'insufficient_scope') return false;
    if (this.#steppedUp?.challenge === challenge && this.#steppedUp.header === sentHeader) {
      this.#futileChallenge = challenge;
    }
    if (this.#futileChallenge !== challenge) this.#futileChallenge = undefined;
    if (history.steppedUp || this.#futileChallenge !== undefined) return false;
    history.steppedUp = true;
    return this.#once(`403 ${sentHeader} ${challenge}`, async (signal) => {
      const current = await this.header();
      const gained = this.#steppedUp?.challenge === challenge ? this.#steppedUp.header : undefined;
      // Another request has stepped up for it meanwhile. Other new tokens are no reason to hope.
      if (gained !== undefined && gained === current && current !== sentHeader) return true;
      if (this.#isPaused()) return false;
      this.#aim = {
        resourceMetadataUrl: resourceMetadataUrl ?? this.#aim.resourceMetadataUrl,
        scope: scope ?? this.#aim.scope,
      };
      await this.#authorize(this.#aim, signal);
      this.#steppedUp = { challenge, header: this.#gainedHeader };
      return true;
    });
  }

  /** Runs `run` when no other flow does; if one with the same key does, that one counts. */
  async #once(key: string, run: (signal: AbortSignal) => Promise<boolean>): Promise<boolean> {
    // Bound: each flow ends in time, and with `close` there are no more of them.
    for (let [flow] = this.#flows; flow !== undefined; [flow] = this.#flows) {
      if (flow.key === key) return flow.result;
      await flow.result.catch(() => {});
    }
    this.#assertOpen();
    // Order: no await since the loop saw that no flow runs.
    return this.#start(key, run);
  }

  #start(key: string, run: (signal: AbortSignal) => Promise<boolean>): Promise<boolean> {
    const { clock } = this.#options;
    const controller = new AbortController();
    const { signal } = controller;
    const timer = clock.setTimeout(() => controller.abort(timeoutError()), AUTH_TIMEOUT_MS);
    // Order: it is known as a flow before it asks the provider for anything, so that `close` ends
    // it.
    const work = Promise.resolve(signal).then(run);
    const result = againstSignal(signal, work).finally(() => {
      clock.clearTimeout(timer);
      this.#flows.delete(flow);
    });
    const flow: Flow = { key, controller, result };
    this.#flows.add(flow);
    return result;
  }

  async #currentHeader(): Promise<string | undefined> {
    const tokens = await this.#options.provider.tokens();
    return tokens?.access_token === undefined ? undefined : `Bearer ${tokens.access_token}`;
  }

  async #authorize(
    aim: FlowAim,
    signal: AbortSignal,
    fetch: FetchLike = this.#options.fetch,
  ): Promise<void> {
    await runAuthorizationFlow({ ...this.#options, fetch }, aim, signal);
    this.#gainedHeader = await this.#currentHeader();
  }

  #isPaused(): boolean {
    return this.#options.clock.now() < this.#pausedUntil;
  }

  #assertOpen(): void {
    if (this.#isClosed) throw closedError();
  }
}

/** The challenge as text: the one for bearer tokens, where there are several. */
function challengeOf(head: AnswerHead): string {
  const value = head.headers['www-authenticate'] ?? '';
  if (typeof value === 'string') return value;
  return value.find((each) => /^bearer\b/i.test(each)) ?? value.join(', ');
}

function timeoutError(): HttpRequestError {
  const message = `Authorization took more than ${AUTH_TIMEOUT_MS}ms`;
  return new HttpRequestError('TIMEOUT', message, {
    execution: 'not-executed',
    sessionLost: false,
  });
}

function closedError(): SessionLostError {
  return new SessionLostError('The transport was closed', 'not-executed');
}
