// A connector whose every answer is a gate that the test sets: it opens, fails, throws, takes its
// time or never answers. Knows every session that was asked of it, and every call made to any.

import type { Connection, Connector, LeaseContext } from '../connect/connector.ts';
import type { SessionTarget } from '../target.ts';
import { type FakeClient, FakeSession } from './fake-session.ts';
import { type Gates, HUNG_GATES, OPEN_GATES, type PeerCall, type RecordedCall } from './gates.ts';
import { ManualClock } from './manual-clock.ts';

/** What decides about the gates of the n-th open, from 0. */
export type GateChooser = (open: number, target: SessionTarget) => Partial<Gates>;

/** How a gated connector begins. `C`: the clients as the code under test knows them. */
export interface GatedConnectorOptions<C> {
  /** Give the pool the same one. Default: a clock of its own, `connector.clock`. */
  readonly clock?: ManualClock;
  /** What differs from a peer that does everything at once and well. Can be changed later. */
  readonly gates?: Partial<Gates> | GateChooser;
  /**
   * What clients can do beside `call()` and `close()`: asked for each client, that of the session
   * and that of each lease. A member that is not given is not there, whatever `C` says.
   */
  readonly methods?: (fake: FakeClient) => Partial<C>;
}

/**
 * Makes a connector for pools whose sessions are to open, hang, fail or end when the test says so.
 *
 * @example
 * ```ts
 * const clock = new ManualClock();
 * const connector = gatedConnector<Client>({
 *   clock,
 *   gates: { terminate: 'never' },
 *   methods: (fake) => ({
 *     listTools: async () => {
 *       await fake.call(); // as the gate `call` says; rejects when the lease ends
 *       return { tools: [] };
 *     },
 *   }),
 * });
 * const pool = new SessionPool({ connector: connector.connect }, { clock });
 * ```
 */
export function gatedConnector<C = FakeClient>(
  options: GatedConnectorOptions<C> = {},
): GatedConnector<C> {
  return new GatedConnector(options);
}

/**
 * Makes a connector whose sessions open, and whose peers acknowledge nothing afterwards: calls,
 * probes, DELETEs and closes never settle. `gates` are set over that.
 */
export function hungConnector<C = FakeClient>(
  options: GatedConnectorOptions<C> = {},
): GatedConnector<C> {
  const { gates = {}, ...rest } = options;
  const choose: GateChooser = (open, target) => ({
    ...HUNG_GATES,
    ...(typeof gates === 'function' ? gates(open, target) : gates),
  });
  return new GatedConnector({ ...rest, gates: choose });
}

/** See `gatedConnector`. */
export class GatedConnector<C = FakeClient> {
  readonly clock: ManualClock;
  /** Every open asked for, in order. */
  readonly sessions: FakeSession[] = [];
  /** Every call made to any session, in order. */
  readonly calls: RecordedCall[] = [];
  /** What the next sessions do. Those that are open have their own: `FakeSession.gates`. */
  gates: Partial<Gates> | GateChooser;
  /** What an open fails with, in place of a plain error. */
  openError: unknown = undefined;
  /** Stands in for the connection, for connectors that give rubbish. */
  rubbish: { readonly value: unknown } | undefined;
  /** Called in mid-turn, before the gate of that name is looked at. */
  onOpen: ((session: FakeSession) => void) | undefined;
  onLend: ((session: FakeSession, lease: LeaseContext) => void) | undefined;
  onGiveBack: ((session: FakeSession, client: FakeClient) => void) | undefined;
  onFence: ((session: FakeSession) => void) | undefined;
  readonly #methods: ((fake: FakeClient) => Partial<C>) | undefined;

  constructor({ clock = new ManualClock(), gates = {}, methods }: GatedConnectorOptions<C> = {}) {
    this.clock = clock;
    this.gates = gates;
    this.#methods = methods;
  }

  /** The port: what a pool takes as `connector`, and a custom target as `connect`. */
  // Not an async function, so that the gate `throws` throws synchronously.
  readonly connect: Connector<C> = (target, context) => {
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
    const opened = session.answer('open', context.signal);
    // A fake is what its methods make it, and no type can see that.
    return this.#translate(opened, session) as Promise<Connection<unknown>> as Promise<
      Connection<C>
    >;
  };

  /** The session that was asked for last. Throws before any was. */
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

  /** How often `name` was called, over all sessions. */
  count(name: PeerCall): number {
    return this.calls.filter((call) => call.name === name).length;
  }

  /** @internal */
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

  /** Gives a client its methods. @internal */
  furnish(fake: FakeClient): FakeClient {
    return Object.assign(fake, this.#methods?.(fake));
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
