// Resumption tokens: what a caller is told to resume a call's stream from, and what it leads to.

import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, test } from 'vitest';
import { textOf } from '../support/http-sessions.ts';
import { answerJson, beginEvents, eventOf, type RawHandlers } from '../support/raw-server.ts';
import {
  notification,
  rejectionOf,
  request,
  resultOf,
  useTransports,
} from '../support/transport-fixture.ts';

const { serve, start, connect } = useTransports();

/** A server without a notification stream, and what a GET with a `Last-Event-ID` gets. */
const resumed = (onResume: NonNullable<RawHandlers[string]>): RawHandlers => ({
  GET: (each) => {
    if (each.headers['last-event-id'] === undefined) each.response.writeHead(405).end();
    else onResume(each);
  },
});

describe('resumption tokens of a caller', () => {
  const ask = { method: 'tools/call', params: { name: 'x' } };

  test('make a request a GET after that event; its answer has the earlier id', async () => {
    const server = await serve(
      resumed((each) => {
        const event = eventOf(notification('notifications/message'), { id: 'e8' });
        beginEvents(each, `${event}${eventOf(resultOf(4_711, 'replayed'), { id: 'e9' })}`).end();
      }),
    );
    const { client, errors } = await connect(server.url);
    const tokens: string[] = [];
    const onresumptiontoken = (token: string): void => void tokens.push(token);
    const options = { resumptionToken: 'e7', onresumptiontoken };
    const result = await client.request(ask, CallToolResultSchema, options);
    expect(textOf(result)).toBe('replayed');
    expect(tokens).toEqual(['e8', 'e9']);
    expect(server.count('POST', 'tools/call')).toBe(0);
    const ids = server.exchanges.map(({ headers }) => headers['last-event-id']);
    expect(ids.filter((id) => id !== undefined)).toEqual(['e7']);
    expect(errors).toEqual([]);
  });

  test('are told of every event id, and may throw', async () => {
    const server = await serve({
      'tools/call': (each) => {
        const ids = [1, 2, 3].map((n) => `id: e${n}\ndata:\n\n`).join('');
        beginEvents(each, `${ids}${eventOf(resultOf(each.message.id))}`).end();
      },
    });
    const { client, errors } = await connect(server.url);
    const tokens: string[] = [];
    const onresumptiontoken = (token: string): void => {
      tokens.push(token);
      throw new Error('from a callback');
    };
    await client.request(ask, CallToolResultSchema, { onresumptiontoken });
    expect(tokens).toEqual(['e1', 'e2', 'e3']);
    expect(errors.map(({ message }) => message)).toEqual(Array(3).fill('from a callback'));
  });

  test('that no header can hold fail the request, and none is sent', async () => {
    const server = await serve({});
    const { transport } = await start(server.url);
    for (const resumptionToken of ['e\n1', 'e'.repeat(5_000)]) {
      const sent = transport.send(request(9), { resumptionToken });
      expect(await rejectionOf(sent)).toBeInstanceOf(TypeError);
    }
    expect(server.exchanges).toEqual([]);
  });

  test('that are empty resume nothing: the request is sent', async () => {
    const server = await serve({ 'tools/call': (each) => answerJson(each, { content: [] }) });
    const { transport } = await start(server.url);
    await transport.send(request(9), { resumptionToken: '' });
    expect(server.count('POST')).toBe(1);
  });

  test('that the server does not know fail the request', async () => {
    const server = await serve(resumed(({ response }) => response.writeHead(400).end()));
    const { client } = await connect(server.url);
    const failed = client.request(ask, CallToolResultSchema, { resumptionToken: 'gone' });
    expect(await rejectionOf(failed)).toMatchObject({ code: 'RESUME_FAILED' });
  });
});
