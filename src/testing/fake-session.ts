// A session whose every answer is a gate that the test sets, and the clients it lends. Records
// every call with its time and its place in the order of all calls. Same types as the port
// (`connect/connector.ts`), held to the same contract.

import type { ConnectContext, Connection, LeaseContext } from '../connect/connector.ts';
import type { SessionTarget } from '../target.ts';
import type { AnsweredCall, Gates, PeerCall, RecordedCall } from './gates.ts';
import type { ManualClock } from './manual-clock.ts';

/** What a session needs of the connector that made it. */
export interface FakeSessionHost {
  readonly clock: ManualClock;
  readonly onLend: ((session: FakeSession, lease: LeaseContext) => void) | undefined;
  readonly onGiveBack: ((session: FakeSession, client: FakeClient) => void) | undefined;
  readonly onFence: ((session: FakeSession) => void) | undefined;
  record(session: FakeSession, name: PeerCall, signal?: AbortSignal): RecordedCall;
  /** Gives a client the methods that its test asked for. */
  furnish(fake: FakeClient): FakeClient;
}

/** What a lease of a fake session holds: a client that knows its session and its lease. */
export class FakeClient {
  readonly session: FakeSession;
  /** `undefined`: the session's own client. */
  readonly context: LeaseContext | undefined;
  /** Ends each call that waits for its answer. */
  readonly #pending = new Set<(error: Error) => void>();

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

  /**
   * A call over the session, answered with its id as the gate `call` says. As a real client's, it
   * rejects when the lease ends or has ended, and when the session goes.
   */
  call(): Promise<string> {
    const ended = this.context?.endedWith();
    if (ended !== undefined) return Promise.reject(ended);
    return new Promise((resolve, reject) => {
      const answered = this.session.answer('call');
      this.#pending.add(reject);
      answered.then(
        () => {
          this.#pending.delete(reject);
          resolve(this.session.id);
        },
        (error: Error) => {
          this.#pending.delete(reject);
          reject(error);
        },
      );
    });
  }

  /** Calls that wait for their answer. */
  get pendingCalls(): number {
    return this.#pending.size;
  }

  /** What a connection does with a client that is given back, or whose session is fenced. */
  cancelCalls(error: Error): void {
    for (const reject of this.#pending) reject(error);
    this.#pending.clear();
  }
}

/** One open asked of the connector and, once delivered, the session that it gave. */
export class FakeSession {
  readonly id: string;
  readonly target: SessionTarget;
  readonly context: ConnectContext;
  readonly gates: Gates;
  readonly client: FakeClient;
  /** In order. */
  readonly calls: RecordedCall[] = [];
  /** Every client lent, in order. */
  readonly lent: FakeClient[] = [];
  /** Abort it, and the session is gone under the pool. */
  readonly lost: AbortController = new AbortController();
  /** What `replayOf` says, by cause; of all others that it may never be. */
  readonly replays: Map<unknown, 'once' | 'once-if-reused'> = new Map();
  /** What fence and sever were given. */
  readonly reasons: Error[] = [];
  /** When the pool got the connection, on the manual clock. */
  deliveredAt: number | undefined;
  readonly #host: FakeSessionHost;
  /** Calls that wait for `let`. */
  readonly #held: { call: RecordedCall; settle: (error: Error | undefined) => void }[] = [];

  constructor(
    host: FakeSessionHost,
    details: { id: string; target: SessionTarget; context: ConnectContext; gates: Gates },
  ) {
    this.#host = host;
    this.id = details.id;
    this.target = details.target;
    this.context = details.context;
    this.gates = details.gates;
    this.client = host.furnish(new FakeClient(this, undefined));
  }

  /** How often `name` was called. */
  count(name: PeerCall): number {
    return this.calls.filter((call) => call.name === name).length;
  }

  /** When `name` was called first, on the manual clock. */
  at(name: PeerCall): number | undefined {
    return this.calls.find((call) => call.name === name)?.at;
  }

  /** Clients whose lease has not ended. */
  get liveLeases(): number {
    return this.lent.filter((client) => client.context?.endedWith() === undefined).length;
  }

  /** Calls that a gate `held` holds. */
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

  /** Answers one asynchronous call as its gate says. */
  answer(name: AnsweredCall, signal?: AbortSignal): Promise<void> {
    const call = this.#host.record(this, name, signal);
    const gate = this.gates[name];
    const { clock } = this.#host;
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

  /** What the connector gives the pool. */
  connection(): Connection<FakeClient> {
    const { gates } = this;
    const host = this.#host;
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
          host.record(this, 'giveBack');
          host.onGiveBack?.(this, client);
          client.cancelCalls(client.context?.endedWith() ?? new Error('the client is given back'));
          if (gates.giveBack === 'throws') throw failing('giveBack');
          return gates.giveBack === 'tainted' ? 'tainted' : 'clean';
        },
      }),
    };
  }

  #lend(context: LeaseContext): FakeClient {
    this.#host.record(this, 'lend');
    const client = this.#host.furnish(new FakeClient(this, context));
    this.#host.onLend?.(this, context);
    if (this.gates.lend === 'throws') throw failing('lend');
    this.lent.push(client);
    return client;
  }

  #rung(name: 'fence' | 'sever', reason: Error): void {
    this.#host.record(this, name);
    this.reasons.push(reason);
    if (name === 'fence') {
      this.#host.onFence?.(this);
      for (const client of [this.client, ...this.lent]) client.cancelCalls(reason);
    }
    const gate = this.gates[name];
    if (gate === 'slow') this.#host.clock.burn(this.gates.fenceBurnsMs);
    if (gate === 'throws') throw failing(name);
    // biome-ignore lint/style/useThrowOnlyError: foreign code throws what it likes.
    if (gate === 'throws-nothing') throw undefined;
  }
}

const failing = (name: PeerCall): Error => new Error(`the peer fails ${name}`);
