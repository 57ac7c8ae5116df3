// The virtual SDK transport of one lease (or of the session's own client) over the link. Answers
// the handshake from the stored result, knows what is in flight, and is dead for good once the
// lease has ended. Knows nothing of the real transport beneath, nor of other leases.

import type {
  Transport,
  TransportSendOptions,
} from '@modelcontextprotocol/sdk/shared/transport.js';
import type {
  JSONRPCMessage,
  JSONRPCNotification,
  JSONRPCRequest,
  MessageExtraInfo,
  RequestId,
} from '@modelcontextprotocol/sdk/types.js';
import { judge } from '../policy/failure.ts';
import type { AskHeaders } from '../target.ts';
import { observe } from './failure-of.ts';
import type { Call, Lane, Link } from './lane.ts';
import type { SessionEnd } from './session-loss.ts';
import { endedInFlight, lostUnsent } from './session-loss.ts';

/** What a lane transport is told at birth. */
export interface LeaseTransportOptions {
  readonly link: Link;
  /**
   * The stored `initialize` result. `undefined`: the handshake goes to the server (root client).
   */
  readonly handshake: Readonly<Record<string, unknown>> | undefined;
  readonly headers: AskHeaders | undefined;
  /** Once the lease has ended: what its calls reject with. */
  readonly endedWith: () => Error | undefined;
  /** `close()` was called. */
  readonly onClose: () => void;
  /** Tells the real transport the negotiated version (root client). */
  readonly setProtocolVersion?: (version: string) => void;
}

/** Methods that leave state on the server which the next lease of the session would see. */
const TAINTING = new Set([
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
  'notifications/roots/list_changed',
]);

/** Whether `message` leaves state on the server. A task outlives its call, and can be listed. */
const taints = ({ method, params }: JSONRPCRequest | JSONRPCNotification): boolean =>
  TAINTING.has(method) || params?.['task'] !== undefined;

/** JSON-RPC code that the SDK gives its own timeouts, and servers whatever they like. */
const REQUEST_TIMEOUT = -32_001;
/** JSON-RPC code of the late answer that clears a failed call from the SDK's tables. */
const CONNECTION_CLOSED = -32_000;

/** The transport that a lease's client is connected to. */
export class LeaseTransport implements Transport, Lane {
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  onmessage?: ((message: JSONRPCMessage, extra?: MessageExtraInfo) => void) | undefined;
  // No `sessionId`, ever: the SDK takes one for a resumed session and skips the handshake, and a
  // session id is a secret that a lease has no use for.
  readonly headers: AskHeaders | undefined;
  /** Whether somebody wants to hear of the lane's end even if it ends with nothing to clear. */
  hasCloseListener: () => boolean = () => true;
  /**
   * The borrower listens to what the server sends by itself. Called for each handler. Dropped at
   * the end, with the link.
   */
  onListening?: (() => void) | undefined;
  readonly setProtocolVersion?: (version: string) => void;

  readonly #options: Omit<LeaseTransportOptions, 'link'>;
  /** Dropped at the end, so that a client kept afterwards holds nothing of the session. */
  #link: Link | undefined;
  /** What is in flight, by the id the lease's client gave it. */
  readonly #calls = new Map<RequestId, Call>();
  /** How to reject what is being sent that is no call. */
  readonly #sending = new Set<(reason: unknown) => void>();
  #tainted = false;
  /** Messages that were sent and are not known to have been without effect. */
  #sentForGood = 0;
  /** Errors of the server's own that look like a timeout of ours, and were not seen yet. */
  #timeoutsTold = 0;
  /** Why sends reject, once the lane is over. The lease's own word (`endedWith`) comes first. */
  #end: SessionEnd | undefined;

  constructor(options: LeaseTransportOptions) {
    const { link, ...rest } = options;
    this.#link = link;
    this.#options = rest;
    this.headers = options.headers;
    if (options.setProtocolVersion) this.setProtocolVersion = options.setProtocolVersion;
  }

  /** Whether the lease changed state on the server that outlives it. */
  get tainted(): boolean {
    return this.#tainted;
  }

  /** Whether the server can have acted on anything that the lease sent. */
  get mayHaveExecuted(): boolean {
    return this.#sentForGood > 0;
  }

  /** How many requests are in flight. */
  get inFlight(): number {
    return this.#calls.size;
  }

  /** Why nothing can be sent any more; `undefined` while it can. */
  gone(): Error | undefined {
    const ended = this.#options.endedWith();
    if (ended !== undefined) return ended;
    const end = this.#end ?? this.#link?.gone();
    return end && lostUnsent(end);
  }

  async start(): Promise<void> {
    // Nothing to start: the session is open already.
  }

  /** Ends the lease. */
  close(): Promise<void> {
    this.#options.onClose();
    return Promise.resolve();
  }

  // Not async: the promise must be the call's own, so that its rejection is seen before what is
  // queued after it (see `#clearLater` and `#letGo`).
  send(message: JSONRPCMessage, options?: TransportSendOptions): Promise<void> {
    const link = this.#link;
    const gone = this.gone();
    // A lost session waits for its calls in flight, and for nobody who gave up.
    const isCancel = 'method' in message && message.method === 'notifications/cancelled';
    if (link === undefined || (gone !== undefined && !isCancel)) {
      if ('method' in message && 'id' in message) this.#clearLater(message.id);
      return Promise.reject(gone);
    }
    if (!('method' in message)) return this.#untilEnd(link.respond(this, message, options));
    return 'id' in message
      ? this.#request(link, message, options)
      : this.#notify(link, message, options);
  }

  /** The lease is over: cancels what is in flight and lets go of the session. Happens once. */
  end(): void {
    const link = this.#link;
    if (link === undefined) return;
    const end = link.gone() ?? { message: 'The lease has ended' };
    const calls = [...this.#calls.values()];
    if (calls.length > 0) {
      const gone = endedInFlight(this.#options.endedWith(), end);
      for (const call of calls) {
        // A courtesy to the server: whoever made the call is told below, either way.
        void link.cancel(call, 'The lease has ended').catch(() => {});
        call.reject(gone);
      }
    }
    this.#letGo(link, end, calls.length > 0);
  }

  closed(): void {
    const link = this.#link;
    if (link === undefined) return;
    this.#letGo(link, link.gone() ?? { message: 'The session has ended' }, true);
  }

  deliver(message: JSONRPCMessage, extra?: MessageExtraInfo): void {
    if ('error' in message && message.error.code === REQUEST_TIMEOUT) this.#timeoutsTold += 1;
    try {
      this.onmessage?.(message, extra);
    } catch (error) {
      // Row 14d: what one lease's handler throws must not break the session for others.
      this.#link?.report(error);
    }
  }

  /** A request of the lease's client failed with `error`; `aborted`: after its caller's abort. */
  failed(error: unknown, aborted: boolean): void {
    const isAnswer = this.#timeoutsTold > 0 && hasCode(error, REQUEST_TIMEOUT);
    if (isAnswer) this.#timeoutsTold -= 1;
    const facts = { during: 'call', withSessionId: false, aborted, isAnswer } as const;
    if (judge(observe(error, facts)).session === 'strike') this.#link?.fate.timedOut();
  }

  /** Out-of-band trouble of the lease's client. */
  report(error: unknown): void {
    this.#link?.report(error);
  }

  forget(localId: RequestId): void {
    this.#calls.delete(localId);
  }

  #letGo(link: Link, end: SessionEnd, hadCalls: boolean): void {
    this.#end = end;
    this.#link = undefined;
    this.onListening = undefined;
    if (this.#sending.size > 0) {
      const gone = endedInFlight(this.#options.endedWith(), end);
      for (const reject of this.#sending) reject(gone);
      this.#sending.clear();
    }
    const owedAnswers = link.detach(this);
    // With nothing to clear, the SDK need not be told: that costs 6 µs, for it makes an error.
    if (!hadCalls && !owedAnswers && !this.hasCloseListener()) return;
    // Order: after the rejections above have been seen. `onclose` makes the SDK forget its timers
    // and tables and abort the handlers it runs, and reject what is left with words of its own.
    queueMicrotask(() => {
      try {
        this.onclose?.();
      } catch (error) {
        link.report(error);
      }
    });
  }

  #request(link: Link, message: JSONRPCRequest, options?: TransportSendOptions): Promise<void> {
    const { handshake } = this.#options;
    if (message.method === 'initialize' && handshake !== undefined) {
      this.deliver({ jsonrpc: '2.0', id: message.id, result: handshake });
      return Promise.resolve();
    }
    if (taints(message)) this.#tainted = true;
    const call = link.call(this, message, options);
    this.#calls.set(message.id, call);
    this.#sentForGood += 1;
    call.done.catch((error: unknown) => {
      this.#wasSentInVain(error);
      this.#clearLater(message.id);
    });
    return call.done;
  }

  #notify(link: Link, message: JSONRPCNotification, options?: TransportSendOptions): Promise<void> {
    if (message.method === 'notifications/initialized' && this.#options.handshake !== undefined) {
      return Promise.resolve();
    }
    if (message.method === 'notifications/cancelled') {
      const { requestId, reason } = (message.params ?? {}) as Record<string, unknown>;
      const call = this.#calls.get(requestId as RequestId);
      // Row 14c: a late abort of a signal cancels calls that have long been answered. The server
      // must not hear of it.
      if (call === undefined) return Promise.resolve();
      const sent = link.cancel(call, typeof reason === 'string' ? reason : undefined, options);
      call.resolve();
      return this.#untilEnd(sent);
    }
    if (taints(message)) this.#tainted = true;
    this.#sentForGood += 1;
    const sent = link.send(this, message, options);
    sent.catch((error: unknown) => this.#wasSentInVain(error));
    return this.#untilEnd(sent);
  }

  #wasSentInVain(error: unknown): void {
    if ((error as { execution?: unknown } | undefined)?.execution !== 'not-executed') return;
    this.#sentForGood -= 1;
  }

  /**
   * Settles as `sent` does, or rejects when the lane ends: a send may hang before it is a request
   * that could be aborted, in a token or a header that never comes.
   */
  #untilEnd(sent: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      // A token or header function may have ended the lease from within the send.
      if (this.#link === undefined) reject(this.gone());
      else this.#sending.add(reject);
      const settle = (done: () => void): void => {
        this.#sending.delete(reject);
        done();
      };
      sent.then(
        () => settle(resolve),
        (error: unknown) => settle(() => reject(error)),
      );
    });
  }

  /**
   * Row 14b: the SDK rejects a call whose send failed, but keeps its response and progress
   * handlers. An answer that comes after the rejection has been seen changes nothing but clears
   * them. At the lane's end `onclose` does that for all of them. Who shakes hands is gone soon, and
   * must not take it for the server's.
   */
  #clearLater(id: RequestId): void {
    if (this.#options.handshake === undefined) return;
    queueMicrotask(() => {
      if (this.#link === undefined) return;
      const error = { code: CONNECTION_CLOSED, message: 'The call was not completed' };
      this.deliver({ jsonrpc: '2.0', id, error });
    });
  }
}

const hasCode = (error: unknown, code: number): boolean =>
  (error as { code?: unknown } | undefined)?.code === code;
