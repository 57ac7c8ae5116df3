// What outcomes mean: the table of design section 7, row by row.

import { describe, expect, test } from 'vitest';
import { judge, type Observation, type Verdict } from '../../src/policy/failure.ts';

const none = { vote: 'none' } as const;
const failure = { vote: 'failure', scope: 'endpoint' } as const;
const throttle = (retryAfterMs: number) =>
  ({ vote: 'throttle', scope: 'endpoint+identity', retryAfterMs }) as const;

const seen = (kind: Observation['kind'], more: Partial<Observation> = {}): Observation => ({
  during: 'call',
  aborted: false,
  kind,
  withSessionId: true,
  reach: 'written',
  ...more,
});
const http = (status: number, more: Partial<Observation> = {}): Observation =>
  seen('http', { status, reach: status >= 500 || status === 408 ? 'written' : 'refused', ...more });
const unsent = { reach: 'not-written' } as const;
const verdict = (
  session: Verdict['session'],
  execution: Verdict['execution'],
  replay: Verdict['replay'] = 'never',
  breaker: Verdict['breaker'] = none,
): Verdict => ({ session, execution, replay, breaker });

const calls: readonly (readonly [string, Observation, Verdict])[] = [
  ['404 with our session id', http(404), verdict('lost', 'not-executed', 'once')],
  [
    '404 with our session id, to the resumption of a call that was written',
    http(404, { reach: 'written' }),
    verdict('lost', 'unknown'),
  ],
  [
    '404 without a session id',
    http(404, { withSessionId: false }),
    verdict('keep', 'not-executed'),
  ],
  [
    '400 whose body speaks of the session',
    http(400, { speaksOfSession: true }),
    verdict('probe', 'not-executed', 'once'),
  ],
  [
    '400 that speaks of a session we never named',
    http(400, { speaksOfSession: true, withSessionId: false }),
    verdict('keep', 'not-executed'),
  ],
  ['400 about something else', http(400), verdict('keep', 'not-executed')],
  [
    'connection refused',
    seen('refused', unsent),
    verdict('lost', 'not-executed', 'once-if-reused', failure),
  ],
  [
    'lost before the request was written',
    seen('unreached', unsent),
    verdict('retire', 'not-executed', 'once-if-reused', failure),
  ],
  ['response stream cut, or lost after the write', seen('cut'), verdict('retire', 'unknown')],
  ['a message over the bound', seen('oversized'), verdict('retire', 'unknown')],
  ['500', http(500), verdict('keep', 'unknown')],
  ['504', http(504), verdict('keep', 'unknown')],
  ['408', http(408), verdict('keep', 'unknown')],
  ['a timeout of ours', seen('timeout'), verdict('strike', 'unknown')],
  [
    'a result, an isError result, a JSON-RPC error',
    seen('answer'),
    verdict('keep', 'executed', 'never', { vote: 'success' }),
  ],
  ['401', http(401), verdict('keep', 'not-executed')],
  ['403', http(403), verdict('keep', 'not-executed')],
  [
    '429 with Retry-After',
    http(429, { retryAfterMs: 7_000 }),
    verdict('keep', 'not-executed', 'never', throttle(7_000)),
  ],
  ['429 without', http(429), verdict('keep', 'not-executed')],
  [
    '503 with Retry-After',
    http(503, { retryAfterMs: 7_000 }),
    verdict('keep', 'unknown', 'never', throttle(7_000)),
  ],
  [
    '503 with Retry-After of an hour',
    http(503, { retryAfterMs: 3_600_000 }),
    verdict('keep', 'unknown', 'never', throttle(300_000)),
  ],
  ['503 without', http(503), verdict('keep', 'unknown')],
  ['500 with Retry-After', http(500, { retryAfterMs: 1 }), verdict('keep', 'unknown')],
  ['the transport was closed', seen('closed'), verdict('lost', 'unknown')],
  [
    'the transport was closed before',
    seen('closed', unsent),
    verdict('lost', 'not-executed', 'once-if-reused'),
  ],
  ['something of the caller, unsent', seen('other', unsent), verdict('keep', 'not-executed')],
  ['anything else', seen('other'), verdict('keep', 'unknown')],
];

describe('judge, of a call', () => {
  test.each(calls)('%s', (_, observation, expected) => {
    expect(judge(observation)).toEqual(expected);
  });

  test.each(calls)("after the caller's abort: %s", (_, observation) => {
    for (const during of ['call', 'probe', 'open'] as const) {
      const aborted = { ...observation, during, aborted: true };
      expect(judge(aborted)).toEqual(verdict('keep', 'unknown'));
    }
  });
});

describe('judge, of a probe', () => {
  test.each([
    ['an answer', seen('answer'), 'keep'],
    ['404', http(404), 'lost'],
    ['400: the server was asked because it had said so before', http(400), 'lost'],
    ['400 without a session id', http(400, { withSessionId: false }), 'keep'],
    ['refused', seen('refused', unsent), 'lost'],
    ['cut', seen('cut'), 'retire'],
    ['no answer in time: no first strike', seen('timeout'), 'retire'],
    ['401', http(401), 'keep'],
    ['503', http(503), 'keep'],
  ] as const)('%s: %s', (_, observation, session) => {
    expect(judge({ ...observation, during: 'probe' }).session).toBe(session);
  });
});

describe('judge, of an open', () => {
  test.each([
    ['refused', seen('refused', unsent), failure],
    ['no answer in time', seen('timeout'), failure],
    ['500', http(500), failure],
    ['404', http(404), failure],
    ['a JSON-RPC error', seen('answer'), failure],
    ['rubbish', seen('other'), failure],
    ['401', http(401), { vote: 'failure', scope: 'endpoint+identity' }],
    ['403', http(403), { vote: 'failure', scope: 'endpoint+identity' }],
    ['429 with Retry-After', http(429, { retryAfterMs: 5 }), throttle(5)],
    ['429 without', http(429), failure],
  ] as const)('%s', (_, observation, breaker) => {
    expect(judge({ ...observation, during: 'open', withSessionId: false })).toMatchObject({
      session: 'keep',
      replay: 'never',
      breaker,
    });
  });
});
