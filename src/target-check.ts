// Checks targets and headers at the door, so that bad input is a clear error before anything is
// opened, counted or queued for it. Messages never show a value that could be a credential.

import { checkKnown } from './known-members.ts';
import type {
  HeaderRecord,
  HeaderSource,
  HttpTarget,
  SessionTarget,
  StdioTarget,
} from './target.ts';

/** Headers that belong to the transport. A caller's would override or smuggle (hazard G7, S1). */
export const RESERVED_HEADERS: ReadonlySet<string> = new Set([
  'accept',
  'connection',
  'content-length',
  'content-type',
  'expect',
  'host',
  'keep-alive',
  'last-event-id',
  'mcp-protocol-version',
  'mcp-session-id',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const SCOPE_MEMBERS = ['identity', 'affinity', 'leasesPerSession', 'clientInfo', 'capabilities'];
const HTTP_MEMBERS = new Set([
  ...SCOPE_MEMBERS,
  ...['url', 'transport', 'authProvider', 'headers', 'notifications'],
]);
const TRANSPORTS: ReadonlySet<unknown> = new Set(['streamable-http', 'sse', 'auto']);
const STDIO_MEMBERS = new Set([...SCOPE_MEMBERS, 'command', 'args', 'env', 'cwd']);
const CUSTOM_MEMBERS = new Set([...SCOPE_MEMBERS, 'server', 'connect']);

const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** @throws TypeError or RangeError naming what was expected of which member. */
export function checkTarget(target: SessionTarget): void {
  if (typeof target !== 'object' || target === null) {
    throw new TypeError(`Expected the target to be an object, got ${kindOf(target)}`);
  }
  checkScope(target);
  if ('url' in target) return checkHttp(target);
  if ('command' in target) return checkStdio(target);
  if (!('server' in target) || !('connect' in target)) {
    throw new TypeError(
      'Expected the target to have `url`, or `command`, or `server` and `connect`',
    );
  }
  checkKnown('target member', target, CUSTOM_MEMBERS);
  checkString('server', target.server);
  if (typeof target.connect !== 'function') {
    throw new TypeError(`Expected \`connect\` to be a function, got ${kindOf(target.connect)}`);
  }
}

/**
 * Checks what a client says of itself. @throws TypeError unless `clientInfo` has a name and a
 * version and `capabilities` is an object.
 */
export function checkClientIdentity(of: {
  readonly clientInfo?: unknown;
  readonly capabilities?: unknown;
}): void {
  const { clientInfo, capabilities } = of;
  if (clientInfo !== undefined) {
    const { name, version } = Object(clientInfo) as { name?: unknown; version?: unknown };
    if (typeof name !== 'string' || typeof version !== 'string') {
      throw new TypeError('Expected `clientInfo` to have a `name` and a `version`, both strings');
    }
  }
  if (capabilities !== undefined && !isRecord(capabilities)) {
    throw new TypeError(`Expected \`capabilities\` to be an object, got ${kindOf(capabilities)}`);
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

function checkHttp(target: HttpTarget): void {
  checkKnown('target member', target, HTTP_MEMBERS);
  checkUrl(target.url);
  const { transport, headers, notifications, authProvider } = target;
  if (transport !== undefined && !TRANSPORTS.has(transport)) {
    throw new TypeError("Expected `transport` to be 'streamable-http', 'sse' or 'auto'");
  }
  if (notifications !== undefined && typeof notifications !== 'boolean') {
    throw new TypeError(`Expected \`notifications\` to be a boolean, got ${kindOf(notifications)}`);
  }
  if (authProvider !== undefined && (typeof authProvider !== 'object' || authProvider === null)) {
    throw new TypeError(`Expected \`authProvider\` to be an object, got ${kindOf(authProvider)}`);
  }
  checkHeaderSource(headers);
}

function checkStdio(target: StdioTarget): void {
  checkKnown('target member', target, STDIO_MEMBERS);
  checkString('command', target.command);
  const { args, env, cwd } = target;
  const isText = (value: unknown): boolean => typeof value === 'string';
  if (args !== undefined && !(Array.isArray(args) && args.every(isText))) {
    throw new TypeError('Expected `args` to be an array of strings');
  }
  if (env !== undefined && !(isRecord(env) && Object.values(env).every(isText))) {
    throw new TypeError('Expected `env` to be a record of strings');
  }
  if (cwd !== undefined) checkString('cwd', cwd);
}

function checkScope(target: SessionTarget): void {
  const { identity, affinity, leasesPerSession } = target;
  checkClientIdentity(target);
  if (identity !== undefined) checkString('identity', identity);
  if (affinity !== undefined) checkString('affinity', affinity);
  if (leasesPerSession === undefined) return;
  if (!Number.isSafeInteger(leasesPerSession) || leasesPerSession < 1) {
    throw new RangeError(
      `Expected \`leasesPerSession\` to be an integer ≥ 1, got ${String(leasesPerSession)}`,
    );
  }
}

/** @throws TypeError unless `url` is an absolute http: or https: URL. */
export function checkUrl(url: unknown): void {
  const text = url instanceof URL ? url.href : url;
  const isWeb = typeof text === 'string' && URL.canParse(text) && /^https?:/i.test(text.trim());
  if (!isWeb) throw new TypeError('Expected `url` to be an absolute http: or https: URL');
}

function checkString(name: string, value: unknown): void {
  if (typeof value !== 'string' || value === '') {
    throw new TypeError(`Expected \`${name}\` to be a non-empty string, got ${kindOf(value)}`);
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const kindOf = (value: unknown): string => {
  if (value === null) return 'null';
  if (value === '') return 'an empty string';
  return Array.isArray(value) ? 'an array' : typeof value;
};
