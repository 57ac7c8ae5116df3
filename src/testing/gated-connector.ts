// A connector whose every answer is a gate that the test sets: it opens, fails, throws, takes its
// time or never answers. Knows every session that was asked of it, and every call made to any.

import type { Connection, Connector, LeaseContext } from '../connect/connector.ts';
import type { SessionTarget } from '../target.ts';
import { type FakeClient, FakeSession } from './fake-session.ts';
import { type Gates, OPEN_GATES, type PeerCall, type RecordedCall } from './gates.ts';
import type { ManualClock } from './manual-clock.ts';

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
