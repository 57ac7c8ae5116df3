// Which of its two HTTP protocols an MCP server speaks, as far as a refusal tells. Pure; who asks,
// and in which order, is `connect/auto-connector.ts`'s.

/** Streamable HTTP (since 2025-03-26), and HTTP+SSE (2024-11-05). */
export type HttpProtocol = 'streamable-http' | 'sse';

/** What a server says of the caller. It would say the same in the other protocol. */
const OF_CALLER = [401, 402, 403, 407];
/** What it says of the moment. */
const OF_MOMENT = [408, 425, 429];
const OF_NEITHER: ReadonlySet<number> = new Set([...OF_CALLER, ...OF_MOMENT]);

/**
 * Whether a refusal with `status` says that the server may not speak the protocol it was asked in.
 * MCP 2025-11-25, Transports, "Backwards Compatibility", has a client go from a refused
 * `initialize` to HTTP+SSE for 400, 404 and 405; in 2025-06-18 it is any 4xx. Here it is any 4xx
 * that is not about the caller or the moment, and no 5xx.
 */
export function isOfOtherProtocol(status: number): boolean {
  return status >= 400 && status <= 499 && !OF_NEITHER.has(status);
}
