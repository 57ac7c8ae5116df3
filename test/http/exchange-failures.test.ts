import { Agent } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { Dispatchers } from '../../src/http/dispatchers.ts';
import { answerOf, chunkOf, writeInParts } from '../support/byte-server.ts';
import { ExchangeLab, type Recording } from '../support/exchange-lab.ts';

const lab = new ExchangeLab();
afterEach(() => lab.close());

const post = { method: 'POST', body: '{}' } as const;
const withLength = (length: number): string =>
  `HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\n`;

/** What an exchange told, and how far it got. */
const outcomeOf = ({ trace, exchange, error }: Recording): unknown[] => [
  ...trace,
  exchange.progress,
  error?.code,
];

describe('an exchange without a connection', () => {
  it('fails as not written when the connection is refused', async () => {
    const server = await lab.serve(() => {});
    await server.close();
    const recording = lab.send(server.url, post);
    await recording.over;
    expect(outcomeOf(recording)).toEqual(['failure', 'not-written', 'ECONNREFUSED']);
  });

  it('fails as not written when the handshake is never answered', async () => {
    // A TLS handshake: accepted by the kernel is not yet there.
    const server = await lab.serve(() => {}, { onConnection: (socket) => socket.resume() });
    const hold = new Dispatchers({ connectTimeoutMs: 50 }).hold();
    const url = server.url.href.replace('http:', 'https:');
    const recording = lab.send(url, { ...post, dispatcherFor: hold.for });
    await recording.over;
    expect(outcomeOf(recording)).toEqual(['failure', 'not-written', 'UND_ERR_CONNECT_TIMEOUT']);
    hold.release(new Error('over'));
    await expect.poll(() => server.openSockets).toBe(0);
  });

  it('fails as not written when the peer ends the connection in mid-handshake', async () => {
    const server = await lab.serve(() => {}, { onConnection: (socket) => socket.destroy() });
    const recording = lab.send(server.url.href.replace('http:', 'https:'), post);
    await recording.over;
    expect(recording.trace).toEqual(['failure']);
    expect(recording.exchange.progress).toBe('not-written');
  });

  it('fails as not written when its dispatcher is destroyed while it connects', async () => {
    const server = await lab.serve(() => {}, { onConnection: (socket) => socket.resume() });
    const hold = new Dispatchers({ connectTimeoutMs: 60_000 }).hold();
    const url = server.url.href.replace('http:', 'https:');
    const recording = lab.send(url, { ...post, dispatcherFor: hold.for });
    await server.connection(1);
    hold.release(new Error('over'));
    await recording.over;
    expect(recording.trace).toEqual(['failure']);
    expect(recording.exchange.progress).toBe('not-written');
    await expect.poll(() => server.openSockets).toBe(0);
  });

  it('fails as not written, before send returns, when its dispatcher is closed', async () => {
    const agent = new Agent();
    await agent.close();
    const recording = lab.send('http://127.0.0.1:1/', { ...post, dispatcher: agent });
    expect(outcomeOf(recording)).toEqual(['failure', 'not-written', 'UND_ERR_DESTROYED']);
  });

  it.each([
    ['a header name', { 'no such name': 'x' }],
    ['a header value', { name: 'a\r\nb: c' }],
    ['a forbidden header', { expect: '100-continue' }],
  ])('fails as not written when undici refuses %s', async (_name, headers) => {
    const server = await lab.serve(() => {});
    const recording = lab.send(server.url, { headers });
    expect(recording.trace).toEqual(['failure']);
    expect(recording.exchange.progress).toBe('not-written');
    expect(server.connections).toBe(0);
  });
});

describe('an exchange whose connection is lost', () => {
  it.each(['destroy', 'resetAndDestroy', 'end'] as const)(
    'fails as written when the peer calls %s before a head',
    async (end) => {
      const server = await lab.serve(({ socket }) => void socket[end]());
      const recording = lab.send(server.url, post);
      await recording.over;
      expect(recording.trace).toEqual(['failure']);
      expect(recording.exchange.progress).toBe('written');
      expect(server.requests).toHaveLength(1);
      await expect.poll(() => server.openSockets).toBe(0);
    },
  );

  it.each(['destroy', 'resetAndDestroy', 'end'] as const)(
    'fails as written when the peer calls %s in mid-head',
    async (end) => {
      const server = await lab.serve(({ socket }) => {
        void writeInParts(socket, ['HTTP/1.1 200 OK\r\ncontent-ty']).then(() => socket[end]());
      });
      const recording = lab.send(server.url, post);
      await recording.over;
      expect(recording.trace).toEqual(['failure']);
      expect(recording.exchange.progress).toBe('written');
      await expect.poll(() => server.openSockets).toBe(0);
    },
  );

  it.each(['destroy', 'resetAndDestroy', 'end'] as const)(
    'tells what came, and then a failure, when the peer calls %s in mid-body',
    async (end) => {
      for (const start of [
        `${withLength(10)}half`,
        `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunkOf('half')}`,
        // Half a chunk.
        'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nhalf',
      ]) {
        const server = await lab.serve(({ socket }) => socket.write(start));
        const recording = lab.send(server.url, post);
        await recording.received(4);
        server.sockets[0]?.[end]();
        await recording.over;
        expect(recording.trace).toEqual(['head 200', 'data', 'failure']);
        expect(recording.text).toBe('half');
        expect(recording.exchange.progress).toBe('answered');
        await expect.poll(() => server.openSockets).toBe(0);
      }
    },
  );

  it('fails once when its dispatcher is destroyed in mid-body', async () => {
    const server = await lab.serve(({ socket }) => socket.write(`${withLength(10)}half`));
    const hold = new Dispatchers({ connectTimeoutMs: 1_000 }).hold();
    const recording = lab.send(server.url, { dispatcherFor: hold.for });
    await recording.received(4);
    const reason = new Error('over');
    hold.release(reason);
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'failure']);
    expect(recording.error).toBe(reason);
    await expect.poll(() => server.openSockets).toBe(0);
  });

  it('is told as written when the peer ends an idle connection as it writes', async () => {
    const server = await lab.serve(({ count, socket }) => {
      if (count === 1) socket.write(answerOf('ok'));
      else socket.resetAndDestroy();
    });
    await lab.send(server.url, post).over;
    await new Promise((resolve) => setImmediate(resolve));
    const recording = lab.send(server.url, post);
    await recording.over;
    expect(recording.trace).toEqual(['failure']);
    expect(recording.exchange.progress).toBe('written');
    expect(server.connections).toBe(1);
  });

  it('is never told as not written when its request came, however the idle end races', async () => {
    // The server ends each connection a varying number of turns after its answer, while the next
    // request is on its way.
    let turns = 0;
    const server = await lab.serve(({ socket, line }) => {
      if (line.endsWith('/hangs')) return;
      socket.write(answerOf('ok'));
      let left = turns;
      const wait = (): void => {
        left -= 1;
        if (left < 0) socket.end();
        else setImmediate(wait);
      };
      wait();
    });
    for (turns = 0; turns < 40; turns += 1) {
      await lab.send(server.url, post).over;
      const before = server.requests.length;
      const recording = lab.send(new URL('/hangs', server.url), post);
      const came = server.request(before + 1);
      await Promise.race([came, recording.over]);
      if (recording.error === undefined) {
        expect(recording.exchange.progress).toBe('written');
        recording.abort();
      } else {
        // A failure that says it was not written must be right; it is never sent twice.
        const wasWritten = recording.exchange.progress !== 'not-written';
        expect(wasWritten || server.requests.length === before).toBe(true);
      }
      expect(server.requests.length - before).toBeLessThanOrEqual(1);
    }
  });
});

describe('an exchange with a peer that does not speak HTTP', () => {
  it.each([
    ['garbage', 'SSH-2.0-OpenSSH_9.7\r\n'],
    ['a head without end that is over the bound', `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(99_000)}`],
    ['many headers over the bound', `HTTP/1.1 200 OK\r\n${`x: ${'y'.repeat(99)}\r\n`.repeat(999)}`],
    ['a length that is none', 'HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!'],
    ['100 Continue, unasked', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'],
    [
      '101 Switching Protocols, unasked',
      'HTTP/1.1 101 X\r\nupgrade: y\r\nconnection: upgrade\r\n\r\n',
    ],
  ])('fails as written after %s', async (_name, bytes) => {
    const server = await lab.serve(({ socket }) => socket.write(bytes));
    const recording = lab.send(server.url, post);
    await recording.over;
    expect(recording.trace).toEqual(['failure']);
    expect(recording.error).toBeInstanceOf(Error);
    expect(recording.exchange.progress).toBe('written');
    await expect.poll(() => server.openSockets).toBe(0);
  });

  it('fails in mid-body on a chunk that is none', async () => {
    const server = await lab.serve(({ socket }) => {
      const head = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
      void writeInParts(socket, [head, chunkOf('half'), 'nonsense\r\n']);
    });
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'failure']);
    await expect.poll(() => server.openSockets).toBe(0);
  });

  it('fails when the body is shorter than its length', async () => {
    const server = await lab.serve(({ socket }) => socket.end(`${withLength(10)}short`));
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.trace).toEqual(['head 200', 'data', 'failure']);
  });

  it('ends a body at its length; what follows it harms no later one', async () => {
    const server = await lab.serve(({ socket, count }) =>
      socket.write(`${withLength(4)}body${count === 1 ? 'HTTP/1.1 200 OK\r\n\r\nforged' : ''}`),
    );
    const first = lab.send(server.url);
    await first.over;
    const second = lab.send(server.url);
    await second.over;
    for (const recording of [first, second]) {
      expect(recording.trace).toEqual(['head 200', 'data', 'end']);
      expect(recording.text).toBe('body');
    }
    expect(server.connections).toBe(2);
  });

  it('takes a second answer on the same connection for nothing', async () => {
    const server = await lab.serve(({ socket }) =>
      socket.write(Buffer.concat([answerOf('one'), answerOf('two')])),
    );
    const recording = lab.send(server.url);
    await recording.over;
    expect(recording.text).toBe('one');
    expect(recording.trace).toEqual(['head 200', 'data', 'end']);
  });
});
