// What of our environment a server gets to see.

import { getDefaultEnvironment } from '@modelcontextprotocol/sdk/client/stdio.js';
import { expect, test } from 'vitest';
import { childEnvironment } from '../../src/stdio/child-environment.ts';

const ours = {
  HOME: '/ada',
  PATH: '/bin',
  SHELL: '() { evil; }',
  TEMP: 'C:\\Temp',
  API_KEY: 'sesame',
};

test.each([
  { platform: 'linux', expected: { HOME: '/ada', PATH: '/bin' } },
  { platform: 'win32', expected: { PATH: '/bin', TEMP: 'C:\\Temp' } },
] as const)('on $platform only what is harmless is inherited', ({ platform, expected }) => {
  expect(childEnvironment({}, ours, platform)).toEqual(expected);
});

test('what the target gives is added, and wins', () => {
  const env = childEnvironment({ PATH: '/own', API_KEY: 'own' }, ours, 'linux');
  expect(env).toEqual({ HOME: '/ada', PATH: '/own', API_KEY: 'own' });
});

test("it is what servers get from the SDK's client", () => {
  expect(childEnvironment()).toEqual(getDefaultEnvironment());
});
