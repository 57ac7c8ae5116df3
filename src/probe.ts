// Probes one idle session before it is lent: the one answer that a peer is still there.

import type { RetireReason } from './observe/events.ts';
import type { KeyReporter } from './observe/key-reporter.ts';
import { probeSession } from './open-session.ts';
import type { Ledger } from './policy/ledger.ts';
import type { PoolHost } from './pool-host.ts';
import type { Session } from './session.ts';
import type { Waiter } from './waiter.ts';

/** What a probe needs of the key it probes for. */
export interface ProbingKey<C> {
  readonly host: PoolHost<C>;
  readonly ledger: Ledger<Session<C>, Waiter<C>>;
  readonly report: KeyReporter;
  /** The session has answered. */
  ready(session: Session<C>, from: 'probing'): void;
  takeDown(session: Session<C>, reason: RetireReason): void;
  advance(): void;
}

/** Starts a probe. The session is idle again when it answers, and taken down when it doesn't. */
export function probe<C>(key: ProbingKey<C>, session: Session<C>, startedAt: number): void {
  const { clock, options } = key.host;
  const { connection } = session;
  const controller = new AbortController();
  key.ledger.move(session, 'idle', 'probing', startedAt);
  // A question that was asked while it was leased is asked anew.
  session.pending?.abort(new Error('Probed anew'));
  session.pending = controller;
  const end = (isAlive: boolean): void => {
    // Taken down meanwhile: that turn has said all there is to say.
    if (session.state !== 'probing') return;
    session.pending = undefined;
    key.report.probed(isAlive, clock.now() - startedAt);
    if (isAlive) return key.ready(session, 'probing');
    key.takeDown(session, 'probe-failed');
    key.advance();
  };
  const limits = { controller, timeoutMs: options.probeTimeoutMs, clock };
  probeSession(async (signal) => connection?.probe?.(signal), limits).then(
    () => end(true),
    () => end(false),
  );
}
