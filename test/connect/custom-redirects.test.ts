// Redirects of servers that a custom transport talks to through the fetch it was given: the headers
// of leases stay within the server's origin, whatever the transport leaves to `fetch`.

import type { FetchLike, Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { createTransportConnector, SessionPool } from 'mcp-session-pool';
import { expect, test } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import { answerJson, type RawExchange, speakMcp, startRawServer } from '../support/raw-server.ts';

const closing = closeAfterEach();
const SECRETS = { 'x-api-key': 'key of ada', authorization: 'Bearer of ada', cookie: 'of=ada' };
const answer = (each: RawExchange): void => answerJson(each, { content: [] });

/** The simplest transport there is: posts, and leaves the rest to its fetch. */
class PlainTransport implements Transport {
  onclose?: () => void;
  onmessage?: NonNullable<Transport['onmessage']>;
  readonly #url: URL;
  readonly #fetch: FetchLike;

  constructor(url: URL, fetch: FetchLike) {
    this.#url = url;
    this.#fetch = fetch;
  }

  async start(): Promise<void> {}

  async send(message: object): Promise<void> {
    const headers = { 'content-type': 'application/json', accept: 'application/json' };
    const body = JSON.stringify(message);
    const response = await this.#fetch(this.#url, { method: 'POST', headers, body });
    const text = await response.text();
    if (response.status === 200) this.onmessage?.(JSON.parse(text));
    else if (!response.ok) throw Object.assign(new Error('Refused'), { status: response.status });
  }

  async close(): Promise<void> {
    this.onclose?.();
  }
}

async function scene(location: (other: URL) => string, status = 307) {
  const other = closing(await startRawServer(speakMcp({ 'tools/call': answer })));
  const server = closing(
    await startRawServer((each) => {
      const isMoved = each.path === '/mcp' && each.message.method === 'tools/call';
      if (isMoved) each.response.writeHead(status, { location: location(other.url) }).end();
      else speakMcp({ 'tools/call': answer })(each);
    }),
  );
  const connect = createTransportConnector(({ fetch }) => new PlainTransport(server.url, fetch));
  const pool = closing(new SessionPool());
  const target = { server: server.url.origin, identity: 'ada', connect };
  const called = pool.use(target, (client) => client.callTool({ name: 'x' }), { headers: SECRETS });
  return { server, other, called };
}

test.each([307, 308])('%i to another origin is an answer: nothing goes there', async (status) => {
  const { other, called } = await scene(({ href }) => href, status);
  await expect(called).rejects.toMatchObject({ status });
  expect(other.exchanges).toEqual([]);
});

test('one within the origin is followed, with the same headers', async () => {
  const { server, called } = await scene(() => '/moved');
  await called;
  const { path, headers } = server.exchanges.at(-1)!;
  expect({ path, headers }).toMatchObject({ path: '/moved', headers: SECRETS });
});
