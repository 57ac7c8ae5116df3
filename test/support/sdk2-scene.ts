// Pools with clients of SDK 2 against raw servers of either era, for one test file: what its tests
// of misbehaving servers start from.

import type { Client } from '@modelcontextprotocol/client';
import { SessionPool, type SessionPoolOptions, v2Connector } from 'mcp-session-pool/v2';
import { afterEach } from 'vitest';
import { speakModern } from './modern-server.ts';
import {
  answerJson,
  type RawExchange,
  type RawHandlers,
  type RawServer,
  speakMcp,
  startRawServer,
} from './raw-server.ts';

/** `handshake`: 2025-11-25, with sessions. `modern`: 2026-07-28, without. */
export type Era = 'handshake' | 'modern';
export const ERAS: readonly Era[] = ['handshake', 'modern'];

/** A server, and a pool that knows which era it is of only by asking. */
export interface Sdk2Scene {
  readonly server: RawServer;
  readonly pool: SessionPool<Client>;
  readonly target: { readonly url: URL; readonly identity: string };
}

/** Called once per test file, at its top. */
export function useSdk2Scenes(): (
  era: Era,
  handlers?: RawHandlers,
  options?: SessionPoolOptions<Client>,
) => Promise<Sdk2Scene> {
  const closers: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close();
  });
  return async (era, handlers = {}, options = {}) => {
    const server = await startRawServer(speakAs(era, handlers));
    const pool = new SessionPool({ connector: v2Connector(), closeTimeoutMs: 1_000, ...options });
    closers.push(
      () => server.close(),
      () => pool.close(),
    );
    return { server, pool, target: { url: server.url, identity: 'ada' } };
  };
}

/** What a server of `era` answers, but for what `handlers` do. */
export const speakAs = (era: Era, handlers: RawHandlers = {}): ((each: RawExchange) => void) =>
  era === 'modern' ? speakModern(handlers) : speakMcp({ ...OF_OLD, ...handlers });

/** A server of the handshake era refuses what it does not know. */
const OF_OLD: RawHandlers = {
  'server/discover': ({ response, message }) => {
    const error = { code: -32_000, message: 'No session' };
    response.writeHead(400, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, error }));
  },
  'tools/call': (exchange) => answerJson(exchange, { content: [] }),
};
