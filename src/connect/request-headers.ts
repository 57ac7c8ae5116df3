// Which headers a request to an MCP endpoint carries: the caller's beneath, the protocol's on top.
// Pure.

import type { HeaderRecord } from '../target.ts';
import { RESERVED_HEADERS } from '../target-check.ts';

/** `own` on top of what of `beneath` a caller may set. All names in lower case. */
export function mergeHeaders(
  beneath: HeaderRecord,
  own: RequestInit['headers'],
): Record<string, string> {
  const merged: Record<string, string> = {};
  for (const [name, value] of Object.entries(beneath)) {
    const lower = name.toLowerCase();
    if (!RESERVED_HEADERS.has(lower)) merged[lower] = value;
  }
  for (const [name, value] of new Headers(own)) merged[name] = value;
  return merged;
}

/** The URL without user info, and the `Authorization` that the user info stands for. */
export function splitUserInfo(url: URL): { endpoint: URL; authorization: string | undefined } {
  const { username, password } = url;
  if (username === '' && password === '') return { endpoint: url, authorization: undefined };
  const endpoint = new URL(url);
  endpoint.username = '';
  endpoint.password = '';
  const pair = Buffer.concat([percentDecoded(username), COLON, percentDecoded(password)]);
  return { endpoint, authorization: `Basic ${pair.toString('base64')}` };
}

const COLON = Buffer.from(':');

/**
 * The bytes that `text` stands for. A `%` that begins no escape stands for itself, as the URL
 * standard has it: `decodeURIComponent` would throw.
 */
function percentDecoded(text: string): Buffer {
  const parts = text.split(/(%[0-9a-f]{2})/i);
  // The escapes are the parts at odd places.
  return Buffer.concat(
    parts.map((part, n) => (n % 2 === 1 ? Buffer.from(part.slice(1), 'hex') : Buffer.from(part))),
  );
}
