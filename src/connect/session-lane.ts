// The session's own lane: answers what the server asks of nobody in particular, and asks whether
// the server is still there. No SDK client: one costs 4 KiB for as long as the session lives.

import type { JSONRPCMessage, JSONRPCRequest, RequestId } from '@modelcontextprotocol/sdk/types.js';
import { againstSignal } from '../against-signal.ts';
import type { Lane, Link } from './lane.ts';

const METHOD_NOT_FOUND = -32_601;

/** See the file header. */
export class SessionLane implements Lane {
  readonly headers = undefined;
  readonly #link: Link;
  #pings = 0;
  /** Answers to pings, until `ping` takes them. */
  #answers: Map<RequestId, JSONRPCMessage> | undefined;

  constructor(link: Link) {
    this.#link = link;
  }

  /**
   * Settles when the server answers a ping; "method not found" is an answer. Rejects when it
   * answers with another error, when the ping can't be sent, and at once when `signal` aborts.
   */
  async ping(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#pings += 1;
    const id = this.#pings;
    const call = this.#link.call(this, { jsonrpc: '2.0', id, method: 'ping' });
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
    if (code === METHOD_NOT_FOUND) return;
    throw Object.assign(new Error('The server answered a ping with an error'), { code });
  }

  deliver(message: JSONRPCMessage): void {
    if (!('method' in message)) {
      this.#answers ??= new Map();
      if (message.id !== undefined) this.#answers.set(message.id, message);
    } else if ('id' in message) {
      this.#answer(message);
    }
  }

  forget(): void {
    // Calls are known by what `ping` awaits.
  }

  closed(): void {
    this.#answers = undefined;
  }

  #answer({ id, method }: JSONRPCRequest): void {
    const answer =
      method === 'ping'
        ? { result: {} }
        : { error: { code: METHOD_NOT_FOUND, message: 'Method not found' } };
    this.#link
      .respond(this, { jsonrpc: '2.0', id, ...answer })
      .catch((error: unknown) => this.#link.report(error));
  }
}
