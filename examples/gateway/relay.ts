// The MCP side of one downstream session: each of its requests becomes one call on a lease of the
// pool, and what the upstream server sends in the meantime goes back to where the call came from.
// Results pass as they are: a gateway has no business with what is in them. Knows no HTTP.

import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  type Implementation,
  type JSONRPCNotification,
  type JSONRPCRequest,
  type Progress,
  type RequestId,
  type Result,
  ResultSchema,
  type ServerCapabilities,
  type ServerNotification,
  type ServerRequest,
  type ServerResult,
} from '@modelcontextprotocol/sdk/types.js';
import type { Lease, SessionPool, SessionTarget } from 'mcp-session-pool';
import type { Limits } from './config.ts';
import { methodNotFound, refusalOf, sessionEnded, sessionGone, unavailable } from './refusals.ts';
import { isCall, isNews, isNewsOfCall, isQuestion } from './relayed.ts';

/** What the upstream server said of itself. */
export interface Offer {
  readonly serverInfo: Implementation;
  readonly capabilities: ServerCapabilities;
  readonly instructions: string | undefined;
}

/** What the HTTP side does for this one. */
export interface Outside {
  /**
   * Whether the client is too slow for what is sent to it on that request's response; without one,
   * on the stream for what belongs to no request.
   */
  isSlow(requestId?: RequestId): boolean;
  /** The client took the request back: its response is not to be waited for. */
  forget(requestId: RequestId): void;
}

export interface RelayOptions {
  readonly pool: SessionPool;
  readonly target: SessionTarget;
  readonly offer: Offer;
  readonly limits: Limits;
  readonly outside: Outside;
}

type Extra = Parameters<NonNullable<Server['fallbackRequestHandler']>>[1];

/** Sending to a client that is leaving fails; its session ends for other reasons than that. */
const ignore = (): void => {};

/** Nothing is validated here, and a validator for each session would be most of what it costs. */
const NO_VALIDATOR = {
  getValidator: (): never => {
    throw new Error('Results pass as they are');
  },
};

export class Relay {
  readonly #options: RelayOptions;
  readonly #server: Server;
  readonly #hasOwnSession: boolean;
  /** Calls under way. */
  readonly #calls = new Set<AbortController>();
  #isLost = false;

  constructor(options: RelayOptions, onEnd: () => void) {
    this.#options = options;
    this.#hasOwnSession = options.target.affinity !== undefined;
    const { serverInfo, capabilities, instructions } = options.offer;
    const said = instructions === undefined ? {} : { instructions };
    // Not `McpServer`: that one answers by itself what is to be asked upstream.
    const server = new Server(serverInfo, {
      capabilities,
      ...said,
      jsonSchemaValidator: NO_VALIDATOR,
    });
    // The SDK would keep the level here; the upstream session is where it belongs.
    server.removeRequestHandler('logging/setLevel');
    server.fallbackRequestHandler = (request, extra) => this.#relay(request, extra);
    server.fallbackNotificationHandler = ({ method, params }) => this.#tell(method, params);
    server.onclose = onEnd;
    this.#server = server;
  }

  /** The upstream session is gone, and this one with it: nothing new may begin. */
  get isLost(): boolean {
    return this.#isLost;
  }

  connect(transport: Transport): Promise<void> {
    return this.#server.connect(transport);
  }

  /** Ends the calls under way and closes. */
  end(): void {
    for (const call of this.#calls) call.abort(sessionEnded());
    // Order: each of them is answered first. The client would wait for its own timeout otherwise.
    setImmediate(() => {
      this.#server.close().catch(ignore);
    });
  }

  /** What the upstream session says outside of any call. */
  hear({ method, params }: JSONRPCNotification): void {
    if (!isNews(method) || this.#options.outside.isSlow()) return;
    this.#server.notification({ method, params } as ServerNotification).catch(ignore);
  }

  /** What it asks outside of any call. Only while the client listens for it. */
  async ask(request: JSONRPCRequest, signal: AbortSignal): Promise<Result> {
    return this.#question(request, undefined, (question, options) =>
      this.#server.request(question, ResultSchema, { ...options, signal }),
    );
  }

  async #relay(request: JSONRPCRequest, extra: Extra): Promise<ServerResult> {
    const { pool, target, limits, outside } = this.#options;
    if (!isCall(request.method, this.#hasOwnSession)) throw methodNotFound();
    if (this.#calls.size >= limits.maxCallsPerSession) {
      throw unavailable('TOO_MANY_CALLS', 'Too many calls are under way');
    }
    const work = (client: Client, lease: Lease): Promise<Result> =>
      this.#call({ client, lease, request, extra });
    const controller = new AbortController();
    const { signal } = controller;
    // The client took it back, or is gone: the call is cancelled upstream, the lease ends.
    extra.signal.addEventListener('abort', () => controller.abort(extra.signal.reason));
    this.#calls.add(controller);
    try {
      return await pool.use(target, work, {
        signal,
        onRequest: (question, context) =>
          this.#question(question, extra.requestId, (asked, options) =>
            extra.sendRequest(asked, ResultSchema, { ...options, signal: context.signal }),
          ),
        onNotification: ({ method, params }) => {
          if (!isNewsOfCall(method) || outside.isSlow(extra.requestId)) return;
          extra.sendNotification({ method, params } as ServerNotification).catch(ignore);
        },
      });
    } catch (error) {
      const refusal = refusalOf(error);
      const { code } = Object(refusal.data) as { code?: unknown };
      if (this.#hasOwnSession && code === 'SESSION_LOST') this.#isLost = true;
      throw refusal;
    } finally {
      this.#calls.delete(controller);
      if (extra.signal.aborted) outside.forget(extra.requestId);
    }
  }

  async #call(call: {
    readonly client: Client;
    readonly lease: Lease;
    readonly request: JSONRPCRequest;
    readonly extra: Extra;
  }): Promise<Result> {
    const { client, lease, extra } = call;
    const { method, params } = call.request;
    // The pool has opened another upstream session, which knows nothing of what this downstream
    // session did before. Order: whoever sees it first marks it for those that come after.
    if (this.#hasOwnSession && (!lease.reused || this.#isLost)) throw sessionGone('not-executed');
    const { limits, outside } = this.#options;
    const progressToken = params?._meta?.progressToken;
    const onprogress = (progress: Progress): void => {
      if (progressToken === undefined || outside.isSlow(extra.requestId)) return;
      const told = { method: 'notifications/progress', params: { ...progress, progressToken } };
      extra.sendNotification(told as ServerNotification).catch(ignore);
    };
    return client.request({ method, ...(params && { params }) }, ResultSchema, {
      timeout: limits.callTimeoutMs,
      maxTotalTimeout: limits.maxCallMs,
      resetTimeoutOnProgress: true,
      ...(progressToken !== undefined && { onprogress }),
    });
  }

  /**
   * Passes a question of the upstream server on, and the client's answer back. `during`: the call
   * that it is asked in.
   */
  async #question(
    { method, params }: JSONRPCRequest,
    during: RequestId | undefined,
    send: (question: ServerRequest, options: { readonly timeout: number }) => Promise<Result>,
  ): Promise<Result> {
    if (!isQuestion(method)) throw methodNotFound();
    // Who does not read answers nothing either, and questions would pile up in memory.
    if (this.#options.outside.isSlow(during)) {
      throw unavailable('CLIENT_TOO_SLOW', 'The client does not read what it is asked');
    }
    try {
      const question = { method, ...(params && { params }) } as ServerRequest;
      return await send(question, { timeout: this.#options.limits.callTimeoutMs });
    } catch (error) {
      throw refusalOf(error);
    }
  }

  /** What the client tells. Cancellation and progress are the SDK's to take. */
  async #tell(method: string, params: Record<string, unknown> | undefined): Promise<void> {
    if (method !== 'notifications/roots/list_changed' || !this.#hasOwnSession) return;
    const { pool, target } = this.#options;
    await pool.use(target, (client) => client.notification({ method, ...(params && { params }) }));
  }
}
