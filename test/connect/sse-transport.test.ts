// The transport of the older HTTP+SSE protocol by itself, as the SDK's `Transport` is meant to be
// used: what a session never asks of it, or only in another order.

import { SSEClientTransport as SSEClientTransport2 } from '@modelcontextprotocol/client';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { httpMeans } from '../../src/connect/http-shared.ts';
import { SseTransport } from '../../src/connect/sse-transport.ts';
import { beginEvents, eventOf, pause, until } from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import { take } from '../support/sse-server.ts';

const { serveRaw, serveSse } = useSessions();

let Sdk: typeof SSEClientTransport | typeof SSEClientTransport2 = SSEClientTransport;
const made: SseTransport[] = [];
afterEach(() => {
  for (const transport of made.splice(0)) transport.sever(new Error('test over'));
});

const unused = (): never => {
  throw new Error('Nobody signs in here');
};

function newTransport(url: URL, endpointTimeoutMs?: number): SseTransport {
  const { dispatchers, flows } = httpMeans({});
  const transport = new SseTransport(url, {
    newSdkTransport: (endpoint, fetch) => new Sdk(endpoint, { fetch }) as Transport,
    oauth: unused,
    headers: () => ({}),
    authProvider: undefined,
    onCredentialsFailed: () => {},
    dispatchers: dispatchers.hold(),
    flows,
    maxMessageBytes: 1_000,
    endpointTimeoutMs,
    clock: systemClock,
    random: Math.random,
  });
  made.push(transport);
  return transport;
}

const ping = { jsonrpc: '2.0', id: 1, method: 'ping' } as const;

describe.each([
  ['SDK 1', SSEClientTransport],
  ['SDK 2', SSEClientTransport2],
])('the SSE transport of %s', (_, transportOfSdk) => {
  beforeEach(() => {
    Sdk = transportOfSdk;
  });

  it('rejects its start when it is closed before the endpoint came (row 7a)', async () => {
    const server = await serveSse({ GET: (exchange) => void beginEvents(exchange) });
    const transport = newTransport(server.url);
    const outcome = Promise.allSettled([transport.start()]);
    await until(() => server.count('GET') === 1);
    await transport.close();
    expect(await outcome).toMatchObject([{ reason: { code: 'SESSION_LOST' } }]);
    await expect(transport.start()).rejects.toMatchObject({ code: 'SESSION_LOST' });
    await until(() => server.openSockets === 0);
  });

  it('rejects its start when the endpoint takes longer than it may', async () => {
    const server = await serveSse({ GET: (exchange) => void beginEvents(exchange) });
    const startedAt = performance.now();
    await expect(newTransport(server.url, 60).start()).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(performance.now() - startedAt).toBeGreaterThan(55);
  });

  it('keeps no timer of a start that went well', async () => {
    const server = await serveSse();
    const timersOf = (): number =>
      process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const before = timersOf();
    await newTransport(server.url, 3_600_000).start();
    expect(server.streams).toHaveLength(1);
    await until(() => timersOf() <= before);
  });

  it('starts once, and sends nothing before', async () => {
    const server = await serveSse();
    const transport = newTransport(server.url);
    await expect(transport.send(ping)).rejects.toThrow('Not connected');
    await transport.start();
    await expect(transport.start()).rejects.toThrow('already started');
    expect(server.exchanges).toHaveLength(1);
  });

  it('tells `onclose` once, and only of a close', async () => {
    const server = await serveSse();
    const transport = newTransport(server.url);
    let closes = 0;
    transport.onclose = () => {
      closes += 1;
    };
    await transport.start();
    await transport.close();
    await transport.close();
    expect(closes).toBe(1);
    const other = newTransport(server.url);
    other.onclose = transport.onclose;
    await other.start();
    other.sever(new Error('cut'));
    await other.close();
    expect(closes).toBe(1);
  });

  it('tells `onerror` of the end of its stream once, and hears nothing afterwards', async () => {
    const server = await serveSse({ ping: take });
    const transport = newTransport(server.url);
    const errors: unknown[] = [];
    const heard: unknown[] = [];
    transport.onerror = (error) => void errors.push(error);
    transport.onmessage = (message) => void heard.push(message);
    await transport.start();
    await transport.send(ping);
    server.streams[0]?.response.write('data: {\n\ndata: [\n\n');
    await until(() => errors.length > 0);
    await pause(20);
    expect(errors).toMatchObject([{ code: 'UNEXPECTED_CONTENT' }]);
    await expect(transport.send(ping)).rejects.toMatchObject({ execution: 'not-executed' });
    await expect(transport.sendLastWord(ping)).resolves.toBeUndefined();
    await transport.close();
    await expect(transport.sendLastWord(ping)).rejects.toMatchObject({ code: 'SESSION_LOST' });
    expect(heard).toEqual([]);
  });

  it('lets nothing out to another origin that the server names while a call is on its way', async () => {
    const server = await serveSse({ ping: take });
    const other = await serveRaw();
    const transport = newTransport(server.url);
    await transport.start();
    const outcome = new Promise((_, reject) => {
      transport.onmessage = () => void transport.send(ping).catch(reject);
    });
    const heard = eventOf({ jsonrpc: '2.0', method: 'notifications/message', params: {} });
    const named = `event: endpoint\ndata: ${other.url.href}\n\n`;
    server.streams[0]?.response.write(`${heard}${named}`);
    await expect(outcome).rejects.toMatchObject({ message: expect.stringContaining('origin') });
    await transport.sendLastWord(ping).catch(() => {});
    expect(other.connections).toBe(0);
  });

  it('forgets the headers of a call once the server has taken it', async () => {
    const server = await serveSse({ ping: take });
    const transport = newTransport(server.url);
    await transport.start();
    await transport.send(ping, { headers: () => ({ 'x-of': 'one' }) });
    await transport.send(ping);
    expect(server.exchanges.map(({ headers }) => headers['x-of'])).toEqual([
      undefined,
      'one',
      undefined,
    ]);
  });
});
