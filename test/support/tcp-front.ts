// A TCP port in front of a server that may be down: notes every connection that is tried, passes it
// on, and cuts it when nobody takes it.

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { until } from './raw-server.ts';

/** A running front. */
export interface TcpFront {
  readonly port: number;
  /** When each connection came, in monotonic milliseconds. */
  readonly attempts: readonly number[];
  /** Destroys every connection there is, and goes on listening. */
  cut(): void;
  close(): Promise<void>;
}

/** Starts a front to `port` of this machine. */
export async function startTcpFront(port: number): Promise<TcpFront> {
  const attempts: number[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    attempts.push(performance.now());
    const far = connect(port, '127.0.0.1');
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    attempts,
    cut,
    close: async () => {
      server.close();
      cut();
      await until(() => sockets.size === 0);
    },
  };
}
