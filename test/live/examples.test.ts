// The examples do what they say.

import { afterEach, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { startEverythingServer } from '../support/everything-server.ts';

const closing = closeAfterEach();
afterEach(() => {
  vi.unstubAllEnvs();
});

test('the quick start lists tools, calls one, and closes its sessions', async () => {
  const server = closing(await startEverythingServer());
  const lines: unknown[][] = [];
  vi.spyOn(console, 'log').mockImplementation((...words) => void lines.push(words));
  vi.stubEnv('MCP_URL', server.url);
  await import('../../examples/quick-start.ts');
  expect(lines).toEqual([
    [expect.arrayContaining(['echo', 'get-sum'])],
    [true, [{ type: 'text', text: expect.stringContaining('hello') }]],
    [expect.objectContaining({ sessions: 1, closed: 1, abandoned: 0, unterminated: 0 })],
  ]);
});
