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

  /**
   * What goes upstream. The pool asks for every request, so that a credential that was replaced in
   * the table is used from the next request on, in sessions that are open too.
   */
  headersFor(userId: string, serverName: string): Record<string, string> {
    const credential = this.#byId.get(userId)?.credentials[serverName];
    if (credential === undefined) throw new Error('The user has no credential for the server');
    return { authorization: credential };
  }
}
