// The users of the storm: each thinks, has a tool called, thinks again, until told to stop. They
// don't know how their calls reach the server. What became of every turn is counted.

import { Dice } from './dice.ts';

export interface User {
  /** From 0. */
  readonly number: number;
  /** On whose behalf its calls are made; shared by many users. */
  readonly identity: string;
  /** Aborts at the cut, where the callers are what is cut off. */
  readonly signal: AbortSignal;
}

export type ToolCall =
  | { readonly name: 'quick' | 'ask'; readonly arguments: { readonly token: string } }
  | { readonly name: 'slow'; readonly arguments: { readonly token: string; readonly ms: number } };

/** One user's way to the server. */
export type Turn = (user: User, call: ToolCall) => Promise<string>;

export interface TurnCounts {
  readonly begun: number;
  readonly settled: number;
  readonly failed: Readonly<Record<string, number>>;
  /** Answers that were somebody else's. */
  readonly wrong: readonly string[];
}

export interface CrowdOptions {
  readonly users: number;
  /** Identities that the users share. */
  readonly keys: number;
  /** A user thinks for up to this long. */
  readonly thinkMs: number;
  readonly turn: Turn;
  /** When a user has had enough. */
  readonly leave: (user: User) => Promise<void>;
}

/** Beside these, one turn in this many is made for an identity that hardly anybody uses. */
const RARE_EVERY = 50;
const RARE_IDENTITIES = 200;
const LONG_MS = 3_000;

/** See the file header. */
export class Crowd {
  begun = 0;
  settled = 0;
  answered = 0;
  /** When each identity first had an answer since this was cleared: `performance.now()`. */
  readonly firstAnswers: Map<string, number> = new Map();
  readonly failed: Record<string, number> = {};
  readonly wrong: string[] = [];
  readonly #options: CrowdOptions;
  /** Half of the users share one signal, as they do that of a gateway; each other has its own. */
  readonly #shared = new AbortController();
  readonly #controllers: AbortController[] = [this.#shared];
  /** Wakes those who think. */
  readonly #thinking = new Map<NodeJS.Timeout, () => void>();
  readonly #lives: Promise<void>[];
  #isOver = false;

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.#lives = Array.from({ length: options.users }, (_, number) => this.#live(number));
  }

  get signals(): readonly AbortSignal[] {
    return this.#controllers.map(({ signal }) => signal);
  }

  /** When the first and when the last of the common identities had an answer since `at`. */
  answersSince(at: number): { firstMs: number; lastMs: number } {
    const common = Array.from({ length: this.#options.keys }, (_, key) => {
      return (this.firstAnswers.get(`user-${key}`) ?? Number.POSITIVE_INFINITY) - at;
    });
    return { firstMs: Math.min(...common), lastMs: Math.max(...common) };
  }

  /** Every user stops after what it is at. */
  stop(): void {
    this.#isOver = true;
    for (const [timer, wake] of this.#thinking) {
      clearTimeout(timer);
      wake();
    }
    this.#thinking.clear();
  }

  /** Aborts whatever the users are at, all in this turn. */
  abort(): void {
    const reason = Object.assign(new Error('The caller is gone'), { code: 'CALLER_GONE' });
    for (const controller of this.#controllers) controller.abort(reason);
  }

  /** When every user has stopped and left. */
  async gone(): Promise<void> {
    await Promise.all(this.#lives);
  }

  async #live(number: number): Promise<void> {
    const dice = new Dice(number);
    const own = number % 4 < 2 ? this.#shared : new AbortController();
    if (own !== this.#shared) this.#controllers.push(own);
    const identity = `user-${number % this.#options.keys}`;
    const user = { number, identity, signal: own.signal };
    for (let turn = 0; ; turn += 1) {
      await this.#think(dice.next() * this.#options.thinkMs);
      if (this.#isOver) break;
      const isRare = dice.chance(1 / RARE_EVERY);
      const rare = `rare-${dice.between(1, RARE_IDENTITIES)}`;
      const token = `${number}-${turn}`;
      await this.#take({ ...user, identity: isRare ? rare : identity }, chooseTool(dice, token));
    }
    await this.#options.leave(user);
  }

  async #take(user: User, call: ToolCall): Promise<void> {
    this.begun += 1;
    try {
      const text = await this.#options.turn(user, call);
      const expected = `${call.arguments.token} for ${user.identity}`;
      if (text !== expected) this.wrong.push(`${text} instead of ${expected}`);
      this.answered += 1;
      const { firstAnswers } = this;
      if (!firstAnswers.has(user.identity)) firstAnswers.set(user.identity, performance.now());
    } catch (error) {
      const { code, name } = error as { code?: unknown; name?: unknown };
      const kind = String(code ?? name);
      this.failed[kind] = (this.failed[kind] ?? 0) + 1;
    } finally {
      this.settled += 1;
    }
  }

  async #think(ms: number): Promise<void> {
    if (this.#isOver) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#thinking.delete(timer);
        resolve();
      }, ms);
      this.#thinking.set(timer, resolve);
    });
  }
}

/** Mostly quick; some stream for a while, a few for long; some ask the caller back. */
function chooseTool(dice: Dice, token: string): ToolCall {
  const chance = dice.next();
  if (chance < 0.6) return { name: 'quick', arguments: { token } };
  if (chance < 0.7) return { name: 'ask', arguments: { token } };
  const ms = chance < 0.95 ? dice.between(100, 400) : LONG_MS;
  return { name: 'slow', arguments: { token, ms } };
}
