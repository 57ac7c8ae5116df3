// Trouble out of band is counted always and told at most once a second (P8, P6).

import { ManualClock } from 'mcp-session-pool/testing';
import { expect, test } from 'vitest';
import type { PoolEvent } from '../src/observe/events.ts';
import { noTotals } from '../src/observe/metrics.ts';
import { Outbox } from '../src/observe/outbox.ts';
import { TroubleReporter } from '../src/observe/trouble-reporter.ts';

test('a flood of troubles is counted in full and told once a second, with how many', async () => {
  const clock = new ManualClock();
  const events: PoolEvent[] = [];
  const totals = noTotals();
  const reporter = new TroubleReporter({
    clock,
    totals,
    outbox: new Outbox(clock, (event) => events.push(event), undefined),
    serverOf: (key) => `server of ${key}`,
  });
  for (let n = 0; n < 500; n += 1) reporter.report('k', new Error('SECRET words of a peer'));
  await clock.advance(1_000);
  reporter.report('k', Object.assign(new Error('x'), { code: 'ECONNRESET' }));
  await clock.settle();
  expect(totals.troubles).toBe(501);
  expect(events).toMatchObject([
    { type: 'session-trouble', key: 'k', server: 'server of k', count: 1 },
    { type: 'session-trouble', failure: { kind: 'network', errorCode: 'ECONNRESET' }, count: 500 },
  ]);
  expect(JSON.stringify(events)).not.toContain('SECRET');
});
