// The bounds of one key, derived from the pool's options and what affinity makes of them. Pure.

export interface KeyLimits {
  readonly leasesPerSession: number;
  readonly maxSessionsPerKey: number;
  readonly maxOpeningPerKey: number;
  readonly probeAfterIdleMs: number;
  readonly idleTimeoutMs: number;
  readonly maxLifetimeMs: number;
}

export function keyLimits(
  options: KeyLimits & { readonly affinityIdleTimeoutMs: number },
  key: {
    readonly affinity: string | undefined;
    readonly leasesPerSession: number | undefined;
    readonly isProcess: boolean;
  },
  /** Sessions of a key each of which is a process. */
  maxProcessesPerKey: number,
): KeyLimits {
  const { maxOpeningPerKey, probeAfterIdleMs } = options;
  if (key.affinity === undefined) {
    const { leasesPerSession, maxSessionsPerKey, idleTimeoutMs, maxLifetimeMs } = options;
    return {
      leasesPerSession: key.leasesPerSession ?? leasesPerSession,
      maxSessionsPerKey: key.isProcess ? maxProcessesPerKey : maxSessionsPerKey,
      maxOpeningPerKey,
      probeAfterIdleMs,
      idleTimeoutMs,
      maxLifetimeMs,
    };
  }
  return {
    // A downstream session's calls all share its one upstream session: with any limit, one that is
    // made out of the work of others would wait for a lease that waits for it.
    leasesPerSession: Number.MAX_SAFE_INTEGER,
    maxSessionsPerKey: 1,
    maxOpeningPerKey,
    probeAfterIdleMs,
    idleTimeoutMs: options.affinityIdleTimeoutMs,
    // Its state is what the downstream session comes back for: age does not end it.
    maxLifetimeMs: Number.POSITIVE_INFINITY,
  };
}
