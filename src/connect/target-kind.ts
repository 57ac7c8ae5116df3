// Which of our connectors a target needs. Pure; knows none of them.

import type { SessionTarget } from '../target.ts';

/** What needs a connector of ours. */
export type TargetKind = 'streamable-http' | 'sse' | 'auto' | 'stdio';

export function kindOf(target: Exclude<SessionTarget, { readonly connect: unknown }>): TargetKind {
  if ('command' in target) return 'stdio';
  return target.transport ?? 'streamable-http';
}
