// The reconnect governor as a table: what ended, and how long the next stream then waits.

import { expect, test } from 'vitest';
import {
  afterFailure,
  afterFollowUp,
  afterStart,
  afterStream,
  clampRetryMs,
  freshGovernor,
  type ReconnectGovernor,
  reconnectWaitMs,
} from '../../src/policy/reconnect-governor.ts';

const NOW = 5_000;
const EMPTY = { livedMs: 10, broughtMessage: false, retryMs: undefined };

/** Ends `count` streams in a row, each at `NOW`. */
function flap(count: number, random: number, governor = freshGovernor): ReconnectGovernor {
  let now = governor;
  for (let n = 0; n < count; n += 1) now = afterStream(now, EMPTY, NOW, random);
  return now;
}

test('the first stream of a chain may be asked for at once', () => {
  expect(reconnectWaitMs(freshGovernor, NOW)).toBe(0);
});

test.each([
  { flaps: 1, least: 1_000, most: 2_000 },
  { flaps: 2, least: 2_000, most: 4_000 },
  { flaps: 3, least: 4_000, most: 8_000 },
  { flaps: 8, least: 128_000, most: 256_000 },
  { flaps: 9, least: 150_000, most: 300_000 },
  { flaps: 2_000, least: 150_000, most: 300_000 },
])('after $flaps flaps in a row the wait is $least to $most ms', ({ flaps, least, most }) => {
  expect(reconnectWaitMs(flap(flaps, 0), NOW)).toBe(least);
  expect(reconnectWaitMs(flap(flaps, 0.999_999), NOW)).toBeCloseTo(most, -1);
});

test.each([
  { name: 'brought a message', stream: { ...EMPTY, broughtMessage: true } },
  { name: 'lived for a minute', stream: { ...EMPTY, livedMs: 60_000 } },
])('a stream that $name resets the wait to the floor', ({ stream }) => {
  const governor = afterStream(flap(7, 0.5), stream, NOW, 0.9);
  expect(reconnectWaitMs(governor, NOW)).toBe(1_000);
  expect(reconnectWaitMs(flap(1, 0, governor), NOW)).toBe(1_000);
});

test('a stream that lived for just under a minute and brought nothing has flapped', () => {
  const governor = afterStream(flap(1, 0), { ...EMPTY, livedMs: 59_999 }, NOW, 0);
  expect(reconnectWaitMs(governor, NOW)).toBe(2_000);
});

test.each([
  { retryMs: 0, least: 1_000, most: 1_100 },
  { retryMs: 999, least: 1_000, most: 1_100 },
  { retryMs: 7_500, least: 7_500, most: 8_250 },
  { retryMs: 299_999, least: 270_000, most: 300_000 },
  { retryMs: 300_001, least: 270_000, most: 300_000 },
  { retryMs: 3_000_000_000, least: 270_000, most: 300_000 },
  { retryMs: Number.POSITIVE_INFINITY, least: 270_000, most: 300_000 },
])('`retry: $retryMs` makes the wait $least to $most ms, spread by chance', (row) => {
  const { retryMs, least, most } = row;
  const stream = { livedMs: 1, broughtMessage: true, retryMs };
  const waits = [0, 0.25, 0.5, 0.75, 1 - Number.EPSILON].map((random) =>
    reconnectWaitMs(afterStream(freshGovernor, stream, NOW, random), NOW),
  );
  for (const wait of waits) {
    expect(wait).toBeGreaterThanOrEqual(least);
    expect(wait).toBeLessThanOrEqual(most);
  }
  expect(new Set(waits).size).toBe(waits.length);
  expect(clampRetryMs(retryMs)).toBeLessThanOrEqual(300_000);
  expect(clampRetryMs(retryMs)).toBeGreaterThanOrEqual(1_000);
});

test('`retry` never shortens the wait of a flapping stream, and holds until there is another', () => {
  const eager = afterStream(flap(5, 0), { ...EMPTY, retryMs: 0 }, NOW, 0);
  expect(reconnectWaitMs(eager, NOW)).toBe(32_000);
  const patient = afterStream(freshGovernor, { ...EMPTY, retryMs: 90_000 }, NOW, 0);
  expect(reconnectWaitMs(afterStream(patient, EMPTY, NOW, 0), NOW)).toBe(90_000);
});

test('a failure to reach the server counts as a flap', () => {
  expect(reconnectWaitMs(afterFailure(flap(1, 0), NOW, 0), NOW)).toBe(2_000);
});

test('streams keep a second of distance even if none of them ever ends', () => {
  const started = afterStart(freshGovernor, NOW);
  expect(reconnectWaitMs(started, NOW)).toBe(1_000);
  expect(reconnectWaitMs(started, NOW + 400)).toBe(600);
  expect(reconnectWaitMs(started, NOW + 1_000)).toBe(0);
});

test('five follow-ups in a row go at once, the sixth counts as a failure', () => {
  const waits: number[] = [];
  let governor = afterStart(freshGovernor, NOW);
  for (let n = 0; n < 7; n += 1) {
    governor = afterFollowUp(governor, NOW, 0);
    waits.push(reconnectWaitMs(governor, NOW));
  }
  expect(waits).toEqual([0, 0, 0, 0, 0, 1_000, 2_000]);
});

test('a stream between follow-ups lets them go at once again', () => {
  let governor = freshGovernor;
  for (let n = 0; n < 5; n += 1) governor = afterFollowUp(governor, NOW, 0);
  governor = afterFollowUp(afterStream(governor, EMPTY, NOW, 0), NOW, 0);
  expect(reconnectWaitMs(governor, NOW)).toBe(0);
});
