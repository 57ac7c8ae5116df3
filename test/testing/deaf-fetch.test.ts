// A fetch that ignores aborts, alone and behind a fence.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { createFence } from 'mcp-session-pool';
import { deafFetch, floodBody, hungBody, leftovers } from 'mcp-session-pool/testing';
import { describe, expect, test } from 'vitest';
import { until } from '../support/raw-server.ts';
import { stateWithin } from '../support/transport-fixture.ts';

const URL_OF_NOTHING = new URL('http://127.0.0.1:1/mcp');
const post = (message: object): RequestInit => ({ method: 'POST', body: JSON.stringify(message) });

describe('a deaf fetch', () => {
  test('answers initialize, refuses GET, and takes the rest', async () => {
    const fetch = deafFetch();
    const answer = await fetch(URL_OF_NOTHING, post({ id: 3, method: 'initialize' }));
    expect(await answer.json()).toMatchObject({ id: 3, result: { serverInfo: { name: 'deaf' } } });
    expect((await fetch(URL_OF_NOTHING)).status).toBe(405);
    expect((await fetch(URL_OF_NOTHING, post({ method: 'x' }))).status).toBe(202);
    expect((await fetch(URL_OF_NOTHING, { method: 'DELETE' })).status).toBe(202);
  });

  test('gives the streams it was told to, with the signal of their request', async () => {
    const signals: AbortSignal[] = [];
    const fetch = deafFetch({
      GET: (signal) => {
        signals.push(signal);
        return hungBody();
      },
    });
    const { signal } = new AbortController();
    const answer = await fetch(URL_OF_NOTHING, { signal });
    expect(answer.headers.get('content-type')).toBe('text/event-stream');
    await fetch(URL_OF_NOTHING);
    expect([signals[0], signals[1]?.aborted]).toEqual([signal, false]);
  });
});

describe('a body', () => {
  test('that hangs gives nothing and acknowledges no cancel', async () => {
    const body = hungBody();
    const reader = body.getReader();
    const read = reader.read();
    expect(await stateWithin(30, read)).toBe('pending');
    expect(await stateWithin(30, reader.cancel())).toBe('pending');
  });

  test('that floods gives messages for as long as it is read, and no more', async () => {
    const body = floodBody();
    const reader = body.getReader();
    for (let n = 0; n < 100; n += 1) {
      const { value } = await reader.read();
      expect(new TextDecoder().decode(value)).toMatch(/^data: .*notifications\/message.*\n\n$/);
    }
    expect(await stateWithin(30, reader.cancel())).toBe('pending');
  });
});

test('a fence holds out against both: a hung call rejects, a flood ends, nothing is left', async () => {
  let messages = 0;
  let atClose = 0;
  const left = await leftovers(async () => {
    const fence = createFence({ fetch: deafFetch({ 'tools/call': hungBody, GET: floodBody }) });
    const transport = new StreamableHTTPClientTransport(URL_OF_NOTHING, { fetch: fence.fetch });
    const client = new Client({ name: 'test', version: '0.0.0' });
    client.fallbackNotificationHandler = async () => {
      messages += 1;
    };
    await client.connect(transport);
    const call = client.callTool({ name: 'hang' }).catch(() => 'rejected');
    await until(() => messages > 10);
    fence.arm();
    await client.close();
    fence.abortAll();
    atClose = messages;
    expect(await call).toBe('rejected');
  });
  expect(left).toEqual([]);
  expect(messages).toBe(atClose);
});
