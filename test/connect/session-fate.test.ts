// What failed sends do to a session: worn or lost, asked or not, and what calls in flight hear.

import { ManualClock } from 'mcp-session-pool/testing';
import { describe, expect, it, vi } from 'vitest';
import { SessionLostError } from '../../src/errors.ts';
import { lendOver } from '../support/link-leases.ts';
import { openLink, type ScriptedTransport, settle } from '../support/scripted-transport.ts';

const failing = (details: object): Error => Object.assign(new Error('HTTP'), details);
const forgotten = failing({ code: 404 });
const doubtful = failing({ code: 400, body: 'No valid session ID provided' });
const cut = failing({ code: 'ECONNRESET' });
const refused = failing({ code: 'ECONNREFUSED', syscall: 'connect' });

async function scene(exclusive: boolean, more: object = {}) {
  const [onWorn, onThrottled, clock] = [vi.fn(), vi.fn(), new ManualClock()];
  const options = { exclusive, onWorn, onThrottled, clock, ...more };
  const { upstream, link } = await openLink(options);
  const lease = lendOver(link);
  /** Calls, with what they come to. */
  const call = (from = lease) => {
    const promise = from.client.callTool({ name: 'x' });
    promise.catch(() => {});
    return promise;
  };
  return { upstream, link, lease, call, onWorn, onThrottled, clock };
}

/** The next send, of `method` if one is named, fails; all others are answered or not as before. */
function failNext(upstream: ScriptedTransport, error: unknown, method = 'tools/call'): void {
  upstream.onSend = (message) => {
    if (!('method' in message) || message.method !== method) return undefined;
    upstream.onSend = () => {};
    return Promise.reject(error);
  };
}
const answerAll = (upstream: ScriptedTransport): void => {
  upstream.onSend = (message) => {
    if ('id' in message && 'method' in message) upstream.answer(message, { content: [] });
  };
};

describe('a call of a shared session that is cut', () => {
  it('fails alone: the session is worn, and the others go on', async () => {
    const { upstream, link, call, onWorn } = await scene(false);
    const other = lendOver(link);
    const inFlight = call(other);
    await settle();
    failNext(upstream, cut);
    await expect(call()).rejects.toMatchObject({
      code: 'SESSION_LOST',
      execution: 'unknown',
      cause: cut,
    });
    expect([onWorn.mock.calls.length, link.lost.aborted]).toEqual([1, false]);
    upstream.answer(upstream.requests('tools/call')[0]!, { content: [] });
    await expect(inFlight).resolves.toBeDefined();
    answerAll(upstream);
    await expect(call(other)).resolves.toBeDefined();
  });

  it('ends an exclusive one', async () => {
    const { upstream, link, call, onWorn } = await scene(true);
    failNext(upstream, cut);
    await expect(call()).rejects.toMatchObject({ code: 'SESSION_LOST', execution: 'unknown' });
    expect([onWorn.mock.calls.length, link.lost.aborted]).toEqual([0, true]);
  });
});

describe('a server that knows the session no more', () => {
  it('lets each call in flight hear so itself, and sends nothing meanwhile', async () => {
    const { upstream, link, lease, call, onWorn } = await scene(false);
    const others = [lendOver(link), lendOver(link)];
    const rejects: ((error: unknown) => void)[] = [];
    upstream.onSend = () => new Promise((_, reject) => rejects.push(reject));
    const calls = [lease, ...others].map((each) => call(each));
    await settle();
    rejects[0]!(forgotten);
    await expect(calls[0]).rejects.toMatchObject({ execution: 'not-executed' });
    expect([onWorn.mock.calls.length, link.lost.aborted]).toEqual([1, false]);
    const before = upstream.sent.length;
    await expect(call(lendOver(link))).rejects.toMatchObject({ execution: 'not-executed' });
    expect(upstream.sent).toHaveLength(before);
    rejects[1]!(failing({ code: 404 }));
    await expect(calls[1]).rejects.toMatchObject({ execution: 'not-executed' });
    expect(link.lost.aborted).toBe(false);
    rejects[2]!(failing({ code: 404 }));
    await expect(calls[2]).rejects.toMatchObject({ execution: 'not-executed' });
    expect(link.lost.reason).toMatchObject({ code: 'SESSION_LOST', cause: forgotten });
  });

  it.each(['answered', 'cancelled', 'silent'] as const)(
    'ends the session when the last call in flight is %s',
    async (how) => {
      const { upstream, link, lease, call, clock } = await scene(true);
      const controller = new AbortController();
      const inFlight = lease.client.callTool({ name: 'y' }, undefined, controller);
      const outcome = Promise.allSettled([inFlight]);
      await settle();
      failNext(upstream, forgotten);
      await expect(call()).rejects.toMatchObject({ execution: 'not-executed' });
      expect(link.lost.aborted).toBe(false);
      if (how === 'answered') upstream.answer(upstream.requests('tools/call')[0]!, { content: [] });
      else if (how === 'cancelled') controller.abort(new Error('enough'));
      else await clock.advance(1_000);
      await settle();
      expect(link.lost.aborted).toBe(true);
      const [{ status, reason }] = (await outcome) as [{ status: string; reason?: Error }];
      expect(status).toBe(how === 'answered' ? 'fulfilled' : 'rejected');
      if (how === 'silent') expect(reason).toMatchObject({ execution: 'unknown' });
      expect(clock.pendingCount).toBe(0);
    },
  );

  /** As many calls on one session, of which the first has heard that it is forgotten. */
  async function doomed(count: number) {
    const { upstream, link, call, clock } = await scene(false);
    const rejects: ((error: unknown) => void)[] = [];
    upstream.onSend = () => new Promise((_, reject) => rejects.push(reject));
    const calls = Array.from({ length: count }, () => call(lendOver(link)));
    await settle();
    rejects[0]!(forgotten);
    await settle();
    /** The server answers one more. */
    const hear = async (index: number): Promise<void> => {
      rejects[index]!(failing({ code: 404 }));
      await expect(calls[index]).rejects.toMatchObject({ execution: 'not-executed' });
    };
    return { link, calls, clock, hear };
  }

  it('is heard out while it goes on answering', async () => {
    const { link, calls, clock, hear } = await doomed(3);
    await clock.advance(900);
    await hear(1);
    await clock.advance(900);
    await hear(2);
    expect(link.lost.aborted).toBe(true);
    await Promise.allSettled(calls);
    expect(clock.pendingCount).toBe(0);
  });

  it('is heard out for five times as long at most', async () => {
    const { link, calls, clock, hear } = await doomed(9);
    for (let index = 1; index <= 6; index += 1) {
      await clock.advance(800);
      await hear(index);
    }
    expect(link.lost.aborted).toBe(false);
    await clock.advance(200);
    expect(link.lost.aborted).toBe(true);
    await expect(calls[8]).rejects.toMatchObject({ execution: 'unknown' });
    expect(clock.pendingCount).toBe(0);
  });

  it('is heard out by a process that was held up: what it said meanwhile is still to be read', async () => {
    const { link, clock, hear } = await doomed(2);
    clock.burn(1_200);
    await clock.advance(0);
    expect(link.lost.aborted).toBe(false);
    await hear(1);
    expect(link.lost.aborted).toBe(true);
  });

  it('waits for nobody where no time is given', async () => {
    const { upstream, link, call } = await scene(false, { graceMs: 0 });
    const inFlight = call();
    await settle();
    failNext(upstream, forgotten);
    await expect(call()).rejects.toMatchObject({ execution: 'not-executed' });
    await expect(inFlight).rejects.toMatchObject({ execution: 'unknown' });
    expect(link.lost.aborted).toBe(true);
  });

  it('leaves no timer when the session is taken down meanwhile', async () => {
    const { upstream, link, call, clock } = await scene(false);
    const inFlight = call();
    await settle();
    failNext(upstream, forgotten);
    await expect(call()).rejects.toMatchObject({ execution: 'not-executed' });
    link.fence(new Error('closed'));
    await expect(inFlight).rejects.toMatchObject({ execution: 'unknown' });
    expect([clock.pendingCount, link.lost.aborted]).toEqual([0, false]);
  });
});

describe('a 400 that speaks of the session', () => {
  it('ends it when the server says so again, with one ping for all that doubt', async () => {
    for (const code of [400, 404]) {
      const { upstream, link, lease, call } = await scene(false);
      upstream.onSend = (message) =>
        Promise.reject(
          'method' in message && message.method === 'ping' ? failing({ code }) : doubtful,
        );
      const calls = [lease, lendOver(link), lendOver(link)].map((each) => call(each));
      for (const outcome of await Promise.allSettled(calls)) {
        expect(outcome).toMatchObject({
          reason: { code: 'SESSION_LOST', execution: 'not-executed', cause: doubtful },
        });
      }
      expect(upstream.count('ping')).toBe(1);
      expect(link.lost.aborted).toBe(true);
    }
  });

  it.each(['answers', 'answers with an error', 'knows no ping', 'is silent', 'fails'] as const)(
    'is passed on when the server, asked, %s',
    async (how) => {
      const { upstream, link, call, clock } = await scene(true, { probeTimeoutMs: 700 });
      upstream.onSend = (message) => {
        if (!('method' in message) || message.method === 'notifications/cancelled')
          return undefined;
        if (message.method !== 'ping') return Promise.reject(doubtful);
        if (how === 'fails') return Promise.reject(failing({ code: 500 }));
        const { id } = message as { id: number };
        const code = how === 'knows no ping' ? -32_601 : -32_000;
        if (how === 'answers') upstream.say({ jsonrpc: '2.0', id, result: {} });
        else if (how !== 'is silent') {
          upstream.say({ jsonrpc: '2.0', id, error: { code, message: 'x' } });
        }
        return undefined;
      };
      const calling = call();
      await settle();
      await clock.advance(700);
      await expect(calling).rejects.toBe(doubtful);
      expect(link.lost.aborted).toBe(false);
      expect(clock.pendingCount).toBe(0);
    },
  );

  it('asks nothing when it speaks of something else', async () => {
    const { upstream, call } = await scene(true);
    const plain = failing({ code: 400, body: 'no such argument' });
    failNext(upstream, plain);
    await expect(call()).rejects.toBe(plain);
    expect(upstream.count('ping')).toBe(0);
  });
});

describe('timeouts in a row', () => {
  const soon = { timeout: 5 };

  it('wear a session out with the second, and an answer between them starts anew', async () => {
    const { upstream, link, lease, call, onWorn } = await scene(true);
    const timeOut = async (): Promise<void> => {
      upstream.onSend = () => {};
      const calling = lease.client.callTool({ name: 'x' }, undefined, soon);
      await expect(calling).rejects.toMatchObject({ code: -32_001 });
    };
    await timeOut();
    answerAll(upstream);
    await call();
    await timeOut();
    expect(onWorn).not.toHaveBeenCalled();
    await timeOut();
    expect(onWorn).toHaveBeenCalledOnce();
    expect(link.lost.aborted).toBe(false);
  });

  it("are not what a caller's abort looks like, nor what a server answers", async () => {
    const { upstream, lease, onWorn } = await scene(true);
    for (let count = 0; count < 4; count += 1) {
      const controller = new AbortController();
      const calling = lease.client.callTool({ name: 'x' }, undefined, controller);
      const outcome = Promise.allSettled([calling]);
      await settle();
      controller.abort();
      expect(await outcome).toMatchObject([{ reason: { code: -32_001 } }]);
    }
    upstream.onSend = (message) => {
      if (!('id' in message) || !('method' in message)) return;
      const error = { code: -32_001, message: 'x', data: { timeout: 5 } };
      upstream.say({ jsonrpc: '2.0', id: message.id, error });
    };
    // At once: each answer by itself would end a row of timeouts.
    const calls = Array.from({ length: 4 }, () => lease.client.callTool({ name: 'x' }));
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ reason: { code: -32_001, data: { timeout: 5 } } });
    }
    expect(onWorn).not.toHaveBeenCalled();
  });
});

describe('what a link tells beside', () => {
  it('is how long the server wants to be left alone', async () => {
    const { upstream, call, onThrottled, link } = await scene(true);
    const busy = failing({ code: 429, retryAfterMs: 900_000 });
    failNext(upstream, busy);
    await expect(call()).rejects.toBe(busy);
    expect(onThrottled).toHaveBeenCalledExactlyOnceWith(300_000);
    expect(link.lost.aborted).toBe(false);
  });

  it('is which causes work may run again after', async () => {
    const { upstream, link, call } = await scene(false);
    failNext(upstream, cut);
    await expect(call()).rejects.toMatchObject({ cause: cut });
    failNext(upstream, refused);
    await expect(call()).rejects.toMatchObject({ cause: refused, execution: 'not-executed' });
    expect(
      [cut, refused, forgotten, undefined, 'x'].map((each) => link.fate.replayOf(each)),
    ).toEqual(['never', 'once-if-reused', 'never', 'never', 'never']);
  });
});

describe('whether a lease was heard', () => {
  it('is told of calls and notifications, also when the lease is over', async () => {
    const heard = async (work: (at: Awaited<ReturnType<typeof scene>>) => unknown) => {
      const at = await scene(false);
      await Promise.resolve(work(at)).catch(() => {});
      await settle();
      const before = at.lease.transport.mayHaveExecuted;
      at.lease.release();
      expect(at.lease.transport.mayHaveExecuted).toBe(before);
      return before;
    };
    const failingWith = (error: unknown) => async (at: Awaited<ReturnType<typeof scene>>) => {
      at.upstream.onSend = () => Promise.reject(error);
      await at.call();
    };
    expect(await heard(() => undefined)).toBe(false);
    expect(await heard(({ call }) => void call())).toBe(true);
    expect(
      await heard(({ upstream, call }) => {
        answerAll(upstream);
        return call();
      }),
    ).toBe(true);
    expect(await heard(failingWith(cut))).toBe(true);
    expect(await heard(failingWith(failing({ code: 500 })))).toBe(true);
    expect(await heard(failingWith(new Error('who knows')))).toBe(true);
    expect(await heard(failingWith(forgotten))).toBe(false);
    expect(await heard(failingWith(refused))).toBe(false);
    expect(
      await heard(failingWith(failing({ execution: 'not-executed', sessionLost: false }))),
    ).toBe(false);
    expect(await heard(({ lease }) => lease.client.sendRootsListChanged())).toBe(true);
    expect(
      await heard(async ({ lease, link }) => {
        link.lose(new Error('gone'));
        await lease.client.callTool({ name: 'x' });
      }),
    ).toBe(false);
  });

  it('is not taken from what a lease says that lost its session: what was on its way may have run', async () => {
    const at = await scene(false);
    at.upstream.onSend = () => new Promise(() => {});
    let ended: Error | undefined;
    const other = lendOver(at.link, { endedWith: () => ended });
    await settle();
    const outcome = Promise.allSettled([other.client.sendRootsListChanged()]);
    await settle();
    // As the pool does it: the lease's word first, then the fence.
    ended = new SessionLostError('for later', 'not-executed');
    at.link.fence(new SessionLostError('taken', 'unknown'));
    expect(await outcome).toMatchObject([{ reason: { execution: 'unknown' } }]);
    await expect(at.call(other)).rejects.toMatchObject({ execution: 'not-executed' });
  });
});
