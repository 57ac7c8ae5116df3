// MCP servers that misbehave on purpose, each in one way that has been met in the field: real HTTP
// on 127.0.0.1, so that what a client does with them is what it will do in production.

import { actFor, HOSTILE_ACTS, pathOf, type Stage } from './hostile-acts.ts';
import { HOSTILE_SERVERS, type HostileServerName } from './hostile-names.ts';
import { type LoopbackExchange, LoopbackServer, type SeenRequest } from './loopback-server.ts';
import { McpAnswers } from './mcp-answers.ts';

/** How a hostile server begins. */
export interface HostileServerOptions {
  /**
   * Whether it misbehaves from its first request on. `false`: it is a good server until
   * `misbehave()`, for hazards that befall a session which has worked. Default: `true`.
   */
  readonly hostile?: boolean;
  /** Hazards beside `name`; of several that take a request, the first does. Default: none. */
  readonly also?: readonly HostileServerName[];
}

/** A hostile server that runs. */
export interface HostileServer {
  readonly name: HostileServerName;
  /** Its MCP endpoint; with an `sse-` hazard, where the stream is opened. */
  readonly url: URL;
  /** Whether it misbehaves now. */
  readonly isHostile: boolean;
  /** Every request that came, in order. */
  readonly requests: readonly SeenRequest[];
  /** Requests of one HTTP method so far; with `rpcMethod`, only POSTs of that JSON-RPC method. */
  count(method: string, rpcMethod?: string): number;
  /** Requests that came to the other origin: only `redirects-elsewhere` sends any there. */
  readonly strayed: readonly SeenRequest[];
  /** Connections accepted so far. */
  readonly connections: number;
  /** Connections open now. */
  readonly openSockets: number;
  /** Requests that were neither answered to their end nor hung up on. */
  readonly pending: number;
  /** Bytes sent so far, heads included. */
  readonly bytesSent: number;
  /** Begins to misbehave. What is already under way is left as it is. */
  misbehave(): Promise<void>;
  /** Is a good server from the next request on. What hangs goes on hanging: `cut()` ends it. */
  behave(): Promise<void>;
  /** Cuts every open connection, as a server does that is killed. It goes on listening. */
  cut(): void;
  /** Stops listening and cuts every connection: nothing of it is left. Idempotent. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts an MCP server on 127.0.0.1 that is good but for the one hazard `name`; what each does is
 * in `HOSTILE_SERVERS`. It has one tool, `echo`. Close it, or its port keeps the process alive.
 *
 * @example
 * ```ts
 * await using server = await hostileServer('delete-unanswered');
 * const pool = new SessionPool({ closeTimeoutMs: 1_000 });
 * await pool.use({ url: server.url, identity: 'ada' }, (client) => client.listTools());
 * const report = await pool.close(); // within a second: { closed: 1, unterminated: 1, … }
 * ```
 *
 * @throws TypeError for a name that is none.
 */
export async function hostileServer(
  name: HostileServerName,
  options: HostileServerOptions = {},
): Promise<HostileServer> {
  const { hostile = true, also = [] } = options;
  for (const each of [name, ...also]) checkName(each);
  const server = new NamedServer(name, also);
  await server.start(hostile);
  return server;
}

function checkName(name: string): void {
  if (Object.hasOwn(HOSTILE_SERVERS, name)) return;
  const names = Object.keys(HOSTILE_SERVERS).join(', ');
  throw new TypeError(`Expected the name of a hostile server, got \`${String(name)}\`: ${names}`);
}

class NamedServer implements HostileServer {
  readonly name: HostileServerName;
  readonly #good = new McpAnswers();
  readonly #main: LoopbackServer = new LoopbackServer((exchange) => this.#answer(exchange));
  readonly #other: LoopbackServer = new LoopbackServer((exchange) => this.#good.answer(exchange));
  readonly #stage: Stage;
  /** All that it does, in order of precedence. */
  readonly #names: readonly HostileServerName[];
  #url = new URL('http://127.0.0.1');
  #isHostile = false;
  #isClosed = false;

  constructor(name: HostileServerName, also: readonly HostileServerName[]) {
    this.name = name;
    this.#names = [name, ...also];
    const other = this.#other;
    this.#stage = {
      good: this.#good,
      flapped: new Set(),
      get elsewhere() {
        return other.origin;
      },
    };
  }

  /** Binds its port, also when it is to refuse connections: its URL has to be one. */
  async start(isHostile: boolean): Promise<void> {
    if (this.#names.includes('redirects-elsewhere')) await this.#other.listen();
    await this.#main.listen();
    this.#url = new URL(pathOf(this.#names), this.#main.origin);
    if (isHostile) await this.misbehave();
  }

  get url(): URL {
    return this.#url;
  }

  get isHostile(): boolean {
    return this.#isHostile;
  }

  get requests(): readonly SeenRequest[] {
    return this.#main.exchanges;
  }

  get strayed(): readonly SeenRequest[] {
    return this.#other.exchanges;
  }

  get connections(): number {
    return this.#main.connections + this.#other.connections;
  }

  get openSockets(): number {
    return this.#main.openSockets + this.#other.openSockets;
  }

  get pending(): number {
    return this.#main.pending + this.#other.pending;
  }

  get bytesSent(): number {
    return this.#main.bytesSent + this.#other.bytesSent;
  }

  count(method: string, rpcMethod?: string): number {
    return this.#main.count(method, rpcMethod);
  }

  async misbehave(): Promise<void> {
    this.#isHostile = true;
    if (this.#names.includes('refuses-connections')) await this.#main.stop();
  }

  async behave(): Promise<void> {
    this.#isHostile = false;
    if (!this.#isClosed) await this.#main.listen();
  }

  cut(): void {
    this.#main.cut();
    this.#other.cut();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([this.#main.stop(), this.#other.stop()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #answer(exchange: LoopbackExchange): void {
    const names = this.#isHostile ? this.#names : [];
    for (const name of names) {
      const act = actFor(HOSTILE_ACTS[name], exchange);
      if (act !== undefined) return act(exchange, this.#stage);
    }
    this.#good.answer(exchange);
  }
}
