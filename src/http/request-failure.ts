// The errors of requests that got no answer they can use, each with what it means: whether the
// server can have executed the request, and whether the session is of any more use. Pure.

import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import type { ExchangeProgress } from './exchange.ts';
import { HttpRequestError, ownError } from './http-request-error.ts';
import { parseMessages } from './json-rpc.ts';

/**
 * The error for a request whose exchange failed with `error`. Errors of another kind (a header that
 * can't be sent, a dispatcher that refuses) are the caller's: handed on as they are while nothing
 * was written.
 */
export function networkFailure(error: unknown, progress: ExchangeProgress): unknown {
  const isNetwork = isNetworkError(error);
  switch (progress) {
    case 'not-written':
      if (!isNetwork) return error;
      return new HttpRequestError('CONNECT_FAILED', 'The server could not be reached', {
        execution: 'not-executed',
        sessionLost: true,
        cause: error,
      });
    case 'written':
      return new HttpRequestError(
        'CONNECTION_LOST',
        'The connection was lost before the server answered',
        { execution: 'unknown', sessionLost: true, cause: error },
      );
    case 'answered':
      if (!isNetwork) {
        return new HttpRequestError('UNEXPECTED_CONTENT', "The server's answer can't be decoded", {
          execution: 'unknown',
          sessionLost: false,
          cause: error,
        });
      }
      return new HttpRequestError('RESPONSE_CUT', 'The connection was lost in mid-answer', {
        execution: 'unknown',
        sessionLost: true,
        cause: error,
      });
    default:
      return progress satisfies never;
  }
}

/** The answer is complete, and the JSON-RPC response is not in it. */
export function noResponse(
  code: 'NO_RESPONSE' | 'UNEXPECTED_CONTENT',
  what: string,
  cause?: unknown,
): HttpRequestError {
  const message = `The server answered a request without its response: ${what}`;
  return new HttpRequestError(code, message, { execution: 'unknown', sessionLost: false, cause });
}

/** The event stream of a call ended before its response came. */
export function cutShort(what: string, cause?: unknown): HttpRequestError {
  const code = cause === undefined ? 'RESPONSE_CUT' : 'RESUME_FAILED';
  const message = `The response stream ended early: ${what}`;
  return new HttpRequestError(code, message, { execution: 'unknown', sessionLost: true, cause });
}

/** A message of the server is over the bound. What else is on its way can't be told apart. */
export function messageTooLarge(cause: unknown): HttpRequestError {
  const message = 'The server sent a message over the bound';
  const details = { execution: 'unknown', sessionLost: true, cause } as const;
  return new HttpRequestError('MESSAGE_TOO_LARGE', message, details);
}

/**
 * The response to the request `id` that a refusal holds: servers without sessions tell of JSON-RPC
 * errors with a status of their own. Credentials that are refused are no word of the protocol.
 */
export function responseIn(error: unknown, id: string | number): JSONRPCMessage | undefined {
  const { status = 0, body = '' } = ownError(error);
  if (status < 400 || status > 499 || status === 401 || status === 403) return undefined;
  try {
    const [message] = parseMessages(body);
    return message !== undefined && 'error' in message && message.id === id ? message : undefined;
  } catch {
    return undefined;
  }
}

/** Codes of errors that say the caller, not the network, is to blame. */
const CALLERS = new Set(['UND_ERR_INVALID_ARG', 'UND_ERR_NOT_SUPPORTED']);
/** zlib's. */
const DECODING = /^(Z_|ERR_BROTLI|ERR__ERROR_FORMAT)/;

/** Whether `error` tells of a connection: Node, undici, TLS and proxies give such errors a code. */
function isNetworkError(error: unknown): boolean {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' && !CALLERS.has(code) && !DECODING.test(code);
}
