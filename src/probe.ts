// Probes one idle session, before it is lent or in the background: the one answer that a peer is
// still there.

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
  void ask(key, session, { startedAt, onAlive: () => key.ready(session, 'probing') });
}

/**
 * As `probe`, but `onAlive` says what becomes of a session that answers. Resolves when the question
 * is over, however it ended.
 */
export async function ask<C>(
  key: ProbingKey<C>,
  session: Session<C>,
  { startedAt, onAlive }: { readonly startedAt: number; readonly onAlive: () => void },
): Promise<void> {
  const { clock, options } = key.host;
  const { connection } = session;
  const controller = new AbortController();
  key.ledger.move(session, 'idle', 'probing', startedAt);
  // A question that was asked while it was leased is asked anew.
  session.pending?.abort(new Error('Probed anew'));
  session.pending = controller;
  const limits = { controller, timeoutMs: options.probeTimeoutMs, clock };
  const isAlive = await probeSession(async (signal) => connection?.probe?.(signal), limits).then(
    () => true,
    () => false,
  );
  // Taken down meanwhile: that turn has said all there is to say.
  if (session.state !== 'probing') return;
  session.pending = undefined;
  key.report.probed(isAlive, clock.now() - startedAt);
  if (isAlive) return onAlive();
  key.takeDown(session, 'probe-failed');
  key.advance();
}
