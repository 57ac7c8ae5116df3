// What a real session over HTTP tells the pool of failed calls: worn, lost, throttled, and whether
// work may run again.

import { describe, expect, it, vi } from 'vitest';
import { lend } from '../support/http-sessions.ts';
import {
  answerJson,
  beginEvents,
  eventOf,
  type RawExchange,
  until,
} from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';

const { newSessions, serveRaw } = useSessions();

const refusing =
  (status: number, headers: Record<string, string> = {}, body = '') =>
  ({ response }: RawExchange): void => {
    response.writeHead(status, headers).end(body);
  };
const cut = ({ response }: RawExchange): void => void response.socket?.destroy();

describe('a session over HTTP', () => {
  it.each([
    { status: 429, retryAfter: '7', told: [[7_000]] },
    { status: 503, retryAfter: '7', told: [[7_000]] },
    { status: 503, retryAfter: '86400', told: [[300_000]] },
    { status: 429, retryAfter: undefined, told: [] },
    { status: 500, retryAfter: '7', told: [] },
  ])('tells that it is throttled: $status, $retryAfter', async ({ status, retryAfter, told }) => {
    const headers: Record<string, string> = retryAfter ? { 'retry-after': retryAfter } : {};
    const server = await serveRaw({ 'tools/call': refusing(status, headers) });
    const throttled = vi.fn();
    const session = await newSessions().open(server.url, { throttled });
    const call = lend(session).client.callTool({ name: 'x' });
    await expect(call).rejects.toMatchObject({ code: status });
    expect(throttled.mock.calls).toEqual(told);
    expect(session.lost?.aborted).toBe(false);
  });

  it.each([
    { leasesPerSession: 1, isLost: true, wornCount: 0 },
    { leasesPerSession: 2, isLost: false, wornCount: 1 },
  ])('is worn or lost by a cut: $leasesPerSession leases', async (scene) => {
    const { leasesPerSession, isLost, wornCount } = scene;
    const server = await serveRaw({ 'tools/call': cut });
    const worn = vi.fn();
    const target = { url: server.url, leasesPerSession };
    const session = await newSessions().open(target, { worn });
    const { client } = lend(session);
    const error = await client.callTool({ name: 'x' }).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    expect([session.lost?.aborted, worn.mock.calls.length]).toEqual([isLost, wornCount]);
    expect(session.replayOf(client, error.cause)).toBe('never');
  });

  it('is lost, its call unknown, when the call cannot be resumed because the server forgot it', async () => {
    const server = await serveRaw({
      'tools/call': (exchange) => {
        const progress = { jsonrpc: '2.0', method: 'notifications/message', params: {} };
        beginEvents(exchange, eventOf(progress, { id: 'e-1', retry: '1' })).end();
      },
      GET: refusing(404),
    });
    const session = await newSessions().open(server.url);
    const { client } = lend(session);
    const error = await client.callTool({ name: 'x' }).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    expect(session.lost?.aborted).toBe(true);
    expect(session.replayOf(client, error.cause)).toBe('never');
  });

  it('says that work may run again where nothing of it was heard, and only of its own loss', async () => {
    let answers = true;
    const server = await serveRaw({
      'tools/call': (exchange) =>
        answers ? answerJson(exchange, { content: [] }) : refusing(404)(exchange),
    });
    const session = await newSessions().open({ url: server.url, leasesPerSession: 3 });
    const [heard, unheard, silent] = [lend(session), lend(session), lend(session)];
    await heard.client.callTool({ name: 'x' });
    answers = false;
    const errors = await Promise.all(
      [heard, unheard].map(({ client }) =>
        client.callTool({ name: 'x' }).catch((thrown) => thrown),
      ),
    );
    for (const error of errors) expect(error).toMatchObject({ execution: 'not-executed' });
    const [first, second] = errors;
    expect(session.replayOf(heard.client, first.cause)).toBe('never');
    expect(session.replayOf(unheard.client, second.cause)).toBe('once');
    expect(session.replayOf(silent.client, second.cause)).toBe('once');
    expect(session.replayOf(unheard.client, second)).toBe('never');
    expect(session.replayOf(unheard.client, new Error('x'))).toBe('never');
    expect(session.replayOf({} as never, second.cause)).toBe('never');
    for (const lease of [heard, unheard, silent]) lease.release();
    expect(session.replayOf(unheard.client, second.cause)).toBe('once');
    // Of a client that is gone, whatever it says comes too late.
    const late = await silent.client.callTool({ name: 'x' }).catch((thrown) => thrown);
    expect(late).toMatchObject({ code: 'LEASE_RELEASED' });
  });

  it('is not lost because a headers function could not reach its own server', async () => {
    const server = await serveRaw({ 'tools/call': (each) => answerJson(each, { content: [] }) });
    const session = await newSessions().open(server.url);
    const failure = Object.assign(new Error('no token'), { code: 'ECONNREFUSED' });
    const client = session.lend({
      headers: () => Promise.reject(failure),
      end: () => {},
      endedWith: () => undefined,
    });
    await expect(client.callTool({ name: 'x' })).rejects.toBe(failure);
    expect(session.lost?.aborted).toBe(false);
    await expect(lend(session).client.callTool({ name: 'x' })).resolves.toBeDefined();
  });

  it('asks no longer than it may whether the server knows it', async () => {
    const server = await serveRaw({
      ping: () => {},
      'tools/call': refusing(400, {}, 'No valid session ID provided'),
    });
    const session = await newSessions({ probeTimeoutMs: 30 }).open(server.url);
    const { client } = lend(session);
    await expect(client.callTool({ name: 'x' })).rejects.toMatchObject({ code: 400 });
    expect(session.lost?.aborted).toBe(false);
    await until(() => server.pending === 0);
  });

  it('with affinity waits for no call in flight once it is lost', async () => {
    const server = await serveRaw({
      'tools/call': (exchange) => {
        const { name } = exchange.message.params as { name: string };
        if (name === 'forgotten') refusing(404)(exchange);
      },
    });
    const session = await newSessions().open({ url: server.url, identity: 'a', affinity: 'd' });
    const { client } = lend(session);
    const hanging = Promise.allSettled([client.callTool({ name: 'hang' })]);
    await until(() => server.pending === 1);
    const call = client.callTool({ name: 'forgotten' });
    await expect(call).rejects.toMatchObject({ execution: 'not-executed' });
    expect(session.lost?.aborted).toBe(true);
    expect(await hanging).toMatchObject([{ reason: { execution: 'unknown' } }]);
  });
});
