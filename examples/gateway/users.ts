// Who calls, and with what the gateway speaks for them upstream. Two tokens that never meet: the
// downstream one is looked at here and goes no further (passing it on is what MCP's security
// practices forbid), the upstream one is taken from the table.
//
// A real gateway verifies an OAuth access token here: issuer, audience, expiry. What has to stay is
// that the id comes from what was verified, never from what was sent.

import { createHash } from 'node:crypto';
import type { UserConfig } from './config.ts';

export class Users {
  readonly #byToken: ReadonlyMap<string, UserConfig>;
  readonly #byId: ReadonlyMap<string, UserConfig>;

  constructor(users: readonly UserConfig[]) {
    this.#byToken = new Map(users.map((user) => [user.tokenSha256, user]));
    this.#byId = new Map(users.map((user) => [user.id, user]));
  }

  /** The user that an `Authorization` header identifies. */
  verify(authorization: string | undefined): UserConfig | undefined {
    const token = /^Bearer ([\w.~+/-]+=*)$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) return undefined;
    // By digest: how long the look-up takes tells nothing of the tokens in the table.
    return this.#byToken.get(createHash('sha256').update(token).digest('hex'));
  }

  has(userId: string): boolean {
    return this.#byId.has(userId);
  }

  /** Whether the gateway has something to speak with for this user there. */
  mayUse(userId: string, serverName: string): boolean {
    return this.#credentialOf(userId, serverName) !== undefined;
  }

  /**
   * What goes upstream. The pool asks for every request, so that a new credential is used from the
   * next request on, in sessions that are open too.
   */
  headersFor(userId: string, serverName: string): Record<string, string> {
    const credential = this.#credentialOf(userId, serverName);
    if (credential === undefined) throw new Error('The user has no credential for the server');
    return { authorization: credential };
  }

  /** The same for a server that is a process: it is told once, when it starts. */
  environmentFor(
    userId: string,
    serverName: string,
    variable: string | undefined,
  ): Record<string, string> {
    const credential = this.#credentialOf(userId, serverName);
    return variable === undefined || credential === undefined ? {} : { [variable]: credential };
  }

  #credentialOf(userId: string, serverName: string): string | undefined {
    const credentials = this.#byId.get(userId)?.credentials ?? {};
    return Object.hasOwn(credentials, serverName) ? credentials[serverName] : undefined;
  }
}
