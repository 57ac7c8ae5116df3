// The recipe for signals at its door. What it does to whole processes is in
// `process/stdio-exit.test.ts`.

import { closeOnSignals } from 'mcp-session-pool';
import { expect, test } from 'vitest';

const report = { sessions: 0, closed: 0, abandoned: 0, unterminated: 0, durationMs: 0 };
const pool = { close: async () => report };

const counts = (): number[] =>
  ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2'].map((signal) => process.listenerCount(signal));

test('listens to three signals until it is taken off, also twice', () => {
  const before = counts();
  const stop = closeOnSignals(pool);
  expect(counts().map((count, n) => count - before[n]!)).toEqual([1, 1, 1, 0]);
  stop();
  stop();
  expect(counts()).toEqual(before);
});

test('listens to the signals that it is given', () => {
  const before = counts();
  const stop = closeOnSignals(pool, { signals: ['SIGUSR2'] });
  expect(counts().map((count, n) => count - before[n]!)).toEqual([0, 0, 0, 1]);
  stop();
  expect(counts()).toEqual(before);
});

test('of twenty pools is no leak to Node, and leaves nothing when taken off', () => {
  const [before, allowed] = [counts(), process.getMaxListeners()];
  // Node warns when more listen than are allowed, which fails every test of this suite.
  const stops = Array.from({ length: 20 }, () => closeOnSignals(pool));
  expect(counts().map((count, n) => count - before[n]!)).toEqual([20, 20, 20, 0]);
  for (const stop of [...stops, ...stops]) stop();
  expect(counts()).toEqual(before);
  expect(process.getMaxListeners()).toBe(allowed);
});

test('taken off while it closes, it listens until that has ended', async () => {
  const host = (): void => {};
  // Somebody has to listen, or our own process would end.
  process.on('SIGUSR2', host);
  const before = counts();
  let end = (): void => {};
  const closing = new Promise<typeof report>((resolve) => {
    end = () => resolve(report);
  });
  const stop = closeOnSignals({ close: () => closing }, { signals: ['SIGUSR2'] });
  process.emit('SIGUSR2', 'SIGUSR2');
  stop();
  expect(counts().at(-1)).toBe(before.at(-1)! + 1);
  end();
  await closing;
  await Promise.resolve();
  expect(counts()).toEqual(before);
  process.off('SIGUSR2', host);
});

test.each([
  [{ drainTimeoutMs: -1 }, RangeError],
  [{ drainTimeoutMs: '1' }, TypeError],
  [{ drainMs: 1 }, TypeError],
  [{ signals: [] }, TypeError],
  [{ signals: 'SIGTERM' }, TypeError],
  [{ signals: ['SIGNONE'] }, TypeError],
  [{ signals: ['SIGTERM', 'SIGKILL'] }, TypeError],
])('refuses %o, and listens to nothing', (options, error) => {
  const before = counts();
  expect(() => closeOnSignals(pool, options as never)).toThrow(error);
  expect(counts()).toEqual(before);
});
