// Which refusals of `initialize` lead to the other HTTP protocol.

import { expect, test } from 'vitest';
import { isOfOtherProtocol } from '../../src/policy/transport-choice.ts';

test.each([
  // MCP 2025-11-25 names these three.
  ...[400, 404, 405],
  // 2025-06-18 has any other 4xx, too.
  ...[406, 410, 411, 415, 422, 426, 499],
])('%i says that the server may speak the other protocol', (status) => {
  expect(isOfOtherProtocol(status)).toBe(true);
});

test.each([
  ...[401, 402, 403, 407],
  ...[408, 425, 429],
  ...[200, 202, 302, 399],
  ...[500, 501, 503, 599],
])('%i says nothing of the kind', (status) => {
  expect(isOfOtherProtocol(status)).toBe(false);
});
