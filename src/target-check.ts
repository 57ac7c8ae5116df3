// Checks targets and headers at the door, so that bad input is a clear error before anything is
// opened, counted or queued for it. Messages never show a value that could be a credential.

import type { HeaderRecord, HeaderSource, SessionTarget } from './target.ts';

/** Headers that belong to the transport. A caller's would override or smuggle (hazard G7, S1). */
export const RESERVED_HEADERS: ReadonlySet<string> = new Set([
  'accept',
  'connection',
  'content-length',
  'content-type',
  'host',
  'keep-alive',
  'last-event-id',
  'mcp-protocol-version',
  'mcp-session-id',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** @throws TypeError or RangeError naming what was expected of which member. */
export function checkTarget(target: SessionTarget): void {
  if (typeof target !== 'object' || target === null) {
    throw new TypeError(`Expected the target to be an object, got ${kindOf(target)}`);
  }
  checkScope(target);
  if ('url' in target) {
    checkUrl(target.url);
    const { transport, headers } = target;
    if (transport !== undefined && transport !== 'streamable-http' && transport !== 'sse') {
      throw new TypeError("Expected `transport` to be 'streamable-http' or 'sse'");
    }
    return checkHeaderSource(headers);
  }
  if ('command' in target) return checkString('command', target.command);
  if (!('server' in target) || !('connect' in target)) {
    throw new TypeError(
      'Expected the target to have `url`, or `command`, or `server` and `connect`',
    );
  }
  checkString('server', target.server);
  if (typeof target.connect !== 'function') {
    throw new TypeError(`Expected \`connect\` to be a function, got ${kindOf(target.connect)}`);
  }
}

/** @throws TypeError unless `headers` is left out, a function, or headers that can be sent. */
export function checkHeaderSource(headers: HeaderSource | undefined): void {
  if (headers !== undefined && typeof headers !== 'function') checkHeaders(headers);
}

/** @throws TypeError when a header can't be sent as it is, or is the transport's own. */
export function checkHeaders(headers: HeaderRecord): void {
  if (typeof headers !== 'object' || headers === null || Symbol.iterator in headers) {
    throw new TypeError(
      `Expected \`headers\` to be a record of strings or a function, got ${kindOf(headers)}`,
    );
  }
  for (const [name, value] of Object.entries(headers)) {
    if (!HEADER_NAME.test(name)) {
      throw new TypeError('Expected every header name to be an HTTP token');
    }
    if (RESERVED_HEADERS.has(name.toLowerCase())) {
      throw new TypeError(`Header \`${name}\` belongs to the transport and can't be given`);
    }
    if (typeof value !== 'string' || !HEADER_VALUE.test(value)) {
      throw new TypeError(`Expected header \`${name}\` to be a string without line breaks`);
    }
  }
}

function checkScope(target: SessionTarget): void {
  const { identity, affinity, leasesPerSession } = target;
  if (identity !== undefined) checkString('identity', identity);
  if (affinity !== undefined) checkString('affinity', affinity);
  if (leasesPerSession === undefined) return;
  if (!Number.isSafeInteger(leasesPerSession) || leasesPerSession < 1) {
    throw new RangeError(
      `Expected \`leasesPerSession\` to be an integer ≥ 1, got ${String(leasesPerSession)}`,
    );
  }
}

function checkUrl(url: unknown): void {
  const text = url instanceof URL ? url.href : url;
  const isWeb = typeof text === 'string' && URL.canParse(text) && /^https?:/i.test(text.trim());
  if (!isWeb) throw new TypeError('Expected `url` to be an absolute http: or https: URL');
}

function checkString(name: string, value: unknown): void {
  if (typeof value !== 'string' || value === '') {
    throw new TypeError(`Expected \`${name}\` to be a non-empty string, got ${kindOf(value)}`);
  }
}

const kindOf = (value: unknown): string => {
  if (value === null) return 'null';
  if (value === '') return 'an empty string';
  return Array.isArray(value) ? 'an array' : typeof value;
};
