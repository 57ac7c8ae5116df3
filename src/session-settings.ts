// What the pool's options and a target make of the sessions of one key, for the connector that
// opens them. Sits under the opener; decides nothing.

import type { SessionSettings } from './connect/connector.ts';
import type { ResolvedOptions } from './options.ts';
import type { KeyLimits } from './policy/key-limits.ts';
import type { PoolHost } from './pool-host.ts';
import type { SessionTarget } from './target.ts';

/** What the settings of a key come from. */
export interface SettledKey {
  readonly host: Pick<PoolHost<unknown>, 'clock' | 'random' | 'troubles'> & {
    readonly options: Omit<ResolvedOptions<unknown>, 'connector'>;
  };
  readonly key: { readonly affinity: string | undefined };
  readonly label: string;
  readonly limits: KeyLimits;
}

/** For a session that is opened with `target`. */
export function sessionSettings(settled: SettledKey, target: SessionTarget): SessionSettings {
  const { host, key, label, limits } = settled;
  const { clock, random, options, troubles } = host;
  return {
    clientInfo: target.clientInfo ?? options.clientInfo,
    capabilities: target.capabilities ?? options.capabilities,
    clientOptions: options.clientOptions,
    exclusive: limits.leasesPerSession === 1,
    affine: key.affinity !== undefined,
    maxMessageBytes: options.maxMessageBytes,
    connectTimeoutMs: options.connectTimeoutMs,
    closeTimeoutMs: options.closeTimeoutMs,
    probeTimeoutMs: options.probeTimeoutMs,
    clock,
    random,
    onTrouble: (error) => troubles.report(label, error),
  };
}
