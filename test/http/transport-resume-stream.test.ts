// `resumeStream`: the notification stream, opened by hand after an event.

import { describe, expect, test } from 'vitest';
import { beginEvents, eventOf, type RawExchange, until } from '../support/raw-server.ts';
import { notification, rejectionOf, useTransports } from '../support/transport-fixture.ts';

const { serve, start } = useTransports();

const refuse =
  (status: number) =>
  ({ response }: RawExchange): void =>
    void response.writeHead(status, { 'content-length': 0 }).end();

describe('resuming the stream by hand', () => {
  test('asks for what came after the event, and tells of later ids', async () => {
    const server = await serve({
      GET: (each) => void beginEvents(each, eventOf(notification(), { id: 'e8' })),
    });
    const { transport, messages } = await start(server.url);
    const tokens: string[] = [];
    await transport.resumeStream('e7', { onresumptiontoken: (token) => tokens.push(token) });
    await until(() => messages.length === 1);
    expect(server.exchanges[0]?.headers['last-event-id']).toBe('e7');
    expect(tokens).toEqual(['e8']);
  });

  test.each([400, 404, 500])('rejects when the server refuses with %i', async (status) => {
    const server = await serve({ GET: refuse(status) });
    const { transport } = await start(server.url);
    expect(await rejectionOf(transport.resumeStream('e7'))).toMatchObject({ status });
  });

  test('rejects with what the server answered when that is no event stream', async () => {
    const json = { 'content-type': 'application/json' };
    const server = await serve({ GET: ({ response }) => response.writeHead(200, json).end('{}') });
    const { transport } = await start(server.url);
    expect(await rejectionOf(transport.resumeStream('e7'))).toMatchObject({
      name: 'HttpRequestError',
      code: 'UNEXPECTED_CONTENT',
    });
  });

  test('resolves, as with the SDK, when the server offers no stream (405)', async () => {
    const server = await serve({ GET: refuse(405) });
    const { transport, errors } = await start(server.url);
    await transport.resumeStream('e7');
    expect(errors).toEqual([]);
  });

  test('rejects when the transport is closed', async () => {
    const server = await serve({ GET: () => {} });
    const { transport } = await start(server.url);
    const failed = rejectionOf(transport.resumeStream('e7'));
    await until(() => server.count('GET') === 1);
    await transport.close();
    await failed;
    await rejectionOf(transport.resumeStream('e7'));
    await until(() => server.openSockets === 0);
    expect(server.count('GET')).toBe(1);
  });
});
