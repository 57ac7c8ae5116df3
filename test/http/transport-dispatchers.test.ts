// What a transport makes of dispatchers of the caller's that change what comes over them.

import { Agent, interceptors, RetryAgent } from 'undici';
import { describe, expect, test, vi } from 'vitest';
import type { RawExchange } from '../support/raw-server.ts';
import { until } from '../support/raw-server.ts';
import { rejectionOf, request, useTransports } from '../support/transport-fixture.ts';

const { closers, serve, start } = useTransports();

const refuse =
  (status: number, headers: Record<string, string> = {}) =>
  ({ response }: RawExchange): void =>
    void response.writeHead(status, headers).end();

function newAgent(): Agent {
  const agent = new Agent();
  closers.push(() => agent.destroy());
  return agent;
}

/** They tell of a refusal as of an error of the dispatcher. */
describe.each([
  ['retries', () => new RetryAgent(newAgent(), { maxRetries: 0, methods: ['GET', 'POST'] })],
  ['throws at refusals', () => newAgent().compose(interceptors.responseError())],
])('a dispatcher that %s', (_, newDispatcher) => {
  test.each([
    [503, 'unknown'],
    [429, 'not-executed'],
  ])('leaves a %i what it is: the session is kept', async (status, execution) => {
    const server = await serve({ 'tools/call': refuse(status, { 'retry-after': '3' }) });
    const { transport } = await start(server.url, { dispatcher: newDispatcher() });
    expect(await rejectionOf(transport.send(request(1)))).toMatchObject({
      ...{ name: 'HttpRequestError', status, execution, sessionLost: false, retryAfterMs: 3_000 },
    });
  });

  test('leaves a 404 the end of the session, and a 405 the end of the stream', async () => {
    const onLost = vi.fn();
    const server = await serve({ 'tools/call': refuse(404), GET: refuse(405) });
    const { transport, errors } = await start(server.url, {
      dispatcher: newDispatcher(),
      wiring: { onLost },
    });
    expect(await rejectionOf(transport.send(request(1)))).toMatchObject({
      ...{ status: 404, execution: 'not-executed', sessionLost: true },
    });
    await transport.resumeStream('e1');
    await until(() => server.pending === 0);
    expect(errors).toEqual([]);
    expect(onLost).not.toHaveBeenCalled();
  });

  test('leaves a lost connection what it is', async () => {
    const server = await serve({ 'tools/call': ({ response }) => response.socket?.destroy() });
    const { transport } = await start(server.url, { dispatcher: newDispatcher() });
    expect(await rejectionOf(transport.send(request(1)))).toMatchObject({
      ...{ code: 'CONNECTION_LOST', execution: 'unknown', sessionLost: true },
    });
  });
});
