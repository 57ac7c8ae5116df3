// The session's own lane: takes what the server sends to nobody in particular to the pool's
// handlers, answers pings, and asks whether the server is still there. No SDK client: one costs
// 4 KiB for as long as the session lives.

import type {
  JSONRPCErrorResponse,
  JSONRPCMessage,
  JSONRPCNotification,
  JSONRPCRequest,
  JSONRPCResultResponse,
  RequestId,
} from '@modelcontextprotocol/sdk/types.js';
import { againstSignal } from '../against-signal.ts';
import type { ServerAnswer, SessionHandlers } from './connector.ts';
import type { Lane, Link } from './lane.ts';

const METHOD_NOT_FOUND = -32_601;
const NO_SUCH_METHOD = { error: { code: METHOD_NOT_FOUND, message: 'Method not found' } } as const;
/**
 * Handlers of the pool at work for one session. Bound: a server may take requests back and ask
 * again, while handlers that ignore their signal go on.
 */
const MAX_HANDLING = 1_000;
const BUSY = { error: { code: -32_603, message: 'Too many unanswered requests' } } as const;

/** See the file header. */
export class SessionLane implements Lane {
  readonly headers = undefined;
  readonly #link: Link;
  readonly #handlers: SessionHandlers;
  #pings = 0;
  /** Answers to pings, until `ping` takes them. */
  #answers: Map<RequestId, JSONRPCMessage> | undefined;
  /** The requests that a handler of the pool has and the server waits for. */
  #handled: Map<RequestId, AbortController> | undefined;
  /** Handlers of the pool that have not settled, whoever still waits. */
  #handlingCount = 0;

  constructor(link: Link, handlers: SessionHandlers) {
    this.#link = link;
    this.#handlers = handlers;
  }

  /**
   * Settles when the server answers a ping, or what stands for one. Of a ping alone, "method not
   * found" is an answer too: a server that does not know the other is none of its era any more.
   * Rejects when it answers with another error, when the ping can't be sent, and at once when
   * `signal` aborts.
   */
  async ping(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#pings += 1;
    const id = this.#pings;
    const { question } = this.#link;
    const call = this.#link.call(this, { jsonrpc: '2.0', id, ...question });
    try {
      await againstSignal(signal, call.done);
    } catch (error) {
      // A no-op unless it was aborted. A courtesy to the server, and it frees the socket.
      this.#link.cancel(call, 'Nobody waits for it any more').catch(() => {});
      throw error;
    }
    const answer = this.#answers?.get(id);
    this.#answers?.delete(id);
    if (answer === undefined || !('error' in answer)) return;
    const { code } = answer.error;
    if (code === METHOD_NOT_FOUND && question.method === 'ping') return;
    throw Object.assign(new Error('The server answered a ping with an error'), { code });
  }

  deliver(message: JSONRPCMessage): void {
    if (!('method' in message)) {
      this.#answers ??= new Map();
      if (message.id !== undefined) this.#answers.set(message.id, message);
    } else if ('id' in message) {
      this.#onRequest(message);
    } else {
      this.#onNotification(message);
    }
  }

  forget(): void {
    // Calls are known by what `ping` awaits.
  }

  closed(): void {
    this.#answers = undefined;
    const handled = this.#handled;
    this.#handled = undefined;
    if (handled === undefined) return;
    const reason = new Error('The session has ended');
    // Order: listeners of handlers run after the turn that ends the session.
    queueMicrotask(() => {
      for (const controller of handled.values()) controller.abort(reason);
    });
  }

  #onRequest(request: JSONRPCRequest): void {
    const { id, method } = request;
    const { onRequest } = this.#handlers;
    if (method === 'ping') this.#respond({ jsonrpc: '2.0', id, result: {} });
    else if (onRequest === undefined) this.#respond({ jsonrpc: '2.0', id, ...NO_SUCH_METHOD });
    else if (this.#handlingCount >= MAX_HANDLING) this.#respond({ jsonrpc: '2.0', id, ...BUSY });
    else this.#handle(request, onRequest);
  }

  #onNotification(notification: JSONRPCNotification): void {
    if (notification.method !== 'notifications/cancelled') {
      this.#handlers.onNotification?.(notification);
      return;
    }
    const id = notification.params?.['requestId'] as RequestId;
    const controller = this.#handled?.get(id);
    this.#handled?.delete(id);
    controller?.abort(new Error('The server took the request back'));
  }

  #handle(request: JSONRPCRequest, onRequest: NonNullable<SessionHandlers['onRequest']>): void {
    const { id } = request;
    const controller = new AbortController();
    this.#handled ??= new Map();
    this.#handled.set(id, controller);
    this.#handlingCount += 1;
    const { signal } = controller;
    const onAnswer = (answer: ServerAnswer): void => {
      this.#handlingCount -= 1;
      // Nobody waits for it any more; the id may be another request's by now.
      if (signal.aborted) return;
      this.#handled?.delete(id);
      this.#respond({ jsonrpc: '2.0', id, ...answer });
    };
    onRequest(request, { signal })
      .then(onAnswer)
      .catch((error: unknown) => this.#link.report(error));
  }

  #respond(message: JSONRPCResultResponse | JSONRPCErrorResponse): void {
    this.#link.respond(this, message).catch((error: unknown) => this.#link.report(error));
  }
}
