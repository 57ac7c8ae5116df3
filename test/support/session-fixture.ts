// Sessions and raw servers for one test file, all closed after each test: what tests of real HTTP
// sessions start from.

import { afterEach } from 'vitest';
import { HttpSessions } from './http-sessions.ts';
import { type RawHandlers, type RawServer, speakMcp, startRawServer } from './raw-server.ts';
import { type SseHandlers, type SseServer, startSseServer } from './sse-server.ts';

type SessionOptions = ConstructorParameters<typeof HttpSessions>[0];

export interface SessionFixture {
  /** What is closed after the test, the newest first. */
  readonly closers: (() => Promise<void> | void)[];
  newSessions(options?: SessionOptions): HttpSessions;
  serveRaw(handlers?: RawHandlers): Promise<RawServer>;
  /** A server of the older HTTP+SSE protocol. */
  serveSse(handlers?: SseHandlers): Promise<SseServer>;
}

/** Called once per test file, at its top. */
export function useSessions(): SessionFixture {
  const closers: (() => Promise<void> | void)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close();
  });
  return {
    closers,
    newSessions: (options = {}) => {
      const sessions = new HttpSessions(options);
      closers.push(() => sessions.cutAll());
      return sessions;
    },
    serveRaw: async (handlers = {}) => {
      const server = await startRawServer(speakMcp(handlers));
      closers.push(() => server.close());
      return server;
    },
    serveSse: async (handlers = {}) => {
      const server = await startSseServer(handlers);
      closers.push(() => server.close());
      return server;
    },
  };
}
