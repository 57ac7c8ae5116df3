// What importing the package does to the host process: nothing that the host could notice.

import { expect, test } from 'vitest';
import { runChild } from '../support/child-process.ts';
import { answerJson, speakMcp, startRawServer } from '../support/raw-server.ts';
import { readSources } from '../support/source-files.ts';

test("importing the package and using a pool leave the host's fetch alone", async () => {
  const speak = speakMcp({ 'tools/list': (exchange) => answerJson(exchange, { tools: [] }) });
  const server = await startRawServer((exchange) => {
    if (exchange.path === '/plain') exchange.response.end(exchange.body);
    else speak(exchange);
  });
  const { code, facts, stderr } = await runChild('import-only', server.url.href);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(facts).toMatchObject({
    posted: 200,
    postedAfterUse: 200,
    sameDispatcher: true,
    sameFetch: true,
    handlesAfterImport: [],
  });
  expect(server.exchanges.filter(({ path }) => path === '/plain')).toHaveLength(2);
  await server.close();
});

test('importing the package loads neither the SDK nor zod before a session is opened', () => {
  const importsOf = new Map(
    readSources('src').map(({ path, imports }) => [
      path,
      imports.filter((each) => each.ofValues && !each.onDemand),
    ]),
  );
  const reached = new Set(['src/index.ts']);
  for (const path of reached) {
    for (const { from } of importsOf.get(path) ?? []) reached.add(from);
  }
  expect(reached).toContain('src/session-pool.ts');
  expect([...reached].filter((each) => /^(@modelcontextprotocol|zod)/.test(each))).toEqual([]);
});
