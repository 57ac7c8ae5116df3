// The pool's own handlers for what servers send to no lease in particular, wrapped so that sessions
// can call them: they run after the turn that calls them, what they throw becomes an answer or a
// count, and nothing of theirs delays or breaks a session (Invariant I10).

import type {
  JSONRPCNotification,
  JSONRPCRequest,
  Result,
} from '@modelcontextprotocol/sdk/types.js';
import type { ServerAnswer, ServerRequestContext, SessionHandlers } from './connect/connector.ts';

/** The session that a message came over. Plain data: no credential and no session id. */
export interface ServerMessageSource {
  /** Opaque id of the key: the one in events, logs and errors. */
  readonly key: string;
  /** The server's origin or name. */
  readonly server: string;
  /** As the target named them. All that borrowed the session named the same. */
  readonly identity: string | undefined;
  readonly affinity: string | undefined;
}

/** What a pool's `onRequest` is told beside the request. */
export interface PoolRequestContext extends ServerMessageSource, ServerRequestContext {}

/** Answers a request of a server that belongs to no lease. */
export type PoolRequestHandler = (
  request: JSONRPCRequest,
  context: PoolRequestContext,
) => Result | Promise<Result>;

/** Receives a notification of a server that belongs to no lease. */
export type PoolNotificationHandler = (
  notification: JSONRPCNotification,
  source: ServerMessageSource,
) => void | Promise<void>;

/** What the wrapped handlers are made of. */
export interface PoolHandlersOptions {
  readonly onRequest: PoolRequestHandler | undefined;
  readonly onNotification: PoolNotificationHandler | undefined;
  readonly source: ServerMessageSource;
  /** Told what a handler threw that was not meant for the server. */
  readonly report: (error: unknown) => void;
}

type AnswerError = Extract<ServerAnswer, { readonly error: unknown }>['error'];

/** What a server is told of an error that was not meant for it. */
const INTERNAL = { code: -32_603, message: 'Internal error' } as const;
/** Integers that are codes of something else: DOM errors count from 1, HTTP statuses end here. */
const FOREIGN_CODE_MAX = 599;

/** See the file header. Has a member only where there is a handler. */
export function poolHandlers(options: PoolHandlersOptions): SessionHandlers {
  const { onRequest, onNotification, report } = options;
  const source = Object.freeze({ ...options.source });
  return {
    ...(onRequest && {
      onRequest: (request, { signal }) =>
        answerOf(() => onRequest(request, { ...source, signal }), signal, report),
    }),
    ...(onNotification && {
      onNotification: (notification) => {
        const told = Promise.resolve().then(() => onNotification(notification, source));
        told.catch(report);
      },
    }),
  };
}

async function answerOf(
  handle: () => Result | Promise<Result>,
  signal: AbortSignal,
  report: (error: unknown) => void,
): Promise<ServerAnswer> {
  try {
    // Order: the turn of the session that asks ends first.
    await Promise.resolve();
    // Taken back in the same turn: a handler would wait for an abort that it can't hear any more.
    signal.throwIfAborted();
    return { result: sendable(await handle()) };
  } catch (error) {
    const own = ownAnswer(error);
    // Who gives up because nobody waits any more did nothing wrong.
    if (own === undefined && !signal.aborted) report(error);
    return { error: own ?? INTERNAL };
  }
}

/** @throws TypeError for what is no JSON object: sent as it is, it would be no answer. */
function sendable(result: Result): Result {
  if (typeof result !== 'object' || result === null || JSON.stringify(result)[0] !== '{') {
    throw new TypeError('Expected `onRequest` to give an object');
  }
  return result;
}

/** The answer that a handler meant to give by throwing: an error with a code of its own. */
function ownAnswer(thrown: unknown): AnswerError | undefined {
  try {
    const { code, message, data } = Object(thrown) as Record<string, unknown>;
    if (
      !Number.isSafeInteger(code) ||
      ((code as number) >= 0 && (code as number) <= FOREIGN_CODE_MAX)
    ) {
      return undefined;
    }
    const text = typeof message === 'string' ? message : INTERNAL.message;
    const error = { code: code as number, message: text };
    if (data === undefined) return error;
    return { ...error, data: JSON.parse(JSON.stringify(data)) as unknown };
  } catch {
    // It can't be read or sent.
    return undefined;
  }
}
