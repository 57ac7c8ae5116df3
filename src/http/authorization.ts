// OAuth for one session: the credentials that its requests carry, and what a 401 or a 403 with a
// challenge leads to: when a flow runs, for whom, and when none does any more. Sessions with the
// same provider share its flows. Knows no messages.

import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import type { OAuthTokens } from '@modelcontextprotocol/sdk/shared/auth.js';
import type { Clock } from '../clock.ts';
import { SessionLostError } from '../errors.ts';
import { asksForSignIn } from '../policy/failure.ts';
import type { AnswerHead } from './answer-reader.ts';
import {
  type FlowAim,
  type LoadOAuth,
  readChallenge,
  runAuthorizationFlow,
  scopeUnion,
} from './authorization-flow.ts';
import type { DispatcherHold } from './dispatchers.ts';
import { type FlowTools, ProviderFlows } from './provider-flows.ts';

/** What it works with. */
export interface AuthorizationOptions {
  readonly endpoint: URL;
  readonly provider: OAuthClientProvider;
  /** Flows are fetched through others like it: they may outlive the session. */
  readonly dispatchers: Pick<DispatcherHold, 'another'>;
  /** Shared with the other sessions of this provider. Default: its own. */
  readonly flows?: ProviderFlows | undefined;
  /** Told what the provider threw, or a flow failed with that asks for no sign-in. */
  readonly onFailed?: ((error: unknown) => void) | undefined;
  /** Default: SDK 1. */
  readonly oauth?: LoadOAuth | undefined;
  readonly clock: Clock;
}

/** What one request has already tried; starts empty, `Authorization.onChallenge` fills it. */
export interface ChallengeHistory {
  /** Somebody waits who could sign in. */
  readonly isAttended: boolean;
  refreshed: boolean;
  steppedUp: boolean;
}

/** How long no flow runs after the server has refused the token of the last one. */
const FUTILE_PAUSE_MS = 30_000;
/**
 * How long a flow that failed speaks for others of its kind, while the token stays. Each one that
 * ends in a sign-in makes the link of the sign-in before it useless.
 */
const FAILED_PAUSE_MS = 5_000;
/** How long nobody steps up again for a challenge that stepping up did not help with. */
const FUTILE_CHALLENGE_MS = 1_800_000;

/** See the file header. */
export class Authorization {
  readonly #options: AuthorizationOptions;
  readonly #flows: ProviderFlows;
  #isClosed = false;
  /** What the last challenges asked for; a sign-in is completed for the same. */
  #aim: FlowAim = {};
  /** How to reject whoever waits for a flow. */
  readonly #waits = new Set<(reason: Error) => void>();

  constructor(options: AuthorizationOptions) {
    this.#options = options;
    this.#flows = options.flows ?? new ProviderFlows();
    this.#flows.join(this);
  }

  /**
   * The `authorization` header of the next request; `undefined` while there is no token. Asks the
   * provider, and takes as long as the provider does.
   */
  async header(): Promise<string | undefined> {
    this.#assertOpen();
    return this.#own(headerOf(this.#options.provider));
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
    if (head.status === 401) return this.#own(this.#onUnauthorized(challenge, sentHeader, history));
    if (head.status === 403) return this.#own(this.#onForbidden(challenge, sentHeader, history));
    return false;
  }

  /** Completes a sign-in with the code it led to. Also after `close`. */
  async finish(authorizationCode: string): Promise<void> {
    // Waits for no other flow: it may be called out of one, by a provider that signs in by itself.
    const work = this.#start('sign-in', async (tools) => {
      await this.#authorize({ ...this.#aim, authorizationCode }, tools);
      // Somebody has signed in: what did not help before may help now.
      this.#flows.futile = undefined;
      this.#flows.pausedUntil = Number.NEGATIVE_INFINITY;
      return true;
    });
    await this.#untilClosed(work);
  }

  /**
   * Whoever waits for a flow is rejected. The flow goes on for other sessions of the provider that
   * live, for its refresh token may be used up already; without any, it ends. Idempotent.
   */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const reject of this.#waits) reject(closedError());
    this.#flows.leave(this, closedError());
  }

  /** Tells of a failure that is the caller's own. That somebody has to sign in, the server says. */
  async #own<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (!asksForSignIn(error)) this.#options.onFailed?.(error);
      throw error;
    }
  }

  async #onUnauthorized(
    challenge: string,
    sentHeader: string | undefined,
    history: ChallengeHistory,
  ): Promise<boolean> {
    if (history.refreshed) {
      // Bound: a server that refuses even new tokens gets one flow per pause, not one per request.
      if (sentHeader !== undefined && sentHeader === this.#flows.gainedHeader) {
        this.#flows.pausedUntil = this.#options.clock.now() + FUTILE_PAUSE_MS;
      }
      return false;
    }
    history.refreshed = true;
    const { resourceMetadataUrl, scope } = await readChallenge(challenge, this.#options.oauth);
    const isUnattended = !history.isAttended;
    // What nobody was there for does not speak for those who are.
    const asked = isUnattended ? '401 unattended' : '401';
    return this.#once(`${asked} ${sentHeader}`, async (flowTools) => {
      const tokens = await this.#options.provider.tokens();
      const current = bearerOf(tokens);
      // Another request, or another session, has refreshed it meanwhile.
      if (current !== undefined && current !== sentHeader) return true;
      if (this.#isPaused() || (isUnattended && tokens?.refresh_token === undefined)) return false;
      this.#assertNotFailed(asked, current);
      this.#aim = { resourceMetadataUrl, scope };
      await this.#authorizeFor(asked, { ...this.#aim, isUnattended }, flowTools);
      return true;
    });
  }

  async #onForbidden(
    challenge: string,
    sentHeader: string | undefined,
    history: ChallengeHistory,
  ): Promise<boolean> {
    const { error, resourceMetadataUrl, scope } = await readChallenge(
      challenge,
      this.#options.oauth,
    );
    if (error !== 'insufficient_scope' || !history.isAttended) return false;
    const flows = this.#flows;
    const asked = `${this.#options.endpoint.href} ${challenge}`;
    if (flows.steppedUp?.challenge === asked && flows.steppedUp.header === sentHeader) {
      const until = this.#options.clock.now() + FUTILE_CHALLENGE_MS;
      flows.futile = { challenge: asked, until };
    }
    if (!this.#isFutile(asked)) flows.futile = undefined;
    if (history.steppedUp || flows.futile !== undefined) return false;
    history.steppedUp = true;
    return this.#once(`403 ${sentHeader} ${asked}`, async (tools) => {
      const tokens = await this.#options.provider.tokens();
      const current = bearerOf(tokens);
      const gained = flows.steppedUp?.challenge === asked ? flows.steppedUp.header : undefined;
      // Another request has stepped up for it meanwhile. Other new tokens are no reason to hope.
      if (gained !== undefined && gained === current && current !== sentHeader) return true;
      if (this.#isPaused()) return false;
      this.#assertNotFailed(asked, current);
      this.#aim = {
        resourceMetadataUrl: resourceMetadataUrl ?? this.#aim.resourceMetadataUrl,
        // A server names what is wanting: alone, it would replace what there was.
        scope: scopeUnion(tokens?.scope, this.#aim.scope, scope),
      };
      await this.#authorizeFor(asked, this.#aim, tools);
      flows.steppedUp = { challenge: asked, header: flows.gainedHeader };
      return true;
    });
  }

  /** Runs `run` when no other flow does; if one with the same key does, that one counts. */
  #once(key: string, run: (tools: FlowTools) => Promise<boolean>): Promise<boolean> {
    return this.#untilClosed(this.#next(key, run));
  }

  async #next(key: string, run: (tools: FlowTools) => Promise<boolean>): Promise<boolean> {
    // Bound: each flow ends in time, and with `close` there are no more of them.
    for (let flow = this.#flows.running; flow !== undefined; flow = this.#flows.running) {
      if (flow.key === key) return flow.result;
      // Whoever began it is told how it failed: here it only matters that it is over.
      await flow.result.catch(() => {});
    }
    this.#assertOpen();
    // Order: no await since the loop saw that no flow runs.
    return this.#start(key, run);
  }

  #start(key: string, run: (tools: FlowTools) => Promise<boolean>): Promise<boolean> {
    return this.#flows.start(key, run, this.#options);
  }

  /** Settles as `work` does, or rejects as soon as the session is closed. */
  #untilClosed<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waits.add(reject);
      const settle = (done: () => void): void => {
        this.#waits.delete(reject);
        done();
      };
      work.then(
        (value) => settle(() => resolve(value)),
        (error: unknown) => settle(() => reject(error)),
      );
    });
  }

  async #authorizeFor(asked: string, aim: FlowAim, tools: FlowTools): Promise<void> {
    const { clock, provider } = this.#options;
    try {
      await this.#authorize(aim, tools);
    } catch (error) {
      // The failure may have cost the provider its tokens. If it can't be asked either, the first
      // failure is what is told, below.
      const header = await headerOf(provider).catch(() => undefined);
      // One that was ended says nothing of the next.
      const until = clock.now() + FAILED_PAUSE_MS;
      if (!tools.signal.aborted) this.#flows.failed = { asked, header, error, until };
      throw error;
    }
  }

  async #authorize(aim: FlowAim, { signal, fetch }: FlowTools): Promise<void> {
    const { endpoint, provider, oauth } = this.#options;
    await runAuthorizationFlow({ endpoint, provider, fetch, oauth }, aim, signal);
    this.#flows.gainedHeader = await headerOf(provider);
  }

  #assertNotFailed(asked: string, header: string | undefined): void {
    const { failed } = this.#flows;
    const isSame = failed?.asked === asked && failed.header === header;
    if (isSame && this.#options.clock.now() < failed.until) throw failed.error;
  }

  #isPaused(): boolean {
    return this.#options.clock.now() < this.#flows.pausedUntil;
  }

  #isFutile(challenge: string): boolean {
    const { futile } = this.#flows;
    return futile?.challenge === challenge && this.#options.clock.now() < futile.until;
  }

  #assertOpen(): void {
    if (this.#isClosed) throw closedError();
  }
}

async function headerOf(provider: OAuthClientProvider): Promise<string | undefined> {
  return bearerOf(await provider.tokens());
}

const bearerOf = (tokens: OAuthTokens | undefined): string | undefined =>
  tokens?.access_token === undefined ? undefined : `Bearer ${tokens.access_token}`;

/** The challenge as text: the one for bearer tokens, where there are several. */
function challengeOf(head: AnswerHead): string {
  const value = head.headers['www-authenticate'] ?? '';
  if (typeof value === 'string') return value;
  return value.find((each) => /^bearer\b/i.test(each)) ?? value.join(', ');
}

function closedError(): SessionLostError {
  return new SessionLostError('The transport was closed', 'not-executed');
}
