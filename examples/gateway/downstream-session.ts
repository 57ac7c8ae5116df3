// The HTTP side of one downstream session: the SDK's own server transport, which responses are open
// on it, and when it is over. Its id is the affinity of its upstream session: the two begin and end
// together.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import type {
  JSONRPCNotification,
  JSONRPCRequest,
  RequestId,
  Result,
} from '@modelcontextprotocol/sdk/types.js';
import { badRequest } from './door.ts';
import { methodNotFound } from './refusals.ts';
import { Relay, type RelayOptions } from './relay.ts';

export interface DownstreamSessionOptions extends Omit<RelayOptions, 'outside'> {
  readonly id: string;
  readonly userId: string;
  readonly serverName: string;
  /** Called once. */
  readonly onEnd: () => void;
}

const CANCELLED = { code: -32_000, message: 'Cancelled' } as const;

export class DownstreamSession {
  readonly id: string;
  readonly userId: string;
  readonly serverName: string;
  readonly #options: DownstreamSessionOptions;
  readonly #transport: StreamableHTTPServerTransport;
  readonly #relay: Relay;
  /** Every response that has not ended. */
  readonly #open = new Set<ServerResponse>();
  /** Those of them that answer a request, by its id. */
  readonly #answers = new Map<RequestId, ServerResponse>();
  /** The one for what belongs to no request (GET). */
  #stream: ServerResponse | undefined;
  /** Runs from the last request. */
  readonly #idle: NodeJS.Timeout;
  /** Runs while the client seems to be gone. */
  #grace: NodeJS.Timeout | undefined;
  #hasEnded = false;

  constructor(options: DownstreamSessionOptions) {
    this.#options = options;
    this.id = options.id;
    this.userId = options.userId;
    this.serverName = options.serverName;
    this.#transport = new StreamableHTTPServerTransport({ sessionIdGenerator: () => options.id });
    const outside = {
      isSlow: (id?: RequestId) => this.#isSlow(id),
      forget: (id: RequestId) => this.#forget(id),
    };
    this.#relay = new Relay({ ...options, outside }, () => this.end());
    this.#idle = setTimeout(() => this.#onIdle(), options.limits.sessionIdleMs);
  }

  /** Whether the upstream session was lost: the client has to begin anew. */
  get isLost(): boolean {
    return this.#relay.isLost;
  }

  /** Takes the `initialize` that the session is opened for. */
  async open(request: IncomingMessage, response: ServerResponse, message: object): Promise<void> {
    // The SDK's own types disagree here under `exactOptionalPropertyTypes`.
    await this.#relay.connect(this.#transport as Transport);
    await this.handle(request, response, message);
    // The SDK refused it: nobody knows the session's id.
    if (this.#transport.sessionId === undefined) this.end();
  }

  /** `message`: the body of a POST. */
  async handle(
    request: IncomingMessage,
    response: ServerResponse,
    message?: object,
  ): Promise<void> {
    if (response.destroyed) return;
    this.#watch(request, response, message);
    await this.#transport.handleRequest(request, response, message);
  }

  hear(notification: JSONRPCNotification): void {
    this.#relay.hear(notification);
  }

  async ask(request: JSONRPCRequest, signal: AbortSignal): Promise<Result> {
    // Without a stream it would never get there, and the server would wait for nothing.
    if (this.#stream === undefined) throw methodNotFound();
    return this.#relay.ask(request, signal);
  }

  /** Ends it, here and upstream. A no-op once ended. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearTimeout(this.#idle);
    clearTimeout(this.#grace);
    this.#relay.end();
    this.#options.onEnd();
  }

  #watch(request: IncomingMessage, response: ServerResponse, message: object | undefined): void {
    const requestId = requestIdOf(message);
    // One of the two could not be taken back.
    if (requestId !== undefined && this.#answers.has(requestId)) throw badRequest('Id in use');
    this.#open.add(response);
    if (requestId !== undefined) this.#answers.set(requestId, response);
    if (request.method === 'GET') this.#stream ??= response;
    clearTimeout(this.#grace);
    this.#idle.refresh();
    response.once('close', () => {
      this.#open.delete(response);
      if (this.#stream === response) this.#stream = undefined;
      if (requestId !== undefined) {
        this.#answers.delete(requestId);
        // Nobody can read the answer any more: there is no other stream that it could come on.
        if (!response.writableFinished) this.#takeBack(requestId);
      }
      if (!this.#hasEnded) this.#onResponseOver(!response.writableFinished);
    });
  }

  #onResponseOver(wasCut: boolean): void {
    this.#idle.refresh();
    // Order: not before the calls that found out have been answered.
    if (this.isLost && this.#answers.size === 0) this.end();
    else if (wasCut && this.#open.size === 0) {
      this.#grace = setTimeout(() => this.end(), this.#options.limits.vanishGraceMs);
    }
  }

  #onIdle(): void {
    if (this.#answers.size > 0) this.#idle.refresh();
    else this.end();
  }

  /** As if the client had said so itself. */
  #takeBack(requestId: RequestId): void {
    const params = { requestId, reason: 'The client is gone' };
    this.#transport.onmessage?.({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
  }

  /**
   * A request that was taken back gets no answer, and the SDK's transport would hold its stream
   * and its id until the session ends.
   */
  #forget(id: RequestId): void {
    this.#transport.closeSSEStream(id);
    // Its stream is closed, so this sends nothing: it makes the transport let go of the id.
    this.#transport.send({ jsonrpc: '2.0', id, error: CANCELLED }).catch(() => {});
  }

  /** Bound: who does not read loses notifications, and never an answer. */
  #isSlow(id: RequestId | undefined): boolean {
    const response = id === undefined ? this.#stream : this.#answers.get(id);
    return response?.writableNeedDrain === true;
  }
}

function requestIdOf(message: object | undefined): RequestId | undefined {
  const { method, id } = Object(message) as { method?: string; id?: RequestId };
  return method === undefined ? undefined : id;
}
