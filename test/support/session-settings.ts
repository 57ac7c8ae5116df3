// The settings that connectors are given, for tests that call one without a pool.

import { systemClock } from '../../src/clock.ts';
import type { SessionSettings } from '../../src/connect/connector.ts';
import type { SessionTarget } from '../../src/target.ts';

/** As a pool would make them for `target`, but for what `own` says. */
export function testSettings(
  target: Pick<SessionTarget, 'affinity' | 'leasesPerSession' | 'clientInfo' | 'capabilities'> = {},
  own: Partial<SessionSettings> = {},
): SessionSettings {
  const affine = target.affinity !== undefined;
  return {
    clientInfo: target.clientInfo ?? { name: 'test', version: '0.0.0' },
    capabilities: target.capabilities ?? {
      elicitation: {},
      sampling: {},
      roots: { listChanged: true },
    },
    clientOptions: {},
    exclusive: !affine && (target.leasesPerSession ?? 1) === 1,
    affine,
    maxMessageBytes: 1024 * 1024,
    connectTimeoutMs: 10_000,
    closeTimeoutMs: 2_000,
    probeTimeoutMs: 5_000,
    clock: systemClock,
    random: Math.random,
    onTrouble: () => {},
    ...own,
  };
}
