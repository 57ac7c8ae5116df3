// Asks idle sessions in the background whether they are still there, so that a dead one is found
// before a user finds it. One for the whole pool, with a budget: 10,000 sessions that are due at
// once are asked one after the other, and a server that answers nothing holds up nobody else's.

import { ask, type ProbingKey } from './probe.ts';
import type { Session } from './session.ts';

/** What keeping alive needs of the key whose sessions it asks. */
export interface KeptAliveKey<C> extends ProbingKey<C> {
  readonly key: { readonly server: string };
  readonly upkeep: { sawIdle(session: Session<C>): void };
}

/** Pings under way, over the whole pool and to one server. */
const MAX_AT_ONCE = 32;
const MAX_AT_ONCE_PER_SERVER = 8;
/** Pings that start within a slice: 200 a second. */
const SLICE_MS = 100;
const MAX_PER_SLICE = 20;

/** The sessions of one server that wait for their turn, and how many are being asked. */
interface Line<C> {
  readonly server: string;
  readonly waiting: Map<Session<C>, KeptAliveKey<C>>;
  underWay: number;
}

/**
 * How long a session may be unheard before it is asked: between three quarters of `keepAliveMs` and
 * nearly all, so that sessions released together are not all asked together, and that none is asked
 * late though upkeep looks at ages on a grid. `random` is in [0, 1).
 */
export const keepAliveAfter = (keepAliveMs: number, random: number): number =>
  keepAliveMs * (0.75 + 0.2 * random);

/** When an idle session is to be asked. */
export const keepAliveAt = <C>({ heardAt, keepAliveAfterMs }: Session<C>): number =>
  heardAt + keepAliveAfterMs;

export class KeepAlive<C> {
  readonly #isDueAt: (at: number) => void;
  /** By server. Gone with its last session. */
  readonly #lines = new Map<string, Line<C>>();
  /** Lines with somebody waiting and room to ask, in the order of their turns. */
  readonly #ready = new Set<Line<C>>();
  #underWay = 0;
  #sliceEndsAt = 0;
  #startedInSlice = 0;
  #isStopped = false;

  /** `isDueAt`: there is to be a tick then. */
  constructor(isDueAt: (at: number) => void) {
    this.#isDueAt = isDueAt;
  }

  /** An idle session is to be asked, when it is its turn. A no-op while it waits for that. */
  join(key: KeptAliveKey<C>, session: Session<C>): void {
    if (session.isInLine || this.#isStopped) return;
    session.isInLine = true;
    const { server } = key.key;
    const line = this.#lines.get(server) ?? { server, waiting: new Map(), underWay: 0 };
    this.#lines.set(server, line);
    line.waiting.set(session, key);
    this.#review(line);
  }

  /** Starts what the budget allows. Called at the end of every tick. */
  serve(now: number): void {
    if (this.#ready.size === 0) return;
    if (now >= this.#sliceEndsAt) {
      this.#sliceEndsAt = now + SLICE_MS;
      this.#startedInSlice = 0;
    }
    // Bound: each pass takes one session out of a line.
    for (const line of this.#ready) {
      if (this.#underWay >= MAX_AT_ONCE) return;
      if (this.#startedInSlice >= MAX_PER_SLICE) return this.#isDueAt(this.#sliceEndsAt);
      this.#askNext(line, now);
    }
  }

  /** Asks nobody any more: the pool closes. */
  stop(): void {
    this.#isStopped = true;
    for (const { waiting } of this.#lines.values()) waiting.clear();
    this.#ready.clear();
  }

  #askNext(line: Line<C>, now: number): void {
    const [next] = line.waiting;
    if (next === undefined) return this.#review(line);
    const [session, key] = next;
    line.waiting.delete(session);
    session.isInLine = false;
    if (session.state === 'idle' && now >= keepAliveAt(session)) {
      this.#startedInSlice += 1;
      this.#ask(line, session, key, now);
    } else if (session.state === 'idle') {
      // It was lent and came back while it waited.
      key.upkeep.sawIdle(session);
    }
    this.#review(line);
  }

  #ask(line: Line<C>, session: Session<C>, key: KeptAliveKey<C>, now: number): void {
    const { idleSince } = session;
    this.#underWay += 1;
    line.underWay += 1;
    const asking = ask(key, session, {
      startedAt: now,
      onAlive: () => this.#keep(key, session, idleSince),
    });
    void asking.finally(() => {
      this.#underWay -= 1;
      line.underWay -= 1;
      this.#review(line);
      this.serve(key.host.clock.now());
    });
    key.advance();
  }

  /** It is idle again, for as long as before: nobody has used it. */
  #keep(key: KeptAliveKey<C>, session: Session<C>, idleSince: number): void {
    const { ledger, host, upkeep } = key;
    // One that somebody waits for is theirs, as after a probe for a lease; one that is to go goes.
    if (ledger.waiters.size > 0 || session.condemned) return key.ready(session, 'probing');
    ledger.move(session, 'probing', 'idle', host.clock.now());
    ledger.backdate(session, idleSince);
    upkeep.sawIdle(session);
    key.advance();
  }

  /** Puts a line where it belongs. To the end: it has had its turn. */
  #review(line: Line<C>): void {
    const { server, waiting, underWay } = line;
    this.#ready.delete(line);
    if (waiting.size === 0 && underWay === 0) this.#lines.delete(server);
    else if (waiting.size > 0 && underWay < MAX_AT_ONCE_PER_SERVER) this.#ready.add(line);
  }
}
