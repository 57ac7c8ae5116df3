// When a session has to go, though nothing is wrong with it. Pure.

import type { KeyLimits } from './key-limits.ts';
import type { Slot } from './ledger.ts';

/** What retirement is judged by. */
export interface RetirementView {
  /**
   * The key's generation: raised to retire all its sessions at once, those being opened included.
   */
  readonly generation: number;
  readonly limits: Pick<KeyLimits, 'idleTimeoutMs'>;
}

export type RetirementReason = 'retired' | 'max-lifetime' | 'idle-timeout';

/** Why an idle session must not be kept or lent any more; `undefined` if it may. */
export function retirementOf(
  slot: Pick<Slot<never>, 'condemned' | 'expiresAt' | 'generation' | 'idleSince'>,
  view: RetirementView,
  now: number,
): RetirementReason | undefined {
  if (slot.condemned || slot.generation < view.generation) return 'retired';
  if (now >= slot.expiresAt) return 'max-lifetime';
  if (now - slot.idleSince >= view.limits.idleTimeoutMs) return 'idle-timeout';
  return undefined;
}

/**
 * When a session opened at `openedAt` reaches its end: `maxLifetimeMs` ± 10 %, so that sessions
 * opened together do not all end together. `random` is in [0, 1).
 */
export function expiryOf(openedAt: number, maxLifetimeMs: number, random: number): number {
  return openedAt + maxLifetimeMs * (0.9 + 0.2 * random);
}
