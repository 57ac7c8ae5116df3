// Raw servers that speak 2026-07-28, which keeps no sessions: enough for a client of SDK 2 to
// connect, and the test has every byte.

import { answerJson, type RawExchange, type RawHandlers, speakMcp } from './raw-server.ts';

/** The result of a call of that revision, with what it must hold. */
export const resultOf = (members: object): object => ({ resultType: 'complete', ...members });

/** Answers `server/discover` as a server with tools. */
function answerDiscover(exchange: RawExchange): void {
  answerJson(
    exchange,
    resultOf({
      supportedVersions: ['2026-07-28'],
      capabilities: { tools: {} },
      ttlMs: 0,
      cacheScope: 'private',
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'raw', version: '1' } },
    }),
  );
}

/** Answers a call with a result that says nothing. */
export const answerCall = (exchange: RawExchange): void =>
  answerJson(exchange, resultOf({ content: [] }));

/** As `speakMcp`, but for a server that keeps no sessions; calls of tools are answered. */
export const speakModern = (handlers: RawHandlers = {}): ((exchange: RawExchange) => void) =>
  speakMcp({ 'server/discover': answerDiscover, 'tools/call': answerCall, ...handlers });
