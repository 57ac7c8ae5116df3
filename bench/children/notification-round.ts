// Idle sessions with a notification stream each, through the pool or on the SDK's bare transport.
// Says for every part of the window what the process costs, then whether the sessions still work.

import { childInput, tellParent } from '../support/child.ts';
import { openIdleSessions } from '../support/idle-sessions.ts';
import { cpuNanoseconds, sleep } from '../support/measure.ts';

export interface NotificationRoundInput {
  readonly way: 'pool' | 'sdk';
  readonly url: string;
  readonly sessions: number;
  /** How long each part is, from the moment that all are open. */
  readonly partsMs: readonly number[];
}

const { partsMs, ...options } = childInput<NotificationRoundInput>();

const opened = await openIdleSessions({ ...options, notifications: true });
await tellParent('opened');
for (const partMs of partsMs) {
  const [startedAt, before] = [performance.now(), cpuNanoseconds()];
  await sleep(partMs);
  const cpuMs = (cpuNanoseconds() - before) / 1e6;
  await tellParent({ cpuPercent: (cpuMs / (performance.now() - startedAt)) * 100 });
}
await opened.call();
await tellParent('called');
await opened.close();
