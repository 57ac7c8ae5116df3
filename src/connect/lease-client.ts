// The SDK `Client` that a lease's borrower works with: fresh per lease, usable in the turn it was
// made, and dead for good once the lease has ended. Sits on a lease transport; knows no session.

import type { ClientOptions } from '@modelcontextprotocol/sdk/client/index.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type {
  AnyObjectSchema,
  AnySchema,
  SchemaOutput,
} from '@modelcontextprotocol/sdk/server/zod-compat.js';
import type {
  NotificationOptions,
  RequestHandlerExtra,
  RequestOptions,
} from '@modelcontextprotocol/sdk/shared/protocol.js';
import type {
  ClientNotification,
  ClientRequest,
  ClientResult,
  Implementation,
  InitializeResult,
  Notification,
  Request,
  Result,
  ServerCapabilities,
} from '@modelcontextprotocol/sdk/types.js';
import type { AbortFanout } from '../abort-fanout.ts';
import type { ServerNotificationHandler, ServerRequestHandler } from './connector.ts';
import type { LeaseTransport } from './lease-transport.ts';

/** What a lease client is made of. */
export interface LeaseClientOptions {
  readonly transport: LeaseTransport;
  readonly clientInfo: Implementation;
  /**
   * `capabilities` and a `jsonSchemaValidator` included: the SDK's default one costs 200-800 µs.
   */
  readonly clientOptions: ClientOptions;
  /** The session's `initialize` result. */
  readonly handshake: Readonly<Record<string, unknown>>;
  /** Follows the signals of calls; one for many clients, which may be given the same signal. */
  readonly aborts: AbortFanout;
  readonly onRequest?: ServerRequestHandler | undefined;
  readonly onNotification?: ServerNotificationHandler | undefined;
}

/**
 * Why a subclass: a lease is lent synchronously, but the SDK learns the server's capabilities from
 * a handshake that takes a few microtasks, even when it is answered locally. Until then the
 * getters answer from the stored result, and requests wait for it. Afterwards the subclass adds
 * the lease's end (an error with a code instead of "Not connected"), and it keeps the caller's
 * signal free of the listeners that the SDK leaves on it. Uses only what the SDK makes public.
 */
export class LeaseClient extends Client {
  readonly #lease: LeaseTransport;
  readonly #handshake: InitializeResult;
  readonly #aborts: AbortFanout;
  /** Settles when the local handshake is over. `undefined` from then on. */
  #connecting: Promise<void> | undefined;

  constructor(options: LeaseClientOptions) {
    super(options.clientInfo, options.clientOptions);
    this.#lease = options.transport;
    this.#lease.hasCloseListener = () => this.onclose !== undefined;
    this.#handshake = options.handshake as InitializeResult;
    this.#aborts = options.aborts;
    const { onRequest, onNotification } = options;
    if (onRequest) {
      this.fallbackRequestHandler = async (request, { signal }) => onRequest(request, { signal });
    }
    if (onNotification) {
      this.fallbackNotificationHandler = async (notification) =>
        onNotification({ ...notification, jsonrpc: '2.0' });
    }
    // What the SDK swallows otherwise: handlers that throw, answers that could not be sent.
    this.onerror = (error) => this.#lease.report(error);
    const onConnected = (): void => {
      this.#connecting = undefined;
    };
    // Never rejects: it fails only when the lease ends before it, and calls say so themselves.
    this.#connecting = super.connect(options.transport).then(onConnected, onConnected);
  }

  /** Whether the server can have acted on anything that was sent. Told also after the lease. */
  get mayHaveExecuted(): boolean {
    return this.#lease.mayHaveExecuted;
  }

  /** Always rejects: the pool connected this client, and a lease is of one session only. */
  override connect(): Promise<void> {
    return Promise.reject(
      new Error('The client of a lease is connected already; acquire another lease instead'),
    );
  }

  /** Ends the lease. */
  override close(): Promise<void> {
    return this.#lease.close();
  }

  override getServerCapabilities(): ServerCapabilities | undefined {
    return super.getServerCapabilities() ?? this.#handshake.capabilities;
  }

  override getServerVersion(): Implementation | undefined {
    return super.getServerVersion() ?? this.#handshake.serverInfo;
  }

  override getInstructions(): string | undefined {
    return super.getInstructions() ?? this.#handshake.instructions;
  }

  override setRequestHandler<T extends AnyObjectSchema>(
    requestSchema: T,
    handler: (
      request: SchemaOutput<T>,
      extra: RequestHandlerExtra<ClientRequest | Request, ClientNotification | Notification>,
    ) => ClientResult | Result | Promise<ClientResult | Result>,
  ): void {
    super.setRequestHandler(requestSchema, handler);
    // Not there yet when the SDK's constructor sets its own handlers, which nobody asked for.
    if (#lease in this) this.#lease.onListening?.();
  }

  override setNotificationHandler<T extends AnyObjectSchema>(
    notificationSchema: T,
    handler: (notification: SchemaOutput<T>) => void | Promise<void>,
  ): void {
    super.setNotificationHandler(notificationSchema, handler);
    if (#lease in this) this.#lease.onListening?.();
  }

  override request<T extends AnySchema>(
    request: ClientRequest | Request,
    resultSchema: T,
    options?: RequestOptions,
  ): Promise<SchemaOutput<T>> {
    const gone = this.#lease.gone();
    if (gone !== undefined) return Promise.reject(gone);
    if (this.#connecting !== undefined && request.method !== 'initialize') {
      return this.#connecting.then(() => this.request(request, resultSchema, options));
    }
    const signal = options?.signal;
    if (signal === undefined) {
      return super.request(request, resultSchema, options).catch((error: unknown) => {
        this.#lease.failed(error, false);
        throw error;
      });
    }
    // Row 14c: the SDK never takes its listener off the signal (2.6 kB per call), so it gets one
    // that ends with the call. The caller's signal has one listener, however many calls follow it.
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal.reason);
    if (signal.aborted) onAbort();
    else this.#aborts.follow(signal, onAbort);
    return super
      .request(request, resultSchema, { ...options, signal: controller.signal })
      .catch((error: unknown) => {
        this.#lease.failed(error, signal.aborted);
        throw error;
      })
      .finally(() => this.#aborts.unfollow(signal, onAbort));
  }

  override async notification(
    notification: ClientNotification | Notification,
    options?: NotificationOptions,
  ): Promise<void> {
    const isHandshake = notification.method === 'notifications/initialized';
    if (this.#connecting !== undefined && !isHandshake) await this.#connecting;
    const gone = this.#lease.gone();
    if (gone !== undefined) throw gone;
    await super.notification(notification, options);
  }
}
