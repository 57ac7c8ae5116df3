// What the loss of one session says of the others of its key: they may be gone with it, so they are
// asked before they are lent again. And what becomes of a session that wore out: it is lent no
// more, and goes when its last lease has ended.

import type { RetireReason } from './observe/events.ts';
import { probeSession } from './open-session.ts';
import type { KeyLimits } from './policy/key-limits.ts';
import type { ProbingKey } from './probe.ts';
import type { Session } from './session.ts';

/** What doubt needs of the key whose sessions it is about. */
export interface DoubtingKey<C> extends ProbingKey<C> {
  readonly key: { readonly affinity: string | undefined };
  readonly limits: KeyLimits;
  condemn(session: Session<C>, reason: RetireReason): void;
}

/** `session` was lost. Order: before it is taken down, for its own state is looked at. */
export function doubtSiblings<C>(key: DoubtingKey<C>, session: Session<C>): void {
  // Its loss is no news then: the siblings were doubted when it was, and who proved to be alive
  // since, or was opened since, is beyond doubt.
  if (session.suspect || session.condemned) return;
  for (const sibling of key.ledger.sessions) if (sibling !== session) doubt(key, sibling);
}

/** `session` should be lent no more, though what goes on over it may go on. */
export function wearOut<C>(key: DoubtingKey<C>, session: Session<C>): void {
  if (session.condemned || session.state === 'closing' || session.state === 'gone') return;
  doubtSiblings(key, session);
  // One with affinity holds what somebody will come back for: it is kept as long as it answers.
  if (key.key.affinity !== undefined) doubt(key, session);
  else key.condemn(session, 'worn');
  key.advance();
}

function doubt<C>(key: DoubtingKey<C>, session: Session<C>): void {
  const { state } = session;
  if (!session.canProbe || session.condemned || (state !== 'idle' && state !== 'leased')) return;
  key.ledger.doubt(session);
  // Nobody can wait for the end of a lease to use the room beside it: it is asked now.
  if (state === 'leased' && key.limits.leasesPerSession > 1) askInPlace(key, session);
}

function askInPlace<C>(key: DoubtingKey<C>, session: Session<C>): void {
  const { connection, pending } = session;
  if (pending !== undefined) return;
  const { clock, options } = key.host;
  const startedAt = clock.now();
  const controller = new AbortController();
  session.pending = controller;
  const end = (isAlive: boolean): void => {
    // Taken down meanwhile, or idle and probed in the usual way.
    if (session.pending !== controller) return;
    session.pending = undefined;
    key.report.probed(isAlive, clock.now() - startedAt);
    if (isAlive) key.ledger.trust(session, key.limits.leasesPerSession);
    else if (key.key.affinity !== undefined || session.state === 'idle') {
      key.takeDown(session, 'probe-failed');
    } else key.condemn(session, 'probe-failed');
    key.advance();
  };
  const limits = { controller, timeoutMs: options.probeTimeoutMs, clock };
  probeSession(async (signal) => connection?.probe?.(signal), limits).then(
    () => end(true),
    () => end(false),
  );
}
