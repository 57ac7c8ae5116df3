// What a downstream client is told when something fails: a JSON-RPC error, and an HTTP status where
// no session is there yet to carry one. In words of our own: messages of the pool name its keys,
// and messages of transports quote peers. What the upstream server itself answers to a call (an
// `McpError`) is the caller's to read and passes as it is.

import { McpError } from '@modelcontextprotocol/sdk/types.js';
import {
  type CircuitOpenError,
  HttpRequestError,
  type OpenError,
  type SessionLostError,
  SessionPoolError,
} from 'mcp-session-pool';

/** A JSON-RPC error that is meant to be sent, and the HTTP status that goes with it. */
export class Refusal extends Error {
  readonly code: number;
  readonly status: number;
  /** `code`: stable, made for `switch`. */
  readonly data: unknown;
  readonly retryAfterMs: number | undefined;

  constructor(details: {
    readonly code: number;
    readonly status: number;
    readonly message: string;
    readonly data?: unknown;
    readonly retryAfterMs?: number;
  }) {
    super(details.message);
    this.code = details.code;
    this.status = details.status;
    this.data = details.data;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** JSON-RPC code of everything that went wrong between here and the upstream server. */
const UPSTREAM = -32_010;
/** Of what the gateway itself will not do now. */
const GATEWAY = -32_011;
const METHOD_NOT_FOUND = -32_601;
/** Asks for a short pause, where nothing tells how long it should be. */
const SOON_MS = 1_000;

/** The refusal for whatever a call or an open failed with. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof McpError) return ofServer(error);
  if (SessionPoolError.is(error)) return ofPool(error);
  if (error instanceof HttpRequestError) {
    const { execution } = error;
    return upstream(502, 'The upstream server failed', { code: 'UPSTREAM_HTTP', execution });
  }
  return new Refusal({ code: -32_603, status: 500, message: 'Internal error' });
}

export const methodNotFound = (): Refusal =>
  new Refusal({ code: METHOD_NOT_FOUND, status: 404, message: 'Method not found' });

/** The gateway has too much to do, or is about to end. */
export const unavailable = (code: string, message: string): Refusal =>
  new Refusal({ code: GATEWAY, status: 503, message, data: { code }, retryAfterMs: SOON_MS });

/** The upstream session that this downstream session stands for is gone, with all it held. */
export const sessionGone = (execution: SessionLostError['execution']): Refusal =>
  upstream(404, 'The upstream session was lost', { code: 'SESSION_LOST', execution });

/** The downstream session ended under the call. */
export const sessionEnded = (): Refusal =>
  new Refusal({
    code: GATEWAY,
    status: 404,
    message: 'The session has ended; the call may have been executed',
    data: { code: 'SESSION_ENDED', execution: 'unknown' },
  });

function ofPool(error: SessionPoolError): Refusal {
  const { code } = error;
  switch (code) {
    case 'POOL_CLOSED':
      return unavailable('SHUTTING_DOWN', 'The gateway is shutting down');
    case 'POOL_SATURATED':
      return unavailable(code, 'Too many calls are waiting');
    case 'ACQUIRE_TIMEOUT':
      return upstream(504, 'The upstream server took too long', { code }, SOON_MS);
    case 'CIRCUIT_OPEN': {
      const { retryAfterMs } = error as CircuitOpenError;
      const data = { code, retryAfterMs };
      return upstream(503, 'The upstream server is down', data, retryAfterMs);
    }
    case 'OPEN_FAILED': {
      const { kind } = error as OpenError;
      const status = kind === 'timeout' ? 504 : 502;
      return upstream(status, 'The upstream server can not be used', { code, kind });
    }
    case 'SESSION_LOST':
      return sessionGone((error as SessionLostError).execution);
    case 'LEASE_RELEASED':
      // Taken back in mid-call.
      return unavailable('CALL_ENDED', 'The gateway ended the call; it may have been executed');
    case 'IDENTITY_REQUIRED':
      return new Refusal({ code: -32_603, status: 500, message: 'Internal error' });
    default:
      return code satisfies never;
  }
}

/** The answer of the other side, without what the SDK writes before its message. */
function ofServer({ code, message, data }: McpError): Refusal {
  const said = message.replace(/^MCP error -?\d+: /, '');
  return new Refusal({ code, status: 502, message: said, data });
}

function upstream(status: number, message: string, data: object, retryAfterMs?: number): Refusal {
  const pause = retryAfterMs === undefined ? {} : { retryAfterMs };
  return new Refusal({ code: UPSTREAM, status, message, data, ...pause });
}
