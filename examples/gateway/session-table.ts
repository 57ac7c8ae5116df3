// The downstream sessions that there are, and room for those that are being opened. Answers one
// question that must never be answered wrongly: whose session is it?

import type { Limits } from './config.ts';
import type { DownstreamSession } from './downstream-session.ts';
import { unavailable } from './refusals.ts';

/** Who asks for a session, and of which server. */
export interface Caller {
  readonly userId: string;
  readonly serverName: string;
}

export class SessionTable {
  readonly #limits: Limits;
  readonly #sessions = new Map<string, DownstreamSession>();
  /** Room taken, by user: sessions, and those being opened. Adds up to `#taken`. */
  readonly #takenBy = new Map<string, number>();
  #taken = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /**
   * The session of that id, if it is this caller's. An id alone opens nothing: who steals one has
   * stolen nothing without the token of its user.
   */
  find(id: string, { userId, serverName }: Caller): DownstreamSession | undefined {
    const session = this.#sessions.get(id);
    const isTheirs = session?.userId === userId && session.serverName === serverName;
    return isTheirs ? session : undefined;
  }

  /** By id alone: only for ids that come from the pool, which had them from us. */
  get(id: string): DownstreamSession | undefined {
    return this.#sessions.get(id);
  }

  /** Takes room for one. The function that it returns gives it back, once. @throws Refusal */
  takeRoom(userId: string): () => void {
    const taken = this.#takenBy.get(userId) ?? 0;
    const { maxSessions, maxSessionsPerUser } = this.#limits;
    if (this.#taken >= maxSessions || taken >= maxSessionsPerUser) {
      throw unavailable('TOO_MANY_SESSIONS', 'Too many sessions');
    }
    this.#taken += 1;
    this.#takenBy.set(userId, taken + 1);
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      this.#taken -= 1;
      const left = (this.#takenBy.get(userId) ?? 1) - 1;
      if (left === 0) this.#takenBy.delete(userId);
      else this.#takenBy.set(userId, left);
    };
  }

  add(session: DownstreamSession): void {
    this.#sessions.set(session.id, session);
  }

  delete(id: string): void {
    this.#sessions.delete(id);
  }

  /** Ends those that are meant. */
  end(isMeant: (session: DownstreamSession) => boolean): void {
    for (const session of this.#sessions.values()) if (isMeant(session)) session.end();
  }
}
