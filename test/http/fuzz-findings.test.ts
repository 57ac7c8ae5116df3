// What the differential test and the fuzzer found, each reduced to the least that shows it.

import { describe, expect, it } from 'vitest';
import { useTransports } from '../support/transport-fixture.ts';

const { serve, start } = useTransports();

describe('findings', () => {
  // Differential test, quirk `json after a mark`: the call failed with `UNEXPECTED_CONTENT`.
  it('a JSON answer that begins with a byte order mark is read', async () => {
    const message = { jsonrpc: '2.0', id: 1, result: {} } as const;
    const server = await serve({
      'tools/call': ({ response }) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(`\uFEFF${JSON.stringify(message)}`);
      },
    });
    const { transport, messages } = await start(server.url);
    await transport.send({ jsonrpc: '2.0', id: 1, method: 'tools/call' });
    expect(messages.map((each) => each.message)).toEqual([message]);
  });
});
