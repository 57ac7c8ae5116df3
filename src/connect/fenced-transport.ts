// An SDK transport of others as a session uses it: takes its place towards the link, tells its
// fence what has been answered, lets no last word pass that the server needs not hear, and is
// closed when it says so. Sits between a `TransportSession` and the transport it was made for.

import type {
  FetchLike,
  Transport,
  TransportSendOptions,
} from '@modelcontextprotocol/sdk/shared/transport.js';
import type {
  JSONRPCMessage,
  JSONRPCNotification,
  MessageExtraInfo,
} from '@modelcontextprotocol/sdk/types.js';
import { againstSignal } from '../against-signal.ts';
import type { DispatcherHold } from '../http/dispatchers.ts';
import type { Fence } from './fence.ts';
import type { LaneSendOptions } from './lane.ts';
import type { LeaseHeaders } from './lease-headers.ts';
import { readPostedMessage } from './posted-message.ts';

/** What Streamable HTTP transports of the SDK can do beside. */
interface Terminable {
  terminateSession?(): Promise<void>;
}

/** What a transport is fenced with. */
export interface TransportGuards {
  readonly fence: Fence;
  readonly headers: LeaseHeaders;
  /** What the fence's requests go over. */
  readonly hold: DispatcherHold;
}

/** Nothing of a session is left on the network, and its leases are let go. Idempotent. */
export function cut({ fence, headers, hold }: TransportGuards, reason: Error): void {
  // Order: sockets before their requests, each of which would open a spare one (hazard 13b).
  hold.release(reason);
  fence.abortAll(reason);
  headers.clear();
}

/** See the file header. */
export class FencedTransport implements Transport {
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  onmessage?: ((message: JSONRPCMessage, extra?: MessageExtraInfo) => void) | undefined;

  readonly #inner: Transport & Terminable;
  readonly #guards: TransportGuards;
  /** It is open: it has started, and has not said that it is closed. */
  #isOpen = false;
  #isClosed = false;
  /** Tells who closes it that it is closed. */
  #onClosed: () => void = () => {};

  /** @throws TypeError when `inner` can't be a session's transport. */
  constructor(inner: Transport, guards: TransportGuards) {
    checkTransport(inner);
    this.#inner = inner;
    this.#guards = guards;
  }

  get sessionId(): string | undefined {
    return this.#inner.sessionId;
  }

  readonly setProtocolVersion = (version: string): void => {
    this.#inner.setProtocolVersion?.(version);
  };

  async start(): Promise<void> {
    const inner = this.#inner;
    inner.onmessage = (message, extra) => this.#onMessage(message, extra);
    inner.onerror = (error) => this.onerror?.(error);
    inner.onclose = () => this.#closed();
    await inner.start();
    this.#isOpen = !this.#isClosed;
  }

  send(message: JSONRPCMessage, options?: LaneSendOptions): Promise<void> {
    const given = options && withoutOurs(options);
    return this.#guards.headers.carry(message, options?.headers, () =>
      this.#inner.send(message, given),
    );
  }

  /**
   * Settles when the transport has closed: its own promise may come before its socket is gone. One
   * that was open calls `onclose` then, as the SDK asks of every transport.
   */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#onClosed = resolve;
    });
    const isOpen = this.#isOpen;
    await this.#inner.close();
    // Bound: whoever closes.
    if (isOpen) await closed;
  }

  /** Ends the session on the server, where the transport knows how to. */
  async terminate(signal: AbortSignal): Promise<void> {
    if (this.#mayTerminate) await againstSignal(signal, Promise.resolve(this.#terminated()));
  }

  /** A cancel of a call in flight: news only to a server that is not told that all is over. */
  async sendLastWord(message: JSONRPCNotification): Promise<void> {
    if (!this.#mayTerminate) await this.send(message);
  }

  /** Nothing that the transport still says is heard, and nothing of the session is held by it. */
  sever(reason: Error): void {
    cut(this.#guards, reason);
    const inner = this.#inner;
    inner.onmessage = undefined;
    inner.onerror = undefined;
    inner.onclose = undefined;
  }

  get #mayTerminate(): boolean {
    return this.sessionId !== undefined && this.#inner.terminateSession !== undefined;
  }

  #terminated(): Promise<void> | undefined {
    return this.#inner.terminateSession?.();
  }

  #onMessage(message: JSONRPCMessage, extra?: MessageExtraInfo): void {
    this.onmessage?.(message, extra);
    const answered = idAnswered(message);
    if (answered !== undefined) this.#guards.fence.endCall(answered);
  }

  #closed(): void {
    this.#isClosed = true;
    this.#isOpen = false;
    this.#onClosed();
    this.onclose?.();
  }
}

/** A transport's way to the network: shut once the fence is armed, but for what ends a session. */
export function fencedFetch(fence: Fence): FetchLike {
  return (url, init) => {
    const pass = fence.armed && isLastWord(init) ? fence.passThrough : fence.fetch;
    return pass(url, init);
  };
}

function isLastWord(init: RequestInit | undefined): boolean {
  const method = init?.method?.toUpperCase();
  return (
    method === 'DELETE' ||
    (method === 'POST' && readPostedMessage(init?.body).cancels !== undefined)
  );
}

/** As the SDK gave them. The fence adds the headers of the lease, and not those of the request. */
function withoutOurs(options: LaneSendOptions): TransportSendOptions {
  const { headers: _, ownHeaders, standsAlone: __, ...given } = options;
  return { ...given, ...(ownHeaders && { headers: ownHeaders }) };
}

/** The id of the request that `message`, which may be anything, answers. */
function idAnswered(message: unknown): string | number | undefined {
  try {
    const { id, method } = message as { id?: unknown; method?: unknown };
    const isId = typeof id === 'string' || typeof id === 'number';
    return isId && method === undefined ? id : undefined;
  } catch {
    // It can't be read. The link has said so.
    return undefined;
  }
}

/** `given` comes from code without types, maybe. */
function checkTransport(given: Transport): void {
  const transport: Partial<Transport> = Object(given);
  for (const name of ['start', 'send', 'close'] as const) {
    if (typeof transport[name] !== 'function') {
      throw new TypeError(`Expected the transport to have a method \`${name}\``);
    }
  }
  if (transport.onmessage !== undefined && transport.onmessage !== null) {
    throw new TypeError('Expected a transport of its own for each session: this one is in use');
  }
}
