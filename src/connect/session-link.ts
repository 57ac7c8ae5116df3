// One MCP session over one upstream transport, shared by its leases: runs `initialize` once, maps
// request ids and progress tokens, and hands each answer to the lane it belongs to. Works over any
// SDK transport; knows nothing of HTTP, sockets or keys.

import type {
  Transport,
  TransportSendOptions,
} from '@modelcontextprotocol/sdk/shared/transport.js';
import type {
  JSONRPCErrorResponse,
  JSONRPCMessage,
  JSONRPCRequest,
  JSONRPCResultResponse,
  MessageExtraInfo,
} from '@modelcontextprotocol/sdk/types.js';
import { againstSignal } from '../against-signal.ts';
import { dropFrames } from '../drop-frames.ts';
import type { SessionLostError } from '../errors.ts';
import { CallTable } from './call-table.ts';
import type { LeaseContext } from './connector.ts';
import type { Call, Lane, LaneSendOptions, Link } from './lane.ts';
import { LeaseTransport } from './lease-transport.ts';
import type { SessionLinkOptions } from './link-options.ts';
import type { Handshake, Question } from './sdk-line.ts';
import { ServerMessages } from './server-messages.ts';
import { SessionFate } from './session-fate.ts';
import { SessionLane } from './session-lane.ts';
import type { SessionEnd } from './session-loss.ts';
import { lostUnsent } from './session-loss.ts';
import { asAnswer, isOutdated, subscriptionOf, takeSessionless } from './sessionless-messages.ts';

/** See the file header. */
export class SessionLink implements Link {
  /** Answers what is for no lease, and pings. */
  readonly lane: SessionLane;
  /** Knows whether the session lives, and what failures mean for it. */
  readonly fate: SessionFate;

  readonly #upstream: Transport;
  readonly #options: SessionLinkOptions;
  readonly #calls = new CallTable();
  readonly #serverMessages: ServerMessages;
  /** Errors of the transport that were reported: the SDK tells them, and rejects with them. */
  readonly #told = new WeakSet<object>();
  /** Set when the session is open. */
  #handshake: Handshake | undefined;

  constructor(upstream: Transport, options: SessionLinkOptions) {
    this.#upstream = upstream;
    this.#options = options;
    this.lane = new SessionLane(this, options);
    this.fate = new SessionFate(
      {
        isSessionless: () => this.isSessionless,
        ping: (signal) => this.lane.ping(signal),
        callCount: () => this.#calls.size,
        end: (gone) => this.#end(gone),
      },
      options,
    );
    const { exclusive, originOf, clock } = options;
    this.#serverMessages = new ServerMessages({
      calls: this.#calls,
      clock,
      root: this.lane,
      exclusive,
      originOf,
      refuse: (lane, id, error) => {
        const sent = this.send(lane, { jsonrpc: '2.0', id, error });
        sent.catch((trouble: unknown) => this.#onUpstreamError(trouble));
      },
      report: (error) => this.report(error),
    });
  }

  /** Aborts when the session is gone under us, with the reason. Not when it is fenced. */
  get lost(): AbortSignal {
    return this.fate.lost;
  }

  /** Requests in flight, over all lanes. */
  get inFlight(): readonly Call[] {
    return this.#calls.list();
  }

  /** What the server said of itself. Throws before the session is open. */
  get handshake(): Readonly<Record<string, unknown>> {
    if (this.#handshake === undefined) throw new Error('The session is not open');
    return this.#handshake.result;
  }

  get question(): Question {
    return this.#handshake?.question ?? { method: 'ping' };
  }

  /** See `Handshake`. */
  get version(): string | undefined {
    return this.#handshake?.version;
  }

  /** See `Handshake`. */
  get isSessionless(): boolean {
    return this.#handshake?.isSessionless ?? false;
  }

  /**
   * Starts the transport and runs the handshake. Rejects with the signal's reason when it aborts,
   * at once, whatever the peer does; nothing is cancelled by message then, for `initialize` must
   * not be. Whoever made the transport closes it. Called once.
   */
  async open(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const upstream = this.#upstream;
    upstream.onmessage = (message, extra) => this.#receive(message, extra);
    upstream.onerror = (error) => this.#onUpstreamError(error);
    upstream.onclose = () => this.lose(new Error('The transport was closed'));
    try {
      // Bound: `signal`.
      const { clientInfo, clientOptions, line } = this.#options;
      const setProtocolVersion = (version: string): void => upstream.setProtocolVersion?.(version);
      const party = { clientInfo, clientOptions, setProtocolVersion };
      const opened = upstream.start().then(() => line.shakeHands(this, party));
      const handshake = await againstSignal(signal, opened);
      if (this.fate.gone !== undefined) throw this.fate.gone;
      this.#handshake = handshake;
    } catch (error) {
      // What ended the session in mid-open says more than the call that noticed.
      const cause = this.fate.gone?.cause ?? error;
      this.sever(new Error('The session could not be opened', { cause }));
      throw cause;
    }
  }

  /** A transport for one lease, usable at once. */
  attach(lease: LeaseContext): LeaseTransport {
    const lane = new LeaseTransport({
      link: this,
      handshake: this.handshake,
      headers: lease.headers,
      endedWith: lease.endedWith,
      onClose: lease.end,
    });
    this.#serverMessages.join(lane);
    return lane;
  }

  /** Rung 1: nothing leaves any more; calls in flight reject. Idempotent. */
  fence(reason: Error): void {
    this.fate.fence(reason);
  }

  /** The session is gone, with what was in flight: rejects that and tells `lost`. Idempotent. */
  lose(cause: unknown): void {
    this.fate.lose(cause);
  }

  /** Rung 4: as `fence`, and lets go of the upstream transport's callbacks. */
  sever(reason: Error): void {
    this.fence(reason);
    this.#upstream.onmessage = undefined;
    this.#upstream.onerror = undefined;
    this.#upstream.onclose = undefined;
  }

  gone(): SessionEnd | undefined {
    const { gone } = this.fate;
    return gone && { message: gone.message, cause: gone.cause };
  }

  call(lane: Lane, request: JSONRPCRequest, options?: TransportSendOptions): Call {
    const { method, id: localId } = request;
    const meta = request.params?._meta;
    const progressToken = meta?.progressToken;
    const call = this.#calls.add({ lane, localId, method, progressToken });
    const message: JSONRPCRequest = { ...request, id: call.id };
    if (progressToken !== undefined) {
      message.params = { ...request.params, _meta: { ...meta, progressToken: call.id } };
    }
    this.send(lane, message, options).catch((error: unknown) => {
      if (!this.#calls.remove(call)) return;
      call.reject(error);
      this.fate.callLeft();
    });
    return call;
  }

  async cancel(call: Call, reason?: string, options?: TransportSendOptions): Promise<void> {
    const wasInFlight = this.#calls.remove(call);
    // Later: who cancels settles the call once this returns, and that comes first.
    queueMicrotask(() => this.fate.callLeft());
    if (!wasInFlight || this.fate.gone !== undefined || call.method === 'initialize') return;
    const params = { requestId: call.id, ...(reason !== undefined && { reason }) };
    const method = 'notifications/cancelled';
    await this.send(call.lane, { jsonrpc: '2.0', method, params }, options);
  }

  async respond(
    lane: Lane,
    message: JSONRPCResultResponse | JSONRPCErrorResponse,
    options?: TransportSendOptions,
  ): Promise<void> {
    if (this.#serverMessages.takeAnswer(lane, message.id)) {
      await this.send(lane, message, options);
    }
  }

  detach(lane: Lane): boolean {
    return this.#serverMessages.leave(lane);
  }

  report(error: unknown): void {
    try {
      this.#options.onTrouble?.(error);
    } catch {
      // An observer must not break the session.
    }
  }

  send(lane: Lane, message: JSONRPCMessage, options?: TransportSendOptions): Promise<void> {
    const { gone } = this.fate;
    if (gone !== undefined) return Promise.reject(lostUnsent(gone));
    const withSessionId = this.#upstream.sessionId !== undefined;
    const isPing = lane === this.lane && 'method' in message;
    const { sendOptions } = this.#options.line;
    const own = sendOptions === undefined ? options : sendOptions(message, options);
    // Transports that carry no headers ignore them.
    const withHeaders = lane.headers ? { ...own, headers: lane.headers } : own;
    return this.#sent(message, withHeaders).catch((error: unknown) => {
      // Before the session is open there is none to lose: the open fails with what it was.
      if (this.#handshake === undefined) throw error;
      const facts = { during: isPing ? 'probe' : 'call', withSessionId } as const;
      return this.fate.failed(error, facts, (own) => {
        const callId = 'method' in message && 'id' in message ? Number(message.id) : undefined;
        const call = this.#calls.find(callId);
        if (call !== undefined && this.#calls.remove(call)) call.reject(own);
      });
    });
  }

  #sent(message: JSONRPCMessage, options: LaneSendOptions | undefined): Promise<void> {
    try {
      return this.#upstream.send(message, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #end(gone: SessionLostError): void {
    const leases = this.#serverMessages.clear();
    for (const call of this.#calls.drain()) call.reject(dropFrames(gone));
    for (const lane of leases) lane.closed();
    this.lane.closed();
  }

  #onUpstreamError(error: unknown): void {
    const isTold = typeof error === 'object' && error !== null && this.#told.has(error);
    // The end of a session makes its requests fail: that is no news.
    if (isTold || this.fate.gone !== undefined) return;
    if (typeof error === 'object' && error !== null) this.#told.add(error);
    this.report(error);
    if (this.#options.isLoss?.(error)) this.lose(error);
  }

  #receive(received: JSONRPCMessage, extra?: MessageExtraInfo): void {
    if (this.fate.isOver) return;
    try {
      const message = this.isSessionless ? asAnswer(received) : received;
      if (!('method' in message) && this.#onResponse(message, extra)) return;
      if (this.isSessionless && takeSessionless(message, this.#origin(message, extra), this))
        return;
      if (this.#serverMessages.isOverIdleBudget(message)) this.#options.onFlood?.();
      else if (!('method' in message)) return;
      else if ('id' in message) this.#serverMessages.request(message, extra);
      else this.#serverMessages.notification(message, extra);
    } catch (error) {
      this.report(error);
    }
  }

  #origin(message: JSONRPCMessage, extra?: MessageExtraInfo): Call | undefined {
    const { originOf = subscriptionOf } = this.#options;
    return this.#calls.find(originOf(message, extra));
  }

  /** False: nobody waits for it. It may be late, and is ignored, but counts as what comes idle. */
  #onResponse(
    message: JSONRPCResultResponse | JSONRPCErrorResponse,
    extra?: MessageExtraInfo,
  ): boolean {
    const call = this.#calls.find(message.id);
    if (call === undefined) return false;
    this.#calls.remove(call);
    if (this.isSessionless && isOutdated(message)) this.#options.onWorn?.();
    call.lane.deliver({ ...message, id: call.localId }, extra);
    call.resolve();
    this.fate.answered();
    return true;
  }
}
