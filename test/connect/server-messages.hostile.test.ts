// Servers that ask what they must not, over real sockets: ids used twice or taken from calls, floods,
// requests on streams of calls that are over. Each lease gets its own, and everything is bounded.

import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { SessionPool, type SessionPoolOptions } from 'mcp-session-pool';
import { describe, expect, test, vi } from 'vitest';
import { closeAfterEach } from '../support/closing.ts';
import {
  beginEvents,
  eventOf,
  type RawExchange,
  type RawHandlers,
  type RawServer,
  speakMcp,
  startRawServer,
  until,
} from '../support/raw-server.ts';

const closing = closeAfterEach();

/** A server whose calls stay open, and are spoken to by the test. */
interface HostileServer extends RawServer {
  /** The calls that came, oldest first, their event streams begun. */
  readonly calls: RawExchange[];
  /** The answers that the client sent, oldest first. */
  readonly answers: { readonly id: unknown; readonly result?: unknown; readonly error?: unknown }[];
  /** The notification stream. */
  readonly streams: RawExchange[];
}

async function serve(handlers: RawHandlers = {}): Promise<HostileServer> {
  const calls: RawExchange[] = [];
  const streams: RawExchange[] = [];
  const answers: HostileServer['answers'] = [];
  const server = await startRawServer(
    speakMcp({
      'tools/call': (exchange) => {
        beginEvents(exchange);
        calls.push(exchange);
      },
      GET: (exchange) => {
        beginEvents(exchange);
        streams.push(exchange);
      },
      response: (exchange) => {
        answers.push(JSON.parse(exchange.body));
        exchange.response.writeHead(202).end();
      },
      ...handlers,
    }),
  );
  return closing(Object.assign(server, { calls, answers, streams }));
}

const newPool = (options: SessionPoolOptions = {}): SessionPool =>
  closing(new SessionPool({ capabilities: { elicitation: {}, roots: {} }, ...options }));

const say = ({ response }: RawExchange, ...messages: object[]): void => {
  const events = messages.map((message) => eventOf({ jsonrpc: '2.0', ...message }));
  response.write(events.join(''));
};
const ask = (id: number | string): object => ({ id, method: 'roots/list' });
const ping = (id: number | string): object => ({ id, method: 'ping' });
const takeBack = (requestId: unknown): object => ({
  method: 'notifications/cancelled',
  params: { requestId },
});
const answer = ({ message }: RawExchange, text: string): object => ({
  id: message.id,
  result: { content: [{ type: 'text', text }] },
});

/** Two leases on one session, each with a call under way. */
async function twoCalls(server: HostileServer, pool: SessionPool) {
  const target = { url: server.url, identity: 'ada', leasesPerSession: 2 };
  const borrowers = [];
  for (const name of ['first', 'second']) {
    const asked: unknown[] = [];
    const answers: ((text: string) => void)[] = [];
    const onRequest = vi.fn((request: { id: unknown }) => {
      asked.push(request.id);
      return new Promise<object & Record<string, unknown>>((resolve) => {
        answers.push((text) => resolve({ text }));
      });
    });
    const lease = await pool.acquire(target, { onRequest });
    const call = lease.client.callTool({ name });
    call.catch(() => {});
    await until(() => server.calls.some(({ message }) => message.params?.['name'] === name));
    borrowers.push({ lease, call, asked, answers, exchange: server.calls.at(-1)! });
  }
  return borrowers as [(typeof borrowers)[0], (typeof borrowers)[0]];
}

describe('a server that', () => {
  test('uses an id twice gets the answer of the lease that was asked first, once', async () => {
    const server = await serve();
    const [first, second] = await twoCalls(server, newPool());
    say(first.exchange, ask(7), ask(7));
    await until(() => first.asked.length === 1);
    say(second.exchange, ask(7), ping('done'));
    await until(() => server.answers.length === 1);
    expect(second.asked).toEqual([]);
    expect(first.asked).toEqual([7]);
    first.answers[0]?.('from the first');
    await until(() => server.answers.length === 2);
    // Answered now, so the id is free again.
    say(second.exchange, ask(7));
    await until(() => second.asked.length === 1);
    second.answers[0]?.('from the second');
    await until(() => server.answers.length === 3);
    expect(server.answers).toMatchObject([
      { id: 'done', result: {} },
      { id: 7, result: { text: 'from the first' } },
      { id: 7, result: { text: 'from the second' } },
    ]);
  });

  test('asks with the id of another call disturbs neither that call nor its lease', async () => {
    const server = await serve();
    const [first, second] = await twoCalls(server, newPool());
    const id = second.exchange.message.id!;
    say(first.exchange, ask(id));
    await until(() => first.asked.length === 1);
    expect(second.asked).toEqual([]);
    say(second.exchange, answer(second.exchange, 'done'));
    expect(await second.call).toMatchObject({ content: [{ text: 'done' }] });
    first.answers[0]?.('from the first');
    await until(() => server.answers.length === 1);
    expect(server.answers).toEqual([{ jsonrpc: '2.0', id, result: { text: 'from the first' } }]);
    say(first.exchange, answer(first.exchange, 'done too'));
    expect(await first.call).toMatchObject({ content: [{ text: 'done too' }] });
  });

  test('takes back what it never asked, or what is asked of another, changes nothing else', async () => {
    const server = await serve();
    const [first, second] = await twoCalls(server, newPool());
    const signals: AbortSignal[] = [];
    first.lease.client.setRequestHandler(ElicitRequestSchema, (_request, { signal }) => {
      signals.push(signal);
      return new Promise(() => {});
    });
    const params = { message: 'x', requestedSchema: { type: 'object', properties: {} } };
    say(first.exchange, { id: 's1', method: 'elicitation/create', params }, ask('s2'));
    await until(() => signals.length === 1 && first.asked.length === 1);
    say(
      second.exchange,
      takeBack('unknown'),
      takeBack(undefined),
      takeBack(first.exchange.message.id),
    );
    say(second.exchange, takeBack('s1'), ping('done'));
    await until(() => server.answers.length === 1);
    expect(signals[0]?.aborted).toBe(true);
    first.answers[0]?.('still wanted');
    await until(() => server.answers.length === 2);
    expect(server.answers[1]).toMatchObject({ id: 's2', result: { text: 'still wanted' } });
    for (const { call, exchange } of [first, second]) {
      say(exchange, answer(exchange, 'done'));
      expect(await call).toMatchObject({ content: [{ text: 'done' }] });
    }
  });

  test('asks after it has answered the call is refused: no lease is taken for the caller', async () => {
    const server = await serve();
    const onRequest = vi.fn(() => ({}));
    const [first, second] = await twoCalls(server, newPool({ onRequest }));
    // One packet: the stream of an answered call is not read for long.
    say(first.exchange, answer(first.exchange, 'done'), ask(3));
    await until(() => server.answers.length === 1);
    expect(server.answers).toMatchObject([{ id: 3, error: { code: -32_000 } }]);
    expect([first.asked, second.asked]).toEqual([[], []]);
    expect(onRequest).not.toHaveBeenCalled();
  });

  test('floods a lease with requests is refused beyond 1,000, and still gets its pongs', async () => {
    const server = await serve();
    const [first, second] = await twoCalls(server, newPool());
    say(first.exchange, ...Array.from({ length: 1_500 }, (_, n) => ask(n)), ping('pong'));
    await until(() => server.answers.some(({ id }) => id === 'pong'));
    expect(first.asked).toHaveLength(1_000);
    expect(second.asked).toEqual([]);
    const refused = server.answers.filter(({ error }) => error !== undefined);
    expect(refused).toHaveLength(500);
    expect(refused[0]).toMatchObject({ id: 1_000, error: { code: -32_603 } });
    // The other lease goes on, and the end of the flooded one answers what it owes.
    say(second.exchange, answer(second.exchange, 'done'));
    expect(await second.call).toMatchObject({ content: [{ text: 'done' }] });
    first.lease.release();
    await until(() => server.answers.length === 1_501);
    expect(server.answers.at(-1)).toMatchObject({ id: 999, error: { code: -32_000 } });
    expect(server.count('POST', 'initialize')).toBe(1);
  });
});

describe('a handler of the pool', () => {
  test.each<{ name: string; options: SessionPoolOptions; notifications?: boolean; gets: number }>([
    { name: 'onRequest', options: { onRequest: () => ({}) }, gets: 1 },
    { name: 'onNotification', options: { onNotification: () => {} }, gets: 1 },
    { name: 'none', options: {}, gets: 0 },
    {
      name: 'onRequest, and a target that wants no stream',
      options: { onRequest: () => ({}) },
      notifications: false,
      gets: 0,
    },
  ])('listens: $name opens the stream $gets times', async ({ options, gets, notifications }) => {
    const server = await serve();
    const pool = newPool(options);
    await pool.use(
      { url: server.url, identity: 'ada', ...(notifications === false && { notifications }) },
      async (client) => {
        if (gets > 0) await until(() => server.streams.length === gets);
        const call = client.callTool({ name: 'any' });
        await until(() => server.calls.length === 1);
        say(server.calls[0]!, answer(server.calls[0]!, 'done'));
        await call;
      },
    );
    expect(server.streams).toHaveLength(gets);
  });

  test('answers an idle session with the newest credentials of its key', async () => {
    const server = await serve();
    const pool = newPool({ onRequest: () => ({ roots: [] }) });
    const targetOf = (token: string) => ({
      url: server.url,
      identity: 'ada',
      headers: { authorization: `Bearer ${token}` },
    });
    for (const token of ['old', 'new']) (await pool.acquire(targetOf(token))).release();
    await until(() => server.streams.length === 1);
    say(server.streams[0]!, ask(1));
    await until(() => server.answers.length === 1);
    expect(server.answers).toEqual([{ jsonrpc: '2.0', id: 1, result: { roots: [] } }]);
    const posted = server.exchanges.find(({ body }) => body.includes('"roots":[]'));
    expect(posted?.headers.authorization).toBe('Bearer new');
  });

  test('that closes the pool while it is asked ends with the session, and answers no more', async () => {
    const server = await serve();
    let aborted: AbortSignal | undefined;
    let closed: Promise<unknown> | undefined;
    const pool = newPool({
      onRequest: async (_request, { signal }) => {
        aborted = signal;
        closed = pool.close();
        await closed;
        return { roots: [] };
      },
    });
    (await pool.acquire({ url: server.url, identity: 'ada' })).release();
    await until(() => server.streams.length === 1);
    say(server.streams[0]!, ask(1));
    await until(() => closed !== undefined);
    expect(await closed).toMatchObject({ sessions: 1, closed: 1, abandoned: 0 });
    expect(aborted?.aborted).toBe(true);
    await until(() => server.openSockets === 0);
    expect(server.answers).toEqual([]);
    expect(server.count('DELETE')).toBe(1);
  });

  test('that never settles is told of every end of what it works on', async () => {
    const server = await serve();
    const signals: AbortSignal[] = [];
    const pool = newPool({
      onRequest: (_request, { signal }) => {
        signals.push(signal);
        return new Promise(() => {});
      },
    });
    (await pool.acquire({ url: server.url, identity: 'ada' })).release();
    await until(() => server.streams.length === 1);
    say(server.streams[0]!, ask(1), ask(2), takeBack(2));
    await until(() => signals[1]?.aborted === true);
    expect(signals[0]?.aborted).toBe(false);
    expect(pool.retire({ identity: 'ada' })).toBe(1);
    await until(() => signals[0]?.aborted === true);
    expect(server.answers).toEqual([]);
  });
});
