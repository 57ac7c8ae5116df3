import { createSecureServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Agent } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { ExchangeLab } from '../support/exchange-lab.ts';
import { TEST_CERTIFICATE } from '../support/test-certificate.ts';

const lab = new ExchangeLab();
afterEach(() => lab.close());

const post = { method: 'POST', body: '{"a":1}' } as const;

describe('an exchange over HTTP/2', () => {
  /** A server over TLS that hands each stream, with its request read, to `handle`. */
  async function serveHttp2(handle: (stream: ServerHttp2Stream, path: string) => void) {
    const server = createSecureServer({ key: TEST_CERTIFICATE, cert: TEST_CERTIFICATE });
    const paths: string[] = [];
    const sessions = new Set<{ destroy(): void }>();
    server.on('session', (session) => {
      sessions.add(session);
      session.on('error', () => {});
    });
    server.on('stream', (stream, headers) => {
      const path = `${headers[':method']} ${headers[':path']}`;
      paths.push(path);
      stream.on('error', () => {});
      stream.resume().on('end', () => handle(stream, path));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const agent = new Agent({
      allowH2: true,
      pipelining: 10,
      connect: { rejectUnauthorized: false },
    });
    lab.adopt(async () => {
      await agent.destroy();
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    const { port } = server.address() as AddressInfo;
    return { url: new URL(`https://127.0.0.1:${port}/mcp`), agent, paths, sessions };
  }

  it('tells head, body and end, past interim answers', async () => {
    const { url, agent } = await serveHttp2((stream) => {
      stream.additionalHeaders({ ':status': 103, link: '</x>' });
      stream.respond({ ':status': 201, 'x-a': 'b' });
      stream.end('{}');
    });
    const recording = lab.send(url, { ...post, dispatcher: agent });
    await recording.over;
    expect(recording.trace).toEqual(['head 201', 'data', 'end']);
    expect(recording.head?.headers).toMatchObject({ 'x-a': 'b' });
    expect(recording.text).toBe('{}');
  });

  it('follows redirects', async () => {
    const { url, agent, paths } = await serveHttp2((stream, path) => {
      if (path.endsWith('/there')) stream.respond({ ':status': 200 });
      else stream.respond({ ':status': 307, location: '/there' });
      stream.end('body');
    });
    const recording = lab.send(url, { ...post, dispatcher: agent });
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
    expect(paths).toEqual(['POST /mcp', 'POST /there']);
  });

  it.each([
    ['before the answer', () => {}],
    [
      'in mid-body',
      (stream: ServerHttp2Stream) => {
        stream.respond({ ':status': 200 });
        stream.write('some');
      },
    ],
  ])('aborted %s ends its stream, and no other', async (_name, handle) => {
    const streams: ServerHttp2Stream[] = [];
    const { url, agent, sessions } = await serveHttp2((stream, path) => {
      streams.push(stream);
      if (path.endsWith('/kept')) stream.respond({ ':status': 200 });
      else handle(stream);
    });
    const kept = lab.send(new URL('/kept', url), { dispatcher: agent });
    // Only then does undici know that it may share the connection.
    await expect.poll(() => kept.trace).toEqual(['head 200']);
    const recording = lab.send(url, { dispatcher: agent });
    await expect.poll(() => streams.length).toBe(2);
    const [first, aborted] = streams as [ServerHttp2Stream, ServerHttp2Stream];
    if (aborted.headersSent) await recording.received(4);
    recording.abort();
    await expect.poll(() => aborted.closed).toBe(true);
    first.end('done');
    await kept.over;
    expect(kept.text).toBe('done');
    expect(sessions.size).toBe(1);
  });

  it('fails, and is not sent again, when the connection is cut', async () => {
    for (const start of [false, true]) {
      const { url, agent, paths, sessions } = await serveHttp2((stream) => {
        if (start) {
          stream.respond({ ':status': 200 });
          stream.write('some');
        }
        setImmediate(() => stream.session?.destroy());
      });
      const recording = lab.send(url, { ...post, dispatcher: agent });
      await recording.over;
      expect(recording.trace.at(-1)).toBe('failure');
      expect(recording.exchange.progress).not.toBe('not-written');
      for (let turn = 0; turn < 20; turn += 1) await nextTurn();
      expect(paths).toEqual(['POST /mcp']);
      expect(sessions.size).toBeLessThanOrEqual(2);
    }
  });

  it('fails when its stream is refused or reset', async () => {
    for (const code of [7, 8, 2]) {
      const { url, agent } = await serveHttp2((stream) => stream.close(code));
      const recording = lab.send(url, { ...post, dispatcher: agent });
      await recording.over;
      expect(recording.trace).toEqual(['failure']);
      expect(recording.exchange.progress).toBe('written');
    }
  });
});
