// Server-memory over stdio, all of it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { memoryOffers } from '../support/memory-checks.ts';
import { describeServer } from '../support/server-suite.ts';
import { stdioServer } from '../support/stdio-servers.ts';

const folder = mkdtempSync(join(tmpdir(), 'memory-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describeServer({
  offers: memoryOffers,
  isOneChannel: true,
  start: () => stdioServer('memory', { env: { MEMORY_FILE_PATH: join(folder, 'graph.jsonl') } }),
});
