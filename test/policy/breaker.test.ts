// The circuit breaker: its states as tables, and walks by chance against what is promised of them.

import { describe, expect, test } from 'vitest';
import { Breaker } from '../../src/policy/breaker.ts';
import { Dice } from '../support/random.ts';

const rules = { failureThreshold: 3, resetAfterMs: 1_000 };
/** Failures closer than this are one blip. */
const BLIP_MS = 50;
const TRIAL_MS = 400;
const ALL = Number.POSITIVE_INFINITY;

/** One open, begun and failed at `at`. */
const fail = (breaker: Breaker, at: number, random = 0.5): void =>
  breaker.failed(breaker.begin(at, TRIAL_MS), at, random);

/** A breaker whose circuit opened at 1,000, by chance in the middle: open until 2,000. */
function tripped(): Breaker {
  const breaker = new Breaker(rules);
  for (const at of [0, 500, 1_000]) fail(breaker, at);
  return breaker;
}

describe('a closed circuit', () => {
  test('lets all opens start', () => {
    expect(new Breaker(rules)).toMatchObject({ state: 'closed' });
    expect(new Breaker(rules).allowed(0)).toBe(ALL);
  });

  test('opens with the failure that reaches the threshold, and not before', () => {
    const breaker = new Breaker(rules);
    fail(breaker, 0);
    fail(breaker, 100);
    expect(breaker).toMatchObject({ state: 'closed' });
    expect(breaker.allowed(100)).toBe(ALL);
    fail(breaker, 200);
    expect(breaker).toMatchObject({ state: 'open', retryAt: 1_200 });
    expect(breaker.allowed(200)).toBe(0);
  });

  test('with a threshold of 1 opens at once', () => {
    const breaker = new Breaker({ ...rules, failureThreshold: 1 });
    fail(breaker, 0);
    expect(breaker.state).toBe('open');
  });

  test('counts in a row: a success begins anew', () => {
    const breaker = new Breaker(rules);
    fail(breaker, 0);
    fail(breaker, 100);
    breaker.succeeded(breaker.begin(150, TRIAL_MS));
    fail(breaker, 200);
    fail(breaker, 300);
    expect(breaker.state).toBe('closed');
    fail(breaker, 400);
    expect(breaker.state).toBe('open');
  });

  test('counts failures of one moment once, however many opens were under way', () => {
    const breaker = new Breaker(rules);
    const eras = Array.from({ length: 40 }, () => breaker.begin(0, TRIAL_MS));
    for (const [index, era] of eras.entries()) breaker.failed(era, index, 0.5);
    expect(breaker.state).toBe('closed');
    fail(breaker, BLIP_MS);
    fail(breaker, 2 * BLIP_MS - 1);
    expect(breaker.state).toBe('closed');
    fail(breaker, 2 * BLIP_MS);
    expect(breaker.state).toBe('open');
  });

  test('counts each open that hung', () => {
    const breaker = new Breaker(rules);
    const eras = [0, 0, 0].map(() => breaker.begin(0, TRIAL_MS));
    for (const era of eras) breaker.failed(era, 999, 0.5, 999);
    expect(breaker.state).toBe('closed');
    for (const era of eras.slice(1)) breaker.failed(era, 1_000, 0.5, 1_000);
    expect(breaker.state).toBe('open');
  });

  test('hears nothing new from opens that began before it was open', () => {
    const breaker = new Breaker(rules);
    const before = breaker.begin(0, TRIAL_MS);
    for (const at of [0, 500, 1_000]) fail(breaker, at);
    breaker.succeeded(breaker.begin(2_000, TRIAL_MS));
    for (const at of [2_100, 2_200, 2_300]) breaker.failed(before, at, 0.5);
    expect(breaker.state).toBe('closed');
  });

  test('counts failures by when they are heard, however long ago their opens began', () => {
    const breaker = new Breaker(rules);
    const eras = [0, 1, 2].map((at) => breaker.begin(at, TRIAL_MS));
    breaker.succeeded(breaker.begin(10, TRIAL_MS));
    for (const [index, era] of eras.entries()) breaker.failed(era, 100 * (index + 1), 0.5);
    expect(breaker.state).toBe('open');
  });

  test('counts sessions at work that could not reach the server', () => {
    const breaker = new Breaker(rules);
    for (const at of [0, 100, 200]) breaker.failed(undefined, at, 0.5);
    expect(breaker.state).toBe('open');
  });
});

describe('an open circuit', () => {
  test.each([
    { random: 0, retryAt: 1_900 },
    { random: 0.5, retryAt: 2_000 },
    { random: 0.999, retryAt: 2_099.8 },
  ])('stays open for resetAfterMs ± 10 %: by chance $random until $retryAt', (each) => {
    const breaker = new Breaker(rules);
    for (const at of [0, 500, 1_000]) fail(breaker, at, each.random);
    expect(breaker.retryAt).toBeCloseTo(each.retryAt);
    expect(breaker.allowed(each.retryAt - 1)).toBe(0);
    expect(breaker.allowed(breaker.retryAt)).toBe(1);
  });

  test('is not held open for longer by opens that began before it opened', () => {
    const breaker = new Breaker(rules);
    const before = breaker.begin(0, TRIAL_MS);
    for (const at of [0, 500, 1_000]) fail(breaker, at);
    breaker.failed(before, 1_900, 0.5);
    breaker.failed(undefined, 1_950, 0.5);
    expect(breaker).toMatchObject({ state: 'open', retryAt: 2_000 });
  });

  test('closes when an open that began before it opened succeeds: the server works', () => {
    const breaker = new Breaker(rules);
    const before = breaker.begin(0, TRIAL_MS);
    for (const at of [0, 500, 1_000]) fail(breaker, at);
    breaker.succeeded(before);
    expect(breaker.state).toBe('closed');
  });
});

describe('a half-open circuit', () => {
  test('lets exactly one trial through', () => {
    const breaker = tripped();
    expect(breaker.allowed(1_999)).toBe(0);
    expect(breaker.allowed(2_000)).toBe(1);
    breaker.begin(2_000, TRIAL_MS);
    expect(breaker).toMatchObject({ state: 'half-open', retryAt: 2_400 });
    expect(breaker.allowed(2_000)).toBe(0);
    expect(breaker.allowed(1e9)).toBe(0);
  });

  test('closes when the trial succeeds, with nothing counted', () => {
    const breaker = tripped();
    breaker.succeeded(breaker.begin(2_000, TRIAL_MS));
    expect(breaker.allowed(2_000)).toBe(ALL);
    fail(breaker, 2_100);
    fail(breaker, 2_200);
    expect(breaker.state).toBe('closed');
  });

  test('is open for resetAfterMs again when the trial fails', () => {
    const breaker = tripped();
    fail(breaker, 2_000, 0);
    expect(breaker).toMatchObject({ state: 'open', retryAt: 2_900 });
  });

  test('is decided by its trial alone: other failures are no news', () => {
    const breaker = new Breaker(rules);
    const before = breaker.begin(0, TRIAL_MS);
    for (const at of [0, 500, 1_000]) fail(breaker, at);
    const trial = breaker.begin(2_000, TRIAL_MS);
    breaker.failed(before, 2_010, 0.5);
    breaker.failed(undefined, 2_020, 0.5);
    breaker.undecided(before, 2_030);
    expect(breaker.state).toBe('half-open');
    breaker.succeeded(trial);
    breaker.failed(trial, 2_200, 0.5);
    expect(breaker.state).toBe('closed');
  });

  test('lets the next trial through soon when this one said nothing', () => {
    const breaker = tripped();
    breaker.undecided(breaker.begin(2_000, TRIAL_MS), 2_300);
    expect(breaker.allowed(2_300 + BLIP_MS - 1)).toBe(0);
    expect(breaker.allowed(2_300 + BLIP_MS)).toBe(1);
  });
});

describe('a server that asks for a pause', () => {
  test.each([
    { name: 'exactly', askedMs: 7_000, random: 0, waitMs: 7_000 },
    { name: 'or a little longer', askedMs: 7_000, random: 0.5, waitMs: 7_350 },
    { name: 'for 5 minutes at most', askedMs: 3_600_000, random: 0, waitMs: 300_000 },
    { name: 'for ever is 5 minutes', askedMs: Number.POSITIVE_INFINITY, random: 0, waitMs: 3e5 },
    { name: 'now means now', askedMs: 0, random: 0.9, waitMs: 0 },
    { name: 'the past means now', askedMs: -5, random: 0.9, waitMs: 0 },
  ])('gets it at once, $name', ({ askedMs, random, waitMs }) => {
    const breaker = new Breaker(rules);
    breaker.throttled(askedMs, 100, random);
    expect(breaker).toMatchObject({ state: 'open', retryAt: 100 + waitMs });
    expect(breaker.allowed(100 + waitMs)).toBe(1);
    if (waitMs > 0) expect(breaker.allowed(99 + waitMs)).toBe(0);
  });

  test('is not disturbed because an open on its way had come through', () => {
    const breaker = new Breaker(rules);
    const before = breaker.begin(0, TRIAL_MS);
    breaker.throttled(7_000, 100, 0);
    breaker.succeeded(before);
    expect(breaker.allowed(7_099)).toBe(0);
    breaker.succeeded(breaker.begin(7_100, TRIAL_MS));
    expect(breaker.state).toBe('closed');
  });

  test('makes a pause longer, never shorter', () => {
    const breaker = tripped();
    breaker.throttled(10, 1_100, 0);
    expect(breaker.retryAt).toBe(2_000);
    breaker.throttled(5_000, 1_100, 0);
    expect(breaker.retryAt).toBe(6_100);
  });

  test('in the middle of a trial ends it', () => {
    const breaker = tripped();
    const trial = breaker.begin(2_000, TRIAL_MS);
    breaker.throttled(5_000, 2_100, 0);
    breaker.succeeded(trial);
    expect(breaker).toMatchObject({ state: 'open', retryAt: 7_100 });
  });
});

describe('what is known', () => {
  test('is nothing at first, and after a success', () => {
    const breaker = new Breaker(rules);
    expect(breaker.forgottenAt).toBe(Number.NEGATIVE_INFINITY);
    fail(breaker, 0);
    breaker.succeeded(breaker.begin(1, TRIAL_MS));
    expect(breaker.forgottenAt).toBe(Number.NEGATIVE_INFINITY);
  });

  test.each([
    { resetAfterMs: 1_000, memoryMs: 60_000 },
    { resetAfterMs: 90_000, memoryMs: 90_000 },
  ])('may be forgotten $memoryMs ms after a failure or a pause', ({ resetAfterMs, memoryMs }) => {
    const breaker = new Breaker({ failureThreshold: 2, resetAfterMs });
    fail(breaker, 10);
    expect(breaker.forgottenAt).toBe(10 + memoryMs);
    fail(breaker, 500);
    expect(breaker.forgottenAt).toBe(breaker.retryAt + memoryMs);
    breaker.forget();
    expect(breaker).toMatchObject({ state: 'closed', forgottenAt: Number.NEGATIVE_INFINITY });
  });
});

/** One walk by chance; `notes` holds what was done, for the message of a failure. */
function walk(seed: number): void {
  const dice = new Dice(seed);
  const failureThreshold = dice.between(1, 4);
  const breaker = new Breaker({ failureThreshold, resetAfterMs: 1_000 });
  let now = 0;
  let under: { readonly era: number; readonly isTrial: boolean }[] = [];
  /** Failures told since the last success, whatever became of them. */
  let failures = 0;
  let notBefore = 0;
  const trials = (): number => under.filter(({ isTrial }) => isTrial).length;
  const end = (how: (era: number) => void): void => {
    const open = dice.maybeOf(under);
    if (open === undefined) return;
    under = under.filter((each) => each !== open);
    how(open.era);
  };
  for (let step = 0; step < 300; step += 1) {
    const before = { state: breaker.state, retryAt: breaker.retryAt };
    const what = dice.weighted({ begin: 8, fail: 6, succeed: 2, nothing: 1, pause: 1, wait: 6 });
    if (what === 'wait') now += dice.of([1, 10, 49, 50, 300, 1_100]);
    else if (what === 'begin' && breaker.allowed(now) > 0) {
      const isTrial = breaker.state !== 'closed';
      expect([seed, step, isTrial && now < notBefore]).toEqual([seed, step, false]);
      under.push({ era: breaker.begin(now, TRIAL_MS), isTrial });
    } else if (what === 'fail') {
      end((era) => {
        failures += 1;
        breaker.failed(era, now, dice.next());
      });
    } else if (what === 'succeed') {
      end((era) => {
        failures = 0;
        breaker.succeeded(era);
      });
    } else if (what === 'nothing') end((era) => breaker.undecided(era, now));
    else if (what === 'pause') {
      const askedMs = dice.of([0, 200, 2_000]);
      notBefore = Math.max(notBefore, now + askedMs);
      breaker.throttled(askedMs, now, dice.next());
    }
    const { state } = breaker;
    // One trial at a time; it may have been overtaken by a pause or a success.
    if (state === 'half-open') expect([seed, step, trials() > 0]).toEqual([seed, step, true]);
    expect(breaker.allowed(now)).toBe(
      state === 'closed' ? ALL : Number(state === 'open' && now >= breaker.retryAt),
    );
    // It opens for a reason, and not with too few failures.
    if (before.state === 'closed' && state === 'open' && what === 'fail') {
      expect(failures).toBeGreaterThanOrEqual(failureThreshold);
    }
    if (before.state === 'half-open' && state === 'half-open') {
      expect(breaker.retryAt).toBe(before.retryAt);
    }
    if (before.state !== 'closed' && state === 'closed') expect(what).toBe('succeed');
    if (before.state !== 'half-open' && state === 'half-open') expect(what).toBe('begin');
  }
}

test('walks by chance: one trial at a time, no open too early, no state without its reason', () => {
  for (let seed = 0; seed < 150; seed += 1) walk(seed);
  expect.hasAssertions();
});

test('the same failures at the same times by the same chance open the same circuit (I9)', () => {
  const facts = ({ state, retryAt, forgottenAt }: Breaker): object => ({
    state,
    retryAt,
    forgottenAt,
  });
  expect(facts(tripped())).toEqual(facts(tripped()));
});
