// What a caller says of the headers of its requests: by name, and by the user info of a URL; the
// one header that holds a peer's words; and what a transport's headers tell of its request. Pure.

import type { HeaderRecord } from '../target.ts';
import { RESERVED_HEADERS } from '../target-check.ts';

/** What of `given` a caller may set, names in lower case. A record of its own. */
export function callersHeaders(given: HeaderRecord): Record<string, string> {
  const headers: Record<string, string> = {};
  // Keys, not entries: an array per header costs more than the rest.
  for (const name of Object.keys(given)) {
    const lower = name.toLowerCase();
    const value = given[name];
    if (value !== undefined && !RESERVED_HEADERS.has(lower)) headers[lower] = value;
  }
  return headers;
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

/** Servers bound all headers of a request together: Node's to 16 KiB, others to 8. */
const MAX_EVENT_ID_BYTES = 4_096;

/**
 * The `Last-Event-ID` for the event `id`: its UTF-8 bytes (HTML, Server-sent events), each as the
 * character that undici makes it of. `undefined`: no header can hold it, or none that is taken.
 */
export function eventIdHeader(id: string): string | undefined {
  const bytes = Buffer.from(id);
  const isFit = bytes.length > 0 && bytes.length <= MAX_EVENT_ID_BYTES;
  return isFit && !bytes.some(isControl) ? bytes.toString('latin1') : undefined;
}

/** Whether a GET is one of an event stream; OAuth's discovery uses the same fetch, for JSON. */
export function asksForEvents(headers: Headers): boolean {
  return /\btext\/event-stream\b/i.test(headers.get('accept') ?? '');
}

const isControl = (byte: number): boolean => (byte < 0x20 && byte !== 0x09) || byte === 0x7f;

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
