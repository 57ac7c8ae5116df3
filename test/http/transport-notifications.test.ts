// The notification stream of a transport: when it is asked for, how often again, what the server may
// answer, how much it may send while nobody listens, and who is told.

import { ManualClock } from 'mcp-session-pool/testing';
import { describe, expect, test, vi } from 'vitest';
import type { RawHandlers } from '../support/raw-server.ts';
import { beginEvents, eventOf, pause, type RawExchange, until } from '../support/raw-server.ts';
import { useSessions } from '../support/session-fixture.ts';
import {
  gapsOfGets,
  notification,
  type TransportPlan,
  useTransports,
} from '../support/transport-fixture.ts';

const { serve, start, connect } = useTransports();
const { newSessions, serveRaw } = useSessions();

const hold = (each: RawExchange): void => void beginEvents(each);
const endAtOnce =
  (text: string) =>
  (each: RawExchange): void =>
    void beginEvents(each, text).end();
const refuse =
  (status: number, headers: Record<string, string> = {}) =>
  ({ response }: RawExchange): void =>
    void response.writeHead(status, { 'content-length': 0, ...headers }).end();

/** A listening transport on a manual clock, and when each GET came by that clock. */
async function listenTo(handler: RawHandlers[string], plan: TransportPlan = {}) {
  const clock = new ManualClock();
  const at: number[] = [];
  const server = await serve({
    GET: (each) => {
      at.push(clock.now());
      handler?.(each);
    },
  });
  const bare = await start(server.url, { clock, ...plan });
  bare.transport.listen();
  await until(() => at.length === 1);
  /** Jumps from timer to timer until `count` GETs have come. */
  const runTo = async (count: number): Promise<void> => {
    while (at.length < count) {
      await until(() => clock.pendingCount > 0 || at.length >= count);
      const before = at.length;
      await clock.advance(clock.nextDueMs);
      await until(() => at.length > before || clock.pendingCount > 0);
    }
    await until(() => clock.pendingCount > 0 || server.pending > 0);
  };
  const gaps = (): number[] => at.slice(1).map((each, n) => each - (at[n] as number));
  return { ...bare, clock, server, at, gaps, runTo };
}

const DOUBLING = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000];

describe('a notification stream that flaps is asked for ever more slowly', () => {
  test.each<[string, (each: RawExchange) => void]>([
    // Row 3.
    ['ended at once, with `retry: 0`', endAtOnce('retry: 0\n\n')],
    // Row 3c.
    ['ended at once, without `retry`', endAtOnce('')],
    ['ended after a comment', endAtOnce(': hello\n\n')],
    ['ended after an id', endAtOnce('id: e1\ndata:\n\n')],
    ['cut at once', ({ response }) => void response.socket?.resetAndDestroy()],
    ['refused with 500', refuse(500)],
    ['refused with 401', refuse(401)],
    ['refused with 400', refuse(400)],
  ])('%s', async (_, handler) => {
    const slowed: number[] = [];
    const { gaps, runTo } = await listenTo(handler, {
      onStreamSlowed: (waitMs) => slowed.push(waitMs),
    });
    await runTo(11);
    // No jitter: the lower half of each step. The governor's first wait is its floor.
    expect(gaps()).toEqual(DOUBLING);
    expect(slowed).toEqual(DOUBLING.slice(0, 9));
  });

  test('within its jitter: up to 5 min', async () => {
    const { gaps, runTo } = await listenTo(endAtOnce('retry: 0\n\n'), { random: () => 0.999_999 });
    await runTo(11);
    expect(gaps().map((each) => Math.round(each / 1_000))).toEqual([
      2, 4, 8, 16, 32, 64, 128, 256, 300, 300,
    ]);
  });

  test('by the time of the process: the second GET comes a second later', async () => {
    const server = await serve({ GET: endAtOnce('retry: 0\n\n') });
    await connect(server.url);
    await until(() => server.count('GET') === 2);
    expect(gapsOfGets(server)[0]).toBeGreaterThan(990);
    await pause(200);
    expect(server.count('GET')).toBe(2);
  });

  test('and once it brings a message, a second later each time', async () => {
    const { gaps, runTo } = await listenTo((each) => {
      const text = each.count < 4 ? '' : eventOf(notification());
      beginEvents(each, text).end();
    });
    await runTo(8);
    expect(gaps()).toEqual([1_000, 2_000, 4_000, 1_000, 1_000, 1_000, 1_000]);
  });

  test('and once one has lasted for a minute, a second later', async () => {
    const { clock, server, gaps, runTo } = await listenTo((each) => {
      if (each.count < 4) beginEvents(each).end();
      else beginEvents(each, ': open\n');
    });
    await runTo(4);
    const open = server.exchanges.at(-1)?.response;
    // Until its head has been read, it does not live.
    await pause(30);
    await clock.advance(60_000);
    open?.end();
    await runTo(5);
    expect(gaps()).toEqual([1_000, 2_000, 4_000, 61_000]);
  });
});

describe("the server's `retry`", () => {
  test.each([
    ['0', 1_000],
    ['5', 1_000],
    ['2500', 2_500],
    ['90000', 90_000],
    // Row 3b.
    ['3000000000', 300_000],
    ['99999999999999999999', 300_000],
  ])('of %s makes the wait after a stream with messages %i ms', async (retry, waitMs) => {
    const text = `retry: ${retry}\n${eventOf(notification())}`;
    const { gaps, runTo } = await listenTo(endAtOnce(text));
    await runTo(3);
    expect(gaps()).toEqual([waitMs, waitMs]);
  });

  test('holds until the server sends another', async () => {
    const { gaps, runTo } = await listenTo((each) => {
      const retry = { 1: 'retry: 7000\n', 4: 'retry: 3000\n' }[each.count] ?? '';
      beginEvents(each, `${retry}${eventOf(notification())}`).end();
    });
    await runTo(6);
    expect(gaps()).toEqual([7_000, 7_000, 7_000, 3_000, 3_000]);
  });
});

describe('what a server answers a GET with', () => {
  test.each<[string, (each: RawExchange) => void, number]>([
    ['405', refuse(405), 0],
    ['404', refuse(404), 1],
    ['204', ({ response }) => void response.writeHead(204).end(), 1],
    [
      'JSON',
      ({ response }) =>
        void response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
      1,
    ],
    [
      'HTML without end',
      ({ response }) => void response.writeHead(200, { 'content-type': 'text/html' }).write('<'),
      1,
    ],
    ['202', ({ response }) => void response.writeHead(202).end(), 1],
  ])('%s ends the stream for good, and loses no session', async (_, handler, told) => {
    const onLost = vi.fn();
    const { transport, server, clock, errors } = await listenTo(handler, { wiring: { onLost } });
    await until(() => server.pending === 0);
    await until(() => errors.length === told);
    await pause(20);
    await clock.advance(3_600_000);
    transport.listen();
    await pause(20);
    expect(server.count('GET')).toBe(1);
    expect(errors).toHaveLength(told);
    expect(onLost).not.toHaveBeenCalled();
    expect(clock.pendingCount).toBe(0);
    expect(transport.everListened).toBe(false);
  });

  // Row 12.
  test('404 after a stream says that the session is gone', async () => {
    const onLost = vi.fn();
    const { clock, server } = await listenTo(
      (each) => (each.count === 1 ? beginEvents(each).end() : refuse(404)(each)),
      { wiring: { onLost } },
    );
    await until(() => clock.pendingCount === 1);
    await clock.advance(1_000);
    await until(() => onLost.mock.calls.length === 1);
    expect(onLost.mock.calls[0]?.[0]).toMatchObject({ status: 404, sessionLost: true });
    await clock.advance(3_600_000);
    await pause(20);
    expect(server.count('GET')).toBe(2);
  });

  test('404 after a stream, where no session has an id, ends the stream alone', async () => {
    const onLost = vi.fn();
    const { clock, server, errors } = await listenTo(
      (each) => (each.count === 1 ? beginEvents(each).end() : refuse(404)(each)),
      { sessionId: undefined, wiring: { onLost } },
    );
    await until(() => clock.pendingCount === 1);
    await clock.advance(1_000);
    await until(() => errors.length === 1);
    await clock.advance(3_600_000);
    await pause(20);
    expect(server.count('GET')).toBe(2);
    expect(onLost).not.toHaveBeenCalled();
  });

  test('429 and 503 with Retry-After keep it away for that long', async () => {
    for (const status of [429, 503]) {
      const { gaps, runTo } = await listenTo(refuse(status, { 'retry-after': '20' }));
      await runTo(3);
      expect(gaps()).toEqual([20_000, 20_000]);
    }
  });

  // Row 4b.
  test('nothing, for it is dead: is dialled once a second, then ever more slowly', async () => {
    const onLost = vi.fn();
    const { clock, server, errors } = await listenTo(
      (each) => void beginEvents(each, 'retry: 0\n\n'),
      { wiring: { onLost } },
    );
    await pause(20);
    await server.close();
    await until(() => clock.pendingCount === 1);
    await clock.advance(clock.nextDueMs);
    await until(() => errors.length === 1);
    expect(errors[0]).toMatchObject({ code: 'CONNECT_FAILED', sessionLost: true });
    expect(onLost).toHaveBeenCalledOnce();
    expect(clock.nextDueMs).toBe(2_000);
  });
});

describe('the budget of a session that nobody uses', () => {
  const flood = (text: string, everyMs: number) => (each: RawExchange) => {
    const response = beginEvents(each);
    const more = (): void => {
      if (!response.destroyed) response.write(text, () => setTimeout(more, everyMs));
    };
    more();
  };
  const idle: TransportPlan = { wiring: { isIdle: () => true } };

  test.each([
    ['messages', eventOf(notification()).repeat(400)],
    ['comments', ': nothing\n'.repeat(4_000)],
    ['one endless line', 'x'.repeat(30_000)],
    ['large messages', eventOf({ ...notification(), params: { a: 'a'.repeat(200_000) } })],
  ])('cuts off a flood of %s; the next stream comes a minute later', async (_, text) => {
    const { clock, server, errors, at, runTo } = await listenTo(flood(text, 0), idle);
    await until(() => server.pending === 0);
    expect(clock.nextDueMs).toBe(60_000);
    expect(errors).toEqual([]);
    await runTo(2);
    await until(() => server.pending === 0);
    // A minute has filled the budget again, but the pause doubles.
    expect(clock.nextDueMs).toBe(120_000);
    expect(at).toHaveLength(2);
  });

  test('counts every chunk as 1 KiB: a flood of single bytes is cut off', async () => {
    const { server } = await listenTo(flood(':', 0), idle);
    await until(() => server.pending === 0);
  });

  test('is not touched by a session in use', async () => {
    const { server, messages } = await listenTo(flood(eventOf(notification()).repeat(400), 0));
    await until(() => messages.length > 4_000);
    expect(server.pending).toBe(1);
  });

  test('lasts for keep-alive comments every 15 s, for hours', async () => {
    const { clock, server } = await listenTo(hold, idle);
    const { response } = server.exchanges[0] as RawExchange;
    for (let n = 0; n < 1_200; n += 1) {
      response.write(': keep-alive\n\n');
      await clock.advance(15_000);
      if (n % 50 === 0) await pause(3);
    }
    await pause(30);
    expect(server.count('GET')).toBe(1);
    expect(server.pending).toBe(1);
  });

  test('of a pooled session cuts off comments too, and calls still work', async () => {
    const server = await serveRaw({ GET: flood(': nothing\n'.repeat(4_000), 0) });
    const session = await newSessions().open({ url: server.url, notifications: true });
    await until(() => server.count('GET') === 1 && server.pending === 0);
    expect(session.lost?.aborted).toBe(false);
    await pause(100);
    expect(server.count('GET')).toBe(1);
  });
});

describe('who listens to the stream', () => {
  test('may throw: the stream goes on', async () => {
    const { transport, server, errors, runTo } = await listenTo(
      (each) => void beginEvents(each, eventOf(notification()).repeat(2)).end(),
    );
    const seen: unknown[] = [];
    transport.onmessage = (message) => {
      seen.push(message);
      throw new Error('from a handler');
    };
    await runTo(3);
    await until(() => seen.length >= 4);
    expect(errors.every(({ message }) => message === 'from a handler')).toBe(true);
    expect(server.count('GET')).toBe(3);
  });

  test('may throw when told that it was slowed', async () => {
    const { gaps, runTo, errors } = await listenTo(endAtOnce(''), {
      onStreamSlowed: () => {
        throw new Error('from an observer');
      },
    });
    await runTo(4);
    expect(gaps()).toEqual([1_000, 2_000, 4_000]);
    expect(errors[0]).toMatchObject({ message: 'from an observer' });
  });

  test('is told of a malformed event, and of a message over the bound', async () => {
    const text = `data: nonsense\n\n${eventOf(notification())}data: ${'x'.repeat(5_000)}\n\n`;
    const { errors, messages, clock, server } = await listenTo(
      (each) => void beginEvents(each, each.count === 1 ? text : ''),
      { maxMessageBytes: 1_000 },
    );
    await until(() => errors.length === 2);
    expect(messages).toHaveLength(1);
    // The stream that broke the bound is cut off, and opened again.
    await until(() => server.pending === 0 && clock.pendingCount === 1);
    expect(errors[1]).toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
  });
});

describe('the last event id', () => {
  const idsOf = (exchanges: readonly RawExchange[]): unknown[] =>
    exchanges.map(({ headers }) => headers['last-event-id']);

  // The header is UTF-8 (HTML, Server-sent events), and undici takes text as Latin-1.
  test.each(['e', 'é', '日本-', '𝄞'])(
    'goes back byte by byte when it is %s and a number',
    async (id) => {
      const { runTo, server } = await listenTo((each) => {
        beginEvents(each, eventOf(notification(), { id: `${id}${each.count}` })).end();
      });
      await runTo(3);
      const bytes = Buffer.from(id).toString('latin1');
      expect(idsOf(server.exchanges)).toEqual([undefined, `${bytes}1`, `${bytes}2`]);
    },
  );

  test('that no header can hold is left out: the stream comes back without it', async () => {
    const { runTo, server, gaps } = await listenTo((each) => {
      const id = each.count === 1 ? 'e\u0001' : `e${'1'.repeat(9_000)}`;
      beginEvents(each, eventOf(notification(), { id })).end();
    });
    await runTo(4);
    expect(idsOf(server.exchanges)).toEqual([undefined, undefined, undefined, undefined]);
    expect(gaps()).toEqual([1_000, 1_000, 1_000]);
  });

  // Servers forget events. One that is asked for the same again and again stays closed for good.
  test.each([400, 410, 422, 431])(
    'that a server refuses with %i is not named again',
    async (no) => {
      const { runTo, server } = await listenTo((each) => {
        if (each.headers['last-event-id'] !== undefined) refuse(no)(each);
        else beginEvents(each, eventOf(notification(), { id: 'e1' })).end();
      });
      await runTo(4);
      expect(idsOf(server.exchanges)).toEqual([undefined, 'e1', undefined, 'e1']);
    },
  );

  test.each([401, 403, 429, 500, 503])('outlives an answer of %i', async (no) => {
    const { runTo, server } = await listenTo((each) => {
      if (each.headers['last-event-id'] !== undefined) refuse(no)(each);
      else beginEvents(each, eventOf(notification(), { id: 'e1' })).end();
    });
    await runTo(4);
    expect(idsOf(server.exchanges)).toEqual([undefined, 'e1', 'e1', 'e1']);
  });

  // The server would send the same message again, for ever.
  test('before a message over the bound is forgotten with it', async () => {
    const text = `${eventOf(notification(), { id: 'e1' })}data: ${'x'.repeat(5_000)}\n\n`;
    const { runTo, server, errors } = await listenTo((each) => void beginEvents(each, text), {
      maxMessageBytes: 1_000,
    });
    await runTo(2);
    expect(idsOf(server.exchanges)).toEqual([undefined, undefined]);
    expect(errors[0]).toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
  });
});
