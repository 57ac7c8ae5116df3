// The client of SDK 2 that a lease's borrower works with: fresh per lease, usable in the turn it
// was made, and dead for good once the lease has ended. Sits on a lease transport; knows no
// session.

import {
  Client,
  type ClientContext,
  type ClientOptions,
  type ConnectOptions,
  type DiscoverResult,
  type Request,
  type RequestMethod,
  type RequestOptions,
  type ResultTypeMap,
  type StandardSchemaV1,
  type Transport,
} from '@modelcontextprotocol/client';
import type { AbortFanout } from '../abort-fanout.ts';
import { againstSignal } from '../against-signal.ts';
import type { ServerRequestHandler } from '../connect/connector.ts';
import type { LeaseTransport } from '../connect/lease-transport.ts';
import type { LeaseClientOptions, LentClient } from '../connect/sdk-line.ts';
import { endedInFlight } from '../connect/session-loss.ts';

type Handshake = Readonly<Record<string, unknown>>;
type Info = ReturnType<Client['getServerVersion']>;
type Handler = (request: unknown, context: { mcpReq: { signal: AbortSignal } }) => unknown;

/** What a server without sessions asks for in the answer to a call, by the capability it needs. */
const INPUTS = {
  elicitation: 'elicitation/create',
  sampling: 'sampling/createMessage',
  roots: 'roots/list',
} as const;
/** Takes what there is: the SDK itself checks what is asked, and what is answered. */
const ANYTHING: StandardSchemaV1<Record<string, unknown>> = {
  '~standard': {
    version: 1,
    vendor: 'mcp-session-pool',
    validate: (value) => ({ value: value as Record<string, unknown> }),
  },
};
/** How a server without sessions names itself. */
const SERVER_INFO = 'io.modelcontextprotocol/serverInfo';

/**
 * Why a subclass: a lease is lent synchronously, but the SDK takes a few microtasks to connect,
 * even with nothing to ask the server. Until then the getters answer from the stored result, and
 * calls wait. Afterwards the subclass adds the lease's end (an error with a code instead of "Not
 * connected"), and keeps the caller's signal at one listener, however many calls follow it. Uses
 * only what the SDK makes public.
 */
export class LeaseClient extends Client implements LentClient {
  readonly #lease: LeaseTransport;
  readonly #handshake: Handshake;
  readonly #isSessionless: boolean;
  readonly #version: string | undefined;
  readonly #aborts: AbortFanout;
  /** Settles when the client is connected. `undefined` from then on. */
  #connecting: Promise<void> | undefined;
  /** Aborts with the lease. There is none before a handler is asked something in an answer. */
  #ended: AbortController | undefined;

  constructor(options: LeaseClientOptions) {
    super(options.clientInfo, options.clientOptions as ClientOptions);
    const { transport, handshake, isSessionless = false, onRequest, onNotification } = options;
    this.#lease = transport;
    this.#lease.hasCloseListener = () => (this.#ended ?? this.onclose) !== undefined;
    // The SDK chains what was there before it.
    transport.onclose = () => this.#ended?.abort(this.#endedUnderWay());
    this.#handshake = handshake;
    this.#isSessionless = isSessionless;
    this.#version = options.version;
    this.#aborts = options.aborts;
    if (onRequest)
      this.#answerWith(onRequest, Object.keys(options.clientOptions.capabilities ?? {}));
    if (onNotification) {
      this.fallbackNotificationHandler = async (notification) =>
        onNotification({ ...notification, jsonrpc: '2.0' });
    }
    // What the SDK swallows otherwise: handlers that throw, answers that could not be sent.
    this.onerror = (error) => this.#lease.report(error);
    const onConnected = (): void => {
      this.#connecting = undefined;
    };
    const prior: ConnectOptions['prior'] = isSessionless
      ? { kind: 'modern', discover: this.#discover }
      : { kind: 'legacy' };
    // Never rejects: it fails only when the lease ends before it, and calls say so themselves.
    this.#connecting = super
      .connect(transport as unknown as Transport, { prior })
      .then(onConnected, onConnected);
  }

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

  override getServerCapabilities(): ReturnType<Client['getServerCapabilities']> {
    return super.getServerCapabilities() ?? this.#told('capabilities');
  }

  override getServerVersion(): Info {
    if (!this.#isSessionless) return super.getServerVersion() ?? this.#told('serverInfo');
    const meta = this.#told('_meta') as Handshake | undefined;
    return super.getServerVersion() ?? (meta?.[SERVER_INFO] as Info);
  }

  override getInstructions(): string | undefined {
    return super.getInstructions() ?? this.#told('instructions');
  }

  override getProtocolEra(): ReturnType<Client['getProtocolEra']> {
    return super.getProtocolEra() ?? (this.#isSessionless ? 'modern' : 'legacy');
  }

  override getNegotiatedProtocolVersion(): string | undefined {
    const told = this.#isSessionless ? this.#version : this.#told<string>('protocolVersion');
    return super.getNegotiatedProtocolVersion() ?? told;
  }

  override getDiscoverResult(): DiscoverResult | undefined {
    return super.getDiscoverResult() ?? (this.#isSessionless ? this.#discover : undefined);
  }

  // `never[]`: whatever its overloads take.
  override setRequestHandler(...args: never[]): void {
    type Given = Parameters<Client['setRequestHandler']>;
    const given: unknown[] = args;
    const handler = given.at(-1);
    // Not there yet when the SDK's constructor sets its own handlers, which nobody asked for.
    const isOwn = !(#lease in this);
    if (!isOwn && this.#isSessionless && typeof handler === 'function') {
      given.splice(-1, 1, this.#untilEnd(handler as Handler));
    }
    super.setRequestHandler(...(given as unknown as Given));
    if (!isOwn) this.#lease.onListening?.();
  }

  override setNotificationHandler(...args: never[]): void {
    type Given = Parameters<Client['setNotificationHandler']>;
    super.setNotificationHandler(...(args as unknown as Given));
    if (#lease in this) this.#lease.onListening?.();
  }

  override callTool(...args: Parameters<Client['callTool']>): ReturnType<Client['callTool']> {
    return this.#onceConnected(() => super.callTool(...args));
  }

  override listTools(...args: Parameters<Client['listTools']>): ReturnType<Client['listTools']> {
    return this.#onceConnected(() => super.listTools(...args));
  }

  override listPrompts(
    ...args: Parameters<Client['listPrompts']>
  ): ReturnType<Client['listPrompts']> {
    return this.#onceConnected(() => super.listPrompts(...args));
  }

  override listResources(
    ...args: Parameters<Client['listResources']>
  ): ReturnType<Client['listResources']> {
    return this.#onceConnected(() => super.listResources(...args));
  }

  override listResourceTemplates(
    ...args: Parameters<Client['listResourceTemplates']>
  ): ReturnType<Client['listResourceTemplates']> {
    return this.#onceConnected(() => super.listResourceTemplates(...args));
  }

  override readResource(
    ...args: Parameters<Client['readResource']>
  ): ReturnType<Client['readResource']> {
    return this.#onceConnected(() => super.readResource(...args));
  }

  override listen(...args: Parameters<Client['listen']>): ReturnType<Client['listen']> {
    return this.#onceConnected(() => super.listen(...args));
  }

  override discover(...args: Parameters<Client['discover']>): ReturnType<Client['discover']> {
    return this.#onceConnected(() => super.discover(...args));
  }

  override request<M extends RequestMethod>(
    request: { method: M; params?: Record<string, unknown> },
    options?: RequestOptions,
  ): Promise<ResultTypeMap[M]>;
  override request<T extends StandardSchemaV1>(
    request: Request,
    resultSchema: T,
    options?: RequestOptions,
  ): Promise<StandardSchemaV1.InferOutput<T>>;
  // Every other method that asks the server for something sends through this one.
  override request(request: Request, ...rest: unknown[]): Promise<unknown> {
    const gone = this.#lease.gone();
    if (gone !== undefined) return Promise.reject(gone);
    const send = super.request as (...args: unknown[]) => Promise<unknown>;
    if (this.#connecting !== undefined && request.method !== 'initialize') {
      return this.#connecting.then(() => (this.request as typeof send)(request, ...rest));
    }
    const options = rest.at(-1) as RequestOptions | undefined;
    const signal = rest.length > 0 ? options?.signal : undefined;
    if (signal === undefined) {
      return send
        .call(this, request, ...rest)
        .catch((error: unknown) => this.#failed(error, false));
    }
    // The caller's signal has one listener, however many calls follow it.
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal.reason);
    if (signal.aborted) onAbort();
    else this.#aborts.follow(signal, onAbort);
    const own = { ...options, signal: controller.signal };
    return send
      .call(this, request, ...rest.slice(0, -1), own)
      .catch((error: unknown) => this.#failed(error, signal.aborted))
      .finally(() => this.#aborts.unfollow(signal, onAbort));
  }

  override async notification(...args: Parameters<Client['notification']>): Promise<void> {
    const isHandshake = args[0].method === 'notifications/initialized';
    if (this.#connecting !== undefined && !isHandshake) await this.#connecting;
    const gone = this.#lease.gone();
    if (gone !== undefined) throw gone;
    await super.notification(...args);
  }

  #failed(error: unknown, aborted: boolean): never {
    // What the SDK says to a round of its own that begins after the lease's end.
    const isLate = (error as Partial<Error>)?.message === 'Not connected';
    if (isLate && this.#lease.gone() !== undefined) throw this.#endedUnderWay();
    this.#lease.failed(error, aborted);
    throw error;
  }

  /** What calls between two rounds reject with: the server has seen the first. */
  #endedUnderWay(): Error | undefined {
    const gone = this.#lease.gone();
    return gone && endedInFlight(gone, gone);
  }

  /** For calls that look at what the SDK learns while it connects, or at its cache. */
  #onceConnected<T>(run: () => Promise<T>): Promise<T> {
    const gone = this.#lease.gone();
    if (gone !== undefined) return Promise.reject(gone);
    return this.#connecting === undefined
      ? run()
      : this.#connecting.then(() => this.#onceConnected(run));
  }

  /** Without sessions, servers ask in answers, and the SDK asks no fallback handler for them. */
  #answerWith(onRequest: ServerRequestHandler, capabilities: readonly string[]): void {
    this.fallbackRequestHandler = async (request, { mcpReq: { signal } }) =>
      onRequest(request, { signal });
    if (!this.#isSessionless) return;
    for (const [capability, method] of Object.entries(INPUTS)) {
      if (!capabilities.includes(capability)) continue;
      const answer = (params: Record<string, unknown>, { mcpReq: { id, signal } }: ClientContext) =>
        onRequest({ jsonrpc: '2.0', id, method, params }, { signal });
      const untilEnd = this.#untilEnd(answer as Handler) as (...args: unknown[]) => Promise<never>;
      super.setRequestHandler(method, { params: ANYTHING }, untilEnd);
    }
  }

  /**
   * Between the rounds of a call nothing is in flight, and the SDK waits for the handler alone: the
   * call would outlive its lease, and the caller's abort, by as long as that takes.
   */
  #untilEnd(handler: Handler): Handler {
    return async (request, context) => {
      const gone = this.#lease.gone();
      if (gone !== undefined) throw gone;
      this.#ended ??= new AbortController();
      const answer = (async () => handler(request, context))();
      return againstSignal(context.mcpReq.signal, againstSignal(this.#ended.signal, answer));
    };
  }

  get #discover(): DiscoverResult {
    return this.#handshake as unknown as DiscoverResult;
  }

  #told<T>(member: string): T | undefined {
    return this.#handshake[member] as T | undefined;
  }
}
