// Sessions over what a caller's dispatcher brings: HTTP/2, and TLS with a client certificate.

import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { Agent } from 'undici';
import { afterEach, expect, test } from 'vitest';
import { SessionPool } from '../../src/index.ts';
import { until } from '../support/raw-server.ts';
import { TEST_CERTIFICATE } from '../support/test-certificate.ts';
import { rejectionOf } from '../support/transport-fixture.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const TLS = { key: TEST_CERTIFICATE, cert: TEST_CERTIFICATE, ca: TEST_CERTIFICATE };

/** An MCP server that speaks HTTP/2 alone, and only with those who show a certificate. */
async function serve() {
  const methods: string[] = [];
  let hanging = 0;
  let connections = 0;
  const answer = async (request: Http2ServerRequest, response: Http2ServerResponse) => {
    methods.push(request.method);
    if (request.method !== 'POST') return response.writeHead(204).end();
    const { id, method, params } = (await json(request)) as Message;
    if (id === undefined) return response.writeHead(202).end();
    if (params.name === 'hang') {
      hanging += 1;
      return response.on('close', () => {
        hanging -= 1;
      });
    }
    const { protocolVersion } = params;
    const hello = { protocolVersion, capabilities: {}, serverInfo: { name: 's', version: '1' } };
    const result = method === 'initialize' ? hello : { content: [] };
    const text = JSON.stringify({ jsonrpc: '2.0', id, result });
    const isStream = params.name === 'stream';
    response.writeHead(200, {
      'content-type': isStream ? 'text/event-stream' : 'application/json',
      ...(method === 'initialize' && { 'mcp-session-id': 'session-1' }),
    });
    return response.end(isStream ? `data: ${text}\n\n` : text);
  };
  const server = createSecureServer({ ...TLS, requestCert: true }, (request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  server.on('session', (session) => {
    connections += 1;
    session.on('error', () => {});
    closers.push(async () => session.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.unshift(() => new Promise((resolve) => server.close(resolve)));
  const { port } = server.address() as AddressInfo;
  return {
    url: `https://localhost:${port}/mcp`,
    methods,
    hanging: () => hanging,
    connections: () => connections,
  };
}

interface Message {
  readonly id?: number;
  readonly method: string;
  readonly params: { readonly name?: string; readonly protocolVersion?: string };
}

test('a session over HTTP/2 with a client certificate', async () => {
  const server = await serve();
  const origins: string[] = [];
  const agent = new Agent({ allowH2: true, pipelining: 100, connect: { ...TLS, family: 4 } });
  closers.push(() => agent.destroy());
  const dispatcher = (origin: string): Agent => {
    origins.push(origin);
    return agent;
  };
  const pool = new SessionPool({ dispatcher });
  closers.push(() => pool.close());
  const lease = await pool.acquire({ url: server.url, identity: 'ada' });
  const { client } = lease;
  await Promise.all(['json', 'stream'].map((name) => client.callTool({ name })));
  const before = server.connections();
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = rejectionOf(client.callTool({ name: 'hang' }, undefined, { signal }));
  await until(() => server.hanging() === 1);
  controller.abort(new Error('not wanted'));
  await aborted;
  // Its stream is reset, and nothing else: the connections serve the next call.
  await until(() => server.hanging() === 0);
  await client.callTool({ name: 'json' });
  lease.release();
  expect(await pool.close()).toMatchObject({ closed: 1, unterminated: 0 });
  expect(server.methods.at(-1)).toBe('DELETE');
  expect(server.connections()).toBe(before);
  expect(new Set(origins)).toEqual(new Set([new URL(server.url).origin]));
  expect(agent.destroyed).toBe(false);
});

test('a server that refuses the certificate fails the open, and nothing was executed', async () => {
  const server = await serve();
  const agent = new Agent({ allowH2: true, connect: { ca: TLS.ca, family: 4 } });
  closers.push(() => agent.destroy());
  const pool = new SessionPool({ dispatcher: agent });
  closers.push(() => pool.close());
  const error = await rejectionOf(pool.acquire({ url: server.url, identity: 'ada' }));
  expect(error).toMatchObject({ code: 'OPEN_FAILED', kind: 'network' });
  expect(server.methods).toEqual([]);
});
