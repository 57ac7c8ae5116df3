// How the tests run. Paths are relative to the repository root.

import { fileURLToPath } from 'node:url';
import { defineConfig, type ViteUserConfig } from 'vitest/config';

const fromRoot = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

const config: ViteUserConfig = defineConfig({
  root: fromRoot('.'),
  // Tests and examples name the package; here that is its source, not `dist`.
  resolve: {
    alias: [
      { find: /^mcp-session-pool$/, replacement: fromRoot('src/index.ts') },
      { find: /^mcp-session-pool\/v2$/, replacement: fromRoot('src/v2/index.ts') },
      { find: /^mcp-session-pool\/testing$/, replacement: fromRoot('src/testing/index.ts') },
    ],
  },
  // Node 20 and 22 cannot parse `await using`.
  oxc: { target: 'es2023' },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/.build/**', '**/node_modules/**'],
    setupFiles: ['test/support/guard.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Also lets tests collect garbage and then count what is still alive.
    execArgv: ['--expose-gc'],
    testTimeout: 10_000,
    hookTimeout: 10_000,
    restoreMocks: true,
    unstubGlobals: true,
    coverage: { provider: 'v8', include: ['src/**/*.ts'], reporter: ['text'] },
  },
});

export default config;
