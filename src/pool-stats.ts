// What `stats()` returns, read off the books of the pool and of its keys. A copy: nothing of it is
// ever read back.

import { checkKnown } from './known-members.ts';
import { type PoolStats, sessionCounts } from './observe/metrics.ts';
import type { Counts } from './policy/ledger.ts';
import type { PoolHost } from './pool-host.ts';

/** What statistics need of a key. */
interface CountedKey {
  readonly key: { readonly label: string; readonly server: string };
  readonly ledger: { readonly counts: Counts };
}

/** @throws TypeError for an unknown option. */
export function poolStats<C>(
  { breakers, counts, totals, crew, outbox, loose }: PoolHost<C>,
  keys: ReadonlyMap<unknown, CountedKey>,
  options: { readonly perKey?: boolean | undefined },
): PoolStats {
  checkKnown('stats option', options, new Set(['perKey']));
  const stats: PoolStats = {
    sessions: sessionCounts(counts),
    waiting: counts.waiting,
    unsettled: loose,
    keys: keys.size,
    circuits: { open: 0, halfOpen: 0, ...breakers?.counts },
    totals: {
      ...totals,
      lateSettlements: crew.lateSettlements,
      observerFailures: outbox.failures,
    },
  };
  if (options.perKey !== true) return stats;
  const perKey = Array.from(keys.values(), ({ key, ledger }) => ({
    key: key.label,
    server: key.server,
    sessions: sessionCounts(ledger.counts),
    waiting: ledger.counts.waiting,
  }));
  return { ...stats, perKey };
}
