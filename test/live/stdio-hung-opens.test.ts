// Servers over stdio that hang as they start: the open fails in time, and the next process of the
// key is not started before the last one has gone, so that a key never has more than it may.

import { SessionPool } from 'mcp-session-pool';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { until } from '../support/raw-server.ts';
import { useStdioLab } from '../support/stdio-lab.ts';

const lab = useStdioLab();
const closing = closeAfterEach();

test('a server that hangs as it starts never runs twice for one key, though its opens fail', async () => {
  const options = { connectTimeoutMs: 600, closeTimeoutMs: 2_000, breaker: false } as const;
  const pool = closing(new SessionPool(options));
  const target = lab.target('hang-initialize', 'ignore-eof', 'ignore-sigterm');
  const seen = new Set<number>();
  let most = 0;
  const watch = setInterval(() => {
    const alive = lab.processes();
    for (const { pid } of alive) seen.add(pid);
    most = Math.max(most, alive.length);
  }, 20);
  try {
    for (let open = 0; open < 6; open += 1) {
      await expect(pool.acquire(target)).rejects.toMatchObject({ code: 'OPEN_FAILED' });
    }
    await until(() => seen.size > 1, 10_000);
  } finally {
    clearInterval(watch);
  }
  expect(most).toBe(1);
  await pool.close();
  await until(() => lab.processes().length === 0);
}, 30_000);
