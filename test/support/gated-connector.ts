// A connector whose every answer is a gate that the test sets: it opens, fails, throws, takes its
// time or never answers. Records every call with its time and its place in the order of all calls.
// Same types as the port (`src/connect/connector.ts`), held to the same contract.

import type {
  ConnectContext,
  Connection,
  Connector,
  LeaseContext,
} from '../../src/connect/connector.ts';
import type { SessionTarget } from '../../src/target.ts';
import type { ManualClock } from './manual-clock.ts';

/**
 * How a peer answers. `ok`, `fails`: in a microtask. `throws`: synchronously. `slow`: well, after
 * `slowMs`. `held`: when the test lets it. `never`: never.
 */
export type Gate = 'ok' | 'fails' | 'throws' | 'slow' | 'held' | 'never';
/** A synchronous rung: `throws-nothing` throws `undefined`, `slow` burns `slowMs` of the turn. */
export type SyncGate = 'ok' | 'throws' | 'throws-nothing' | 'slow' | 'absent';

export interface Gates {
  open: Gate;
  probe: Gate | 'absent';
  terminate: Gate | 'absent';
  clientClose: Gate;
  transportClose: Gate;
  fence: SyncGate;
  sever: SyncGate;
  /** `absent`: leases share the session's own client. */
  lend: 'ok' | 'throws' | 'absent';
  giveBack: 'clean' | 'tainted' | 'throws' | 'absent';
  slowMs: number;
  fenceBurnsMs: number;
}

const OPEN_GATES: Gates = {
  open: 'ok',
  probe: 'ok',
  terminate: 'ok',
  clientClose: 'ok',
  transportClose: 'ok',
  fence: 'ok',
  sever: 'ok',
  lend: 'ok',
  giveBack: 'clean',
  slowMs: 1_000,
  fenceBurnsMs: 20,
};

export type PeerCall =
  | 'open'
  | 'probe'
  | 'fence'
  | 'terminate'
  | 'clientClose'
  | 'transportClose'
  | 'sever'
  | 'lend'
  | 'giveBack';

export interface RecordedCall {
  readonly name: PeerCall;
  readonly session: FakeSession;
  /** On the manual clock. */
  readonly at: number;
  /** Among all calls of the connector. */
  readonly order: number;
  readonly signal: AbortSignal | undefined;
  settledAt: number | undefined;
}

/** What a lease holds: a client that knows its session and its lease. */
export class FakeClient {
  readonly session: FakeSession;
  /** `undefined`: the session's own client. */
  readonly context: LeaseContext | undefined;

  constructor(session: FakeSession, context: LeaseContext | undefined) {
    this.session = session;
    this.context = context;
  }

  /** The session's own closes the session; a lease's ends the lease. */
  close(): Promise<void> {
    if (this.context === undefined) return this.session.answer('clientClose', undefined);
    this.context.end();
    return Promise.resolve();
  }

  /** A call over the session, as a real client's: it rejects once the lease has ended. */
  call(): Promise<string> {
    const ended = this.context?.endedWith();
    return ended === undefined ? Promise.resolve(this.session.id) : Promise.reject(ended);
  }
}

/** One open asked of the connector and, once delivered, the session that it gave. */
export class FakeSession {
  readonly id: string;
  readonly target: SessionTarget;
  readonly context: ConnectContext;
  readonly gates: Gates;
  readonly client: FakeClient;
  readonly calls: RecordedCall[] = [];
  /** Every client lent, in order. */
  readonly lent: FakeClient[] = [];
  readonly lost: AbortController = new AbortController();
  /** What `replayOf` says, by cause; of all others that it may never be. */
  readonly replays: Map<unknown, 'once' | 'once-if-reused'> = new Map();
  /** What fence and sever were given. */
  readonly reasons: Error[] = [];
  /** When the pool got the connection. */
  deliveredAt: number | undefined;
  readonly #connector: GatedConnector;
  /** Calls that wait for `let`. */
  readonly #held: { call: RecordedCall; settle: (error: Error | undefined) => void }[] = [];

  constructor(
    connector: GatedConnector,
    details: { id: string; target: SessionTarget; context: ConnectContext; gates: Gates },
  ) {
    this.#connector = connector;
    this.id = details.id;
    this.target = details.target;
    this.context = details.context;
    this.gates = details.gates;
    this.client = new FakeClient(this, undefined);
  }

  /** How often the pool called `name`. */
  count(name: PeerCall): number {
    return this.calls.filter((call) => call.name === name).length;
  }

  at(name: PeerCall): number | undefined {
    return this.calls.find((call) => call.name === name)?.at;
  }

  /** Clients whose lease has not ended. */
  get liveLeases(): number {
    return this.lent.filter((client) => client.context?.endedWith() === undefined).length;
  }

  get heldCalls(): readonly PeerCall[] {
    return this.#held.map(({ call }) => call.name);
  }

  /** Lets held calls settle: all, or those of `name`. Returns how many. */
  let(outcome: 'ok' | 'fails', name?: PeerCall): number {
    const chosen = this.#held.filter(({ call }) => name === undefined || call.name === name);
    for (const each of chosen) {
      this.#held.splice(this.#held.indexOf(each), 1);
      each.settle(outcome === 'ok' ? undefined : failing(each.call.name));
    }
    return chosen.length;
  }

  /** Answers one asynchronous call of the pool as its gate says. */
  answer(
    name: 'probe' | 'terminate' | 'clientClose' | 'transportClose' | 'open',
    signal?: AbortSignal,
  ): Promise<void> {
    const call = this.#connector.record(this, name, signal);
    const gate = this.gates[name];
    const { clock } = this.#connector;
    const settled = (): void => {
      call.settledAt = clock.now();
    };
    switch (gate) {
      case 'ok':
        settled();
        return Promise.resolve();
      case 'fails':
        settled();
        return Promise.reject(failing(name));
      case 'throws':
        settled();
        throw failing(name);
      case 'slow':
        return new Promise((resolve) => {
          clock.later(this.gates.slowMs, () => {
            settled();
            resolve();
          });
        });
      case 'held':
        return new Promise((resolve, reject) => {
          this.#held.push({
            call,
            settle: (error) => {
              settled();
              if (error === undefined) resolve();
              else reject(error);
            },
          });
        });
      case 'never':
      case 'absent':
        return new Promise(() => undefined);
      default:
        return gate satisfies never;
    }
  }

  connection(): Connection<FakeClient> {
    const { gates } = this;
    const connector = this.#connector;
    return {
      client: this.client,
      transport: { close: () => this.answer('transportClose') },
      sessionId: `secret-${this.id}`,
      lost: this.lost.signal,
      ...(gates.fence !== 'absent' && { fence: (reason: Error) => this.#rung('fence', reason) }),
      ...(gates.sever !== 'absent' && { sever: (reason: Error) => this.#rung('sever', reason) }),
      ...(gates.terminate !== 'absent' && {
        terminate: (signal: AbortSignal) => this.answer('terminate', signal),
      }),
      ...(gates.probe !== 'absent' && {
        probe: (signal: AbortSignal) => this.answer('probe', signal),
      }),
      replayOf: (_client, cause) => this.replays.get(cause) ?? 'never',
      ...(gates.lend !== 'absent' && { lend: (lease: LeaseContext) => this.#lend(lease) }),
      ...(gates.giveBack !== 'absent' && {
        giveBack: (client: FakeClient): 'clean' | 'tainted' => {
          connector.record(this, 'giveBack');
          connector.onGiveBack?.(this, client);
          if (gates.giveBack === 'throws') throw failing('giveBack');
          return gates.giveBack === 'tainted' ? 'tainted' : 'clean';
        },
      }),
    };
  }

  #lend(context: LeaseContext): FakeClient {
    this.#connector.record(this, 'lend');
    const client = new FakeClient(this, context);
    this.#connector.onLend?.(this, context);
    if (this.gates.lend === 'throws') throw failing('lend');
    this.lent.push(client);
    return client;
  }

  #rung(name: 'fence' | 'sever', reason: Error): void {
    this.#connector.record(this, name);
    this.reasons.push(reason);
    if (name === 'fence') this.#connector.onFence?.(this);
    const gate = this.gates[name];
    if (gate === 'slow') this.#connector.clock.burn(this.gates.fenceBurnsMs);
    if (gate === 'throws') throw failing(name);
    // biome-ignore lint/style/useThrowOnlyError: foreign code throws what it likes.
    if (gate === 'throws-nothing') throw undefined;
  }
}

const failing = (name: PeerCall): Error => new Error(`the peer fails ${name}`);

export class GatedConnector {
  readonly clock: ManualClock;
  /** Every open asked for, in order. */
  readonly sessions: FakeSession[] = [];
  readonly calls: RecordedCall[] = [];
  /** What the next sessions do; a function decides for the n-th open. */
  gates: Partial<Gates> | ((open: number, target: SessionTarget) => Partial<Gates>) = {};
  /** What an open fails with, in place of a plain error. */
  openError: unknown = undefined;
  /** Stands in for the connection, for connectors that give rubbish. */
  rubbish: { readonly value: unknown } | undefined;
  onOpen: ((session: FakeSession) => void) | undefined;
  onLend: ((session: FakeSession, lease: LeaseContext) => void) | undefined;
  onGiveBack: ((session: FakeSession, client: FakeClient) => void) | undefined;
  onFence: ((session: FakeSession) => void) | undefined;

  constructor(clock: ManualClock) {
    this.clock = clock;
  }

  /** The port. Not an async function, so that the gate `throws` throws synchronously. */
  readonly connect: Connector<FakeClient> = (target, context) => {
    const chosen =
      typeof this.gates === 'function' ? this.gates(this.sessions.length, target) : this.gates;
    const gates = { ...OPEN_GATES, ...chosen };
    const session = new FakeSession(this, {
      id: `session-${this.sessions.length}`,
      target,
      context,
      gates,
    });
    this.sessions.push(session);
    this.onOpen?.(session);
    return this.#translate(session.answer('open', context.signal), session);
  };

  get last(): FakeSession {
    const session = this.sessions.at(-1);
    if (session === undefined) throw new Error('nothing was opened');
    return session;
  }

  /** Sessions that the pool got and has not severed. */
  get live(): readonly FakeSession[] {
    return this.sessions.filter(
      (session) => session.deliveredAt !== undefined && session.count('sever') === 0,
    );
  }

  /** How often the pool called `name`, over all sessions. */
  count(name: PeerCall): number {
    return this.calls.filter((call) => call.name === name).length;
  }

  record(session: FakeSession, name: PeerCall, signal?: AbortSignal): RecordedCall {
    const call: RecordedCall = {
      name,
      session,
      at: this.clock.now(),
      order: this.calls.length,
      signal,
      settledAt: undefined,
    };
    this.calls.push(call);
    session.calls.push(call);
    return call;
  }

  async #translate(opened: Promise<void>, session: FakeSession): Promise<Connection<FakeClient>> {
    try {
      await opened;
    } catch (error) {
      throw this.openError ?? error;
    }
    if (this.rubbish !== undefined) return this.rubbish.value as Connection<FakeClient>;
    session.deliveredAt = this.clock.now();
    return session.connection();
  }
}
