// Server-filesystem over stdio, all of it.

import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll } from 'vitest';
import { filesystemOffers } from '../support/filesystem-checks.ts';
import { describeServer } from '../support/server-suite.ts';
import { stdioServer } from '../support/stdio-servers.ts';

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'filesystem-')));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describeServer({
  offers: filesystemOffers(folder),
  isOneChannel: true,
  start: () => ({
    ...stdioServer('filesystem', { args: [folder] }),
    root: pathToFileURL(folder).href,
  }),
});
