// Which headers go with which request of a transport that knows nothing of leases: told by the text
// of what it posts, on its way through a fetch.

import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, test } from 'vitest';
import { LeaseHeaders } from '../../src/connect/lease-headers.ts';
import type { AskHeaders } from '../../src/target.ts';

const SERVER = 'http://127.0.0.1:1/mcp';
const events = { accept: 'text/event-stream' };

interface Seen {
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly init: RequestInit | undefined;
}

/** Headers of a session, over a fetch that writes down what comes. */
function scene(own: AskHeaders = () => ({ 'x-who': 'session' })) {
  const headers = new LeaseHeaders(own);
  const seen: Seen[] = [];
  const fetch = headers.over(async (url, init) => {
    seen.push({ url: String(url), headers: Object.fromEntries(new Headers(init?.headers)), init });
    return new Response(null, { status: 202 });
  });
  const post = (message: unknown, url = SERVER): Promise<Response> =>
    fetch(url, { method: 'POST', body: JSON.stringify(message) });
  /** Sends `message` for `name`, as a transport does. */
  const sendFor = (name: string, message: JSONRPCMessage): Promise<void> =>
    headers.carry(
      message,
      () => ({ 'x-who': name }),
      async () => {
        // As the SDK does, which asks for a token first.
        await Promise.resolve();
        await post(message);
      },
    );
  return {
    headers,
    seen,
    fetch,
    post,
    sendFor,
    who: () => seen.map((each) => each.headers['x-who']),
  };
}

const request = (id: number, method = 'tools/list'): JSONRPCMessage => ({
  jsonrpc: '2.0',
  id,
  method,
});
const notification = (n: number): JSONRPCMessage => ({
  jsonrpc: '2.0',
  method: 'notifications/progress',
  params: { progressToken: n, progress: 1 },
});
const answer = (id: number): JSONRPCMessage => ({ jsonrpc: '2.0', id, result: {} });

describe('a message that is posted', () => {
  test('carries the headers of whoever sends it, whatever else is on its way', async () => {
    const { sendFor, who } = scene();
    const messages = [
      request(1),
      notification(1),
      answer(1),
      request(2),
      notification(2),
      answer(2),
    ];
    await Promise.all(messages.map((message, n) => sendFor(`lease-${n}`, message)));
    expect(who()).toEqual(messages.map((_, n) => `lease-${n}`));
  });

  test('and is the same text as another’s goes once with the headers of each', async () => {
    const { headers, post, who } = scene();
    const one = notification(1);
    const send = (name: string, twice: () => Promise<unknown>): Promise<void> =>
      headers.carry(
        { ...one },
        () => ({ 'x-who': name }),
        async () => void (await twice()),
      );
    let letGo = (): void => {};
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const sent = [send('ada', () => gate), send('bob', () => gate)];
    await post(one);
    await post(one);
    // The transport tries again, after a 401 say.
    await post(one);
    letGo();
    await Promise.all(sent);
    await post(one);
    expect(who().slice(0, 2).toSorted()).toEqual(['ada', 'bob']);
    expect(['ada', 'bob']).toContain(who()[2]);
    expect(who()[3]).toBe('session');
  });

  test('and was sent for nobody, or is not on its way any more, carries the session’s own', async () => {
    const { headers, post, sendFor, who } = scene();
    await sendFor('ada', request(1));
    await post(request(1));
    await headers.carry(request(2), undefined, async () => void (await post(request(2))));
    expect(who()).toEqual(['ada', 'session', 'session']);
  });

  test('keeps what its transport set, but for headers of the same name; reserved ones are dropped', async () => {
    const reserved = { 'mcp-session-id': 'stolen', Accept: '*/*', 'Content-Type': 'text/plain' };
    const { seen, fetch } = scene(() => ({
      ...reserved,
      Authorization: 'Bearer lease',
      'x-new': '1',
    }));
    const headers = { authorization: 'Bearer own', 'mcp-session-id': 'session-1', 'x-own': '1' };
    await fetch(SERVER, { method: 'POST', body: JSON.stringify(request(1)), headers });
    expect(seen[0]?.headers).toEqual({
      authorization: 'Bearer lease',
      'mcp-session-id': 'session-1',
      'x-own': '1',
      'x-new': '1',
    });
  });

  test('is passed as it came when there is nothing to add', async () => {
    const { seen, fetch } = scene(() => ({}));
    const init = { method: 'POST', body: JSON.stringify(request(1)) };
    await fetch(SERVER, init);
    expect(seen[0]?.init).toBe(init);
  });

  test('that can’t be written as JSON is in nobody’s way', async () => {
    const { headers, sendFor, who } = scene();
    const cyclic = { jsonrpc: '2.0', method: 'notifications/x', params: {} } as const;
    Object.assign(cyclic.params, { cyclic });
    void headers.carry(
      cyclic,
      () => ({ 'x-who': 'eve' }),
      () => new Promise(() => {}),
    );
    await sendFor('ada', notification(1));
    expect(who()).toEqual(['ada']);
  });
});

describe('a request that is no message', () => {
  test('of an event stream, or that ends the session, carries the session’s own headers', async () => {
    const { fetch, who } = scene();
    await fetch(SERVER, { headers: events });
    await fetch(SERVER, { method: 'DELETE', headers: { 'mcp-session-id': 'session-1' } });
    expect(who()).toEqual(['session', 'session']);
  });

  test('of an OAuth flow carries none, nor does anything to another origin', async () => {
    const { fetch, post, who } = scene();
    await fetch(SERVER, { headers: { accept: 'application/json' } });
    await fetch(SERVER, { method: 'POST', body: new URLSearchParams({ grant_type: 'x' }) });
    await post({ client_name: 'registers', redirect_uris: [] });
    await fetch(SERVER, { method: 'POST', body: 'no JSON' });
    await fetch(SERVER, { method: 'POST', body: 'null' });
    await fetch(SERVER, { method: 'DELETE' });
    await fetch(SERVER, { method: 'PUT', body: JSON.stringify(request(1)) });
    expect(who()).toEqual(Array(7).fill(undefined));
    // The first of the protocol's own requests says where the server is.
    await post(request(1));
    await post(request(1), 'http://127.0.0.1:2/mcp');
    expect(who().slice(7)).toEqual(['session', undefined]);
  });
});

describe('a redirect', () => {
  const redirect = (location: string, status = 307): Response =>
    new Response('moved', { status, headers: { location } });

  /** A fetch over one that answers as `answers` says, in turn, and follows nothing by itself. */
  function redirected(...answers: Response[]) {
    const seen: Seen[] = [];
    const headers = new LeaseHeaders(() => ({ 'x-api-key': 'sesame' }));
    const fetch = headers.over(async (url, init) => {
      seen.push({
        url: String(url),
        headers: Object.fromEntries(new Headers(init?.headers)),
        init,
      });
      return answers[seen.length - 1] ?? new Response(null, { status: 202 });
    });
    const post = (init: RequestInit = {}): Promise<Response> =>
      fetch(SERVER, { method: 'POST', body: JSON.stringify(request(1)), ...init });
    return { seen, post };
  }

  test('within the origin is followed with the same headers, body and method', async () => {
    const { seen, post } = redirected(redirect('/moved'), redirect('http://127.0.0.1:1/again'));
    expect((await post()).status).toBe(202);
    expect(seen.map(({ url }) => url)).toEqual([
      ...[SERVER, 'http://127.0.0.1:1/moved', 'http://127.0.0.1:1/again'],
    ]);
    for (const { headers, init } of seen) {
      expect(headers['x-api-key']).toBe('sesame');
      expect(init).toMatchObject({ method: 'POST', body: JSON.stringify(request(1)) });
    }
  });

  test.each([
    ['to another origin', 'http://127.0.0.1:2/mcp', 307],
    ['that would turn a message into a GET', '/moved', 302],
  ])('%s is the answer: no header of a lease goes there', async (_, location, status) => {
    const { seen, post } = redirected(redirect(location, status));
    expect((await post()).status).toBe(status);
    expect(seen).toHaveLength(1);
    expect(seen[0]?.init?.redirect).toBe('manual');
  });

  test('is the transport’s to follow where it says so, and is not followed for ever', async () => {
    const { seen, post } = redirected(redirect('/moved'));
    expect((await post({ redirect: 'manual' })).status).toBe(307);
    expect(seen).toHaveLength(1);
    const loop = redirected(...Array.from({ length: 20 }, () => redirect('/moved')));
    expect((await loop.post()).status).toBe(307);
    expect(loop.seen).toHaveLength(6);
  });
});

describe('a headers function', () => {
  test('is waited for; a request that was aborted meanwhile is not sent', async () => {
    let letGo = (): void => {};
    const asked = new Promise<Record<string, string>>((resolve) => {
      letGo = () => resolve({ 'x-who': 'late' });
    });
    const { fetch, seen } = scene(() => asked);
    const { signal, abort } = bound(new AbortController());
    const body = JSON.stringify(request(1));
    const sent = fetch(SERVER, { method: 'POST', body });
    const aborted = fetch(SERVER, { method: 'POST', body, signal });
    expect(seen).toHaveLength(0);
    abort();
    letGo();
    await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
    await sent;
    expect(seen.map(({ headers }) => headers['x-who'])).toEqual(['late']);
  });

  test('that throws, rejects or gives what can’t be sent fails its request with that', async () => {
    const failure = new Error('no headers');
    const failing: AskHeaders[] = [
      () => Promise.reject(failure),
      () => ({ 'x-bad': 'line\nbreak' }),
    ];
    for (const own of failing) {
      const { post, seen } = scene(own);
      await expect((async () => post(request(1)))()).rejects.toBeInstanceOf(Error);
      expect(seen).toHaveLength(0);
    }
  });
});

test('a send that throws at once is a rejection, and is forgotten like any other', async () => {
  const { headers, post, who } = scene();
  const failure = new Error('send threw');
  const sent = headers.carry(
    request(1),
    () => ({ 'x-who': 'ada' }),
    () => {
      throw failure;
    },
  );
  await expect(sent).rejects.toBe(failure);
  await post(request(1));
  expect(who()).toEqual(['session']);
});

test('once cleared, it knows no lease any more, though their sends never settle', async () => {
  const { headers, post, who } = scene();
  const never = (): Promise<void> => new Promise(() => {});
  for (const message of [request(1), notification(1)]) {
    void headers.carry(message, () => ({ 'x-who': 'ada' }), never);
  }
  headers.clear();
  await post(request(1));
  await post(notification(1));
  expect(who()).toEqual(['session', 'session']);
});

/** A controller whose `abort` can be handed on. */
function bound(controller: AbortController): { signal: AbortSignal; abort: () => void } {
  return { signal: controller.signal, abort: () => controller.abort() };
}
