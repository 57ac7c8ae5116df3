// README's examples of how to test a gateway do what their comments say.

import { expect, test, vi } from 'vitest';

const linesOf = async (run: () => Promise<unknown>): Promise<unknown[][]> => {
  const lines: unknown[][] = [];
  vi.spyOn(console, 'log').mockImplementation((...words) => void lines.push(words));
  await run();
  return lines;
};

test('with fakes: a close whose peer acknowledges nothing takes its five seconds', async () => {
  const lines = await linesOf(() => import('../../examples/testing-with-fakes.ts'));
  expect(lines).toEqual([
    [1, 5_000, 0],
    [
      [
        ...['open', 'lend', 'call', 'fence', 'terminate'],
        ...['clientClose', 'transportClose', 'sever'],
      ],
    ],
  ]);
});

test('with hostile servers: sessions are replaced, errors have codes, nothing is left', async () => {
  const lines = await linesOf(() => import('../../examples/testing-with-hostile-servers.ts'));
  expect(lines).toEqual([
    [[{ type: 'text', text: 'one' }], 1],
    [[{ type: 'text', text: 'two' }], 2],
    [[{ type: 'text', text: 'three' }], 3],
    ['OPEN_FAILED'],
    [1],
    [[]],
  ]);
});
