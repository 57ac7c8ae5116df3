// What tests of `Authorization` begin with: a real OAuth server, a provider whose access token has
// expired, and requests that are challenged.

import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import { ManualClock } from 'mcp-session-pool/testing';
import { expect } from 'vitest';
import { Authorization, type ChallengeHistory } from '../../src/http/authorization.ts';
import { type DispatcherHold, Dispatchers } from '../../src/http/dispatchers.ts';
import type { ProviderFlows } from '../../src/http/provider-flows.ts';
import { MemoryOAuthProvider } from './memory-oauth-provider.ts';
import { type OAuthServer, startOAuthServer } from './oauth-server.ts';

/** A challenge for want of scope. */
export const INSUFFICIENT = 'Bearer error="insufficient_scope", scope="files:write"';

/** What one test works with. */
export class AuthorizationLab {
  readonly server: OAuthServer;
  readonly provider: MemoryOAuthProvider;
  readonly clock: ManualClock = new ManualClock();
  readonly #dispatchers = new Dispatchers({ connectTimeoutMs: 5_000 });
  readonly #hold: DispatcherHold = this.#dispatchers.hold();
  readonly authorization: Authorization;

  private constructor(server: OAuthServer) {
    this.server = server;
    const { refresh_token } = server.tokens;
    this.provider = new MemoryOAuthProvider({ refresh_token, issuer: server.url.origin });
    this.authorization = this.another();
  }

  static async start(): Promise<AuthorizationLab> {
    return new AuthorizationLab(await startOAuthServer());
  }

  /** Origins that connections are kept to. */
  get origins(): readonly string[] {
    return this.#dispatchers.origins;
  }

  /** The authorization of another session of the same user. */
  another(provider: OAuthClientProvider = this.provider, flows?: ProviderFlows): Authorization {
    const { server, clock } = this;
    return new Authorization({
      endpoint: server.url,
      provider,
      dispatchers: this.#hold,
      flows,
      clock,
    });
  }

  /** A request that was sent with `header`. */
  sent(header: string | undefined): ChallengedRequest {
    return new ChallengedRequest(this.authorization, header);
  }

  /** A request that was sent with the token that has expired. */
  request(): ChallengedRequest {
    return this.sent('Bearer old');
  }

  /** A request that is sent with the token of now. */
  sentNow(): Promise<ChallengedRequest> {
    return this.request().again();
  }

  /** Takes everything down. No timer may be left. */
  async close(): Promise<void> {
    expect(this.clock.pendingCount).toBe(0);
    this.authorization.close();
    this.#hold.release(new Error('the test is over'));
    await this.server.close();
  }
}

/** One request that is challenged: what it was sent with, and what it has tried. */
export class ChallengedRequest {
  readonly #authorization: Authorization;
  readonly #history: ChallengeHistory = {
    isAttended: true,
    refreshed: false,
    steppedUp: false,
  };
  sent: string | undefined;

  constructor(authorization: Authorization, sent: string | undefined) {
    this.#authorization = authorization;
    this.sent = sent;
  }

  /** Answered 401. */
  refused(challenge?: string): Promise<boolean> {
    return this.answered(401, challenge);
  }

  /** Answered 403. */
  forbidden(challenge: string | string[] = INSUFFICIENT): Promise<boolean> {
    return this.answered(403, challenge);
  }

  answered(status: number, challenge?: string | string[]): Promise<boolean> {
    const head = { status, headers: { 'www-authenticate': challenge } };
    return this.#authorization.onChallenge(head, this.sent, this.#history);
  }

  /** Sent once more. */
  async again(): Promise<this> {
    this.sent = await this.#authorization.header();
    return this;
  }
}

/** The `code` of what `work` rejects with. */
export function codeOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'no error',
    (error: { code?: unknown }) => error.code,
  );
}
