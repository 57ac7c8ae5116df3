// What kind of failure an open ended with, told from the structure of whatever was thrown: never by
// `instanceof`, for errors cross copies and versions of libraries. Pure.

export type FailureKind =
  | 'refused'
  | 'timeout'
  | 'unauthorized'
  | 'http'
  | 'protocol'
  | 'network'
  | 'other';

export interface Failure {
  readonly kind: FailureKind;
  /** The HTTP status, where there was one. */
  readonly status?: number;
  /** The error's class name and code: names, never the peer's own words. */
  readonly errorName: string;
  readonly errorCode?: string;
}

const REFUSED = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN']);
const TIMED_OUT = new Set(['ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT']);
const BROKEN = /^(E[A-Z]+|UND_ERR_[A-Z_]+|ERR_(TLS|SSL)_[A-Z0-9_]+|[A-Z_]*CERT[A-Z_]*)$/;
/** What our own transport says (`HttpFailureCode`), where no cause beneath it says more. */
const TOLD: ReadonlyMap<unknown, FailureKind> = new Map<unknown, FailureKind>([
  ['CONNECT_FAILED', 'network'],
  ['CONNECTION_LOST', 'network'],
  ['RESPONSE_CUT', 'network'],
  ['RESUME_FAILED', 'network'],
  ['NO_RESPONSE', 'protocol'],
  ['UNEXPECTED_CONTENT', 'protocol'],
  ['MESSAGE_TOO_LARGE', 'protocol'],
  ['TIMEOUT', 'timeout'],
]);
/** How deep causes are followed. Bound: a cyclic chain of causes must not loop. */
const MAX_DEPTH = 8;

/** Describes a failed open. `timedOut`: our own deadline ended it. */
export function failureOf(error: unknown, timedOut: boolean): Failure {
  const errorName = nameOf(error);
  if (timedOut) return { kind: 'timeout', errorName };
  let cause = error;
  let told: Omit<Failure, 'errorName'> = { kind: 'other' };
  for (let depth = 0; depth < MAX_DEPTH && isRecord(cause); depth += 1) {
    const found = judge(cause);
    if (found !== undefined) return { errorName, ...found };
    const { code } = cause;
    const kind = TOLD.get(code);
    if (told.kind === 'other' && kind !== undefined) told = { kind, errorCode: String(code) };
    cause = cause['cause'] ?? firstOf(cause['errors']);
  }
  return { errorName, ...told };
}

function judge(error: Record<string, unknown>): Omit<Failure, 'errorName'> | undefined {
  const { code, status, name } = error;
  const http = httpStatus(status) ?? httpStatus(code);
  if (http !== undefined) {
    return { kind: http === 401 || http === 403 ? 'unauthorized' : 'http', status: http };
  }
  if (name === 'UnauthorizedError' || nameOf(error) === 'UnauthorizedError') {
    return { kind: 'unauthorized' };
  }
  if (typeof code === 'number') return { kind: 'protocol', errorCode: String(code) };
  if (name === 'ZodError' || name === 'SyntaxError') return { kind: 'protocol' };
  if (typeof code !== 'string') return undefined;
  if (REFUSED.has(code)) return { kind: 'refused', errorCode: code };
  if (TIMED_OUT.has(code)) return { kind: 'timeout', errorCode: code };
  return BROKEN.test(code) ? { kind: 'network', errorCode: code } : undefined;
}

const httpStatus = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isInteger(value) && value >= 100 && value <= 599
    ? value
    : undefined;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

const firstOf = (value: unknown): unknown => (Array.isArray(value) ? value[0] : undefined);

/**
 * A class name is ours or a library's to choose, unless somebody made one up: kept short and plain.
 */
function nameOf(error: unknown): string {
  const name = isRecord(error)
    ? (error['constructor'] as { name?: unknown } | undefined)?.name
    : '';
  return typeof name === 'string' && /^\w{1,64}$/.test(name) ? name : typeof error;
}
