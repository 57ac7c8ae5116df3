// The calls in flight of one session: sends them, finds the one that a response or a cancellation
// means, and ends the request of each soon after its response. Knows no streams but theirs.

import type {
  JSONRPCMessage,
  JSONRPCNotification,
  JSONRPCRequest,
  RequestId,
} from '@modelcontextprotocol/sdk/types.js';
import type { AskHeaders } from '../target.ts';
import type { CallHost, CallOptions } from './call-host.ts';
import { ExpiryList } from './expiry-list.ts';
import { HttpCall } from './http-call.ts';
import { isResponse } from './json-rpc.ts';
import type { PostQueue } from './post-queue.ts';
import type { Wire } from './wire.ts';

/** What the calls need of their session. */
export interface HttpCallsOptions {
  readonly wire: Wire;
  readonly maxMessageBytes: number;
  readonly posts: PostQueue;
  /** Hands a message to whoever uses the transport. Never throws. */
  readonly deliver: (message: JSONRPCMessage, relatedRequestId: RequestId) => void;
  readonly report: (error: unknown) => void;
  readonly mayNotLeave: () => Error | undefined;
  /** Whoever sends clears its own tables of failed calls. */
  readonly clearsFailedCalls: boolean;
}

/** How long the request of an answered call may stay open. */
const ANSWERED_GRACE_MS = 100;
/** JSON-RPC code of the late answer that clears a failed call from the SDK's tables. */
const CONNECTION_CLOSED = -32_000;

/** See the file header. */
export class HttpCalls implements CallHost {
  readonly wire: Wire;
  readonly maxMessageBytes: number;
  readonly report: (error: unknown) => void;
  readonly mayNotLeave: () => Error | undefined;
  readonly #options: HttpCallsOptions;
  /** By id. Each enters with its POST and leaves when its request is over. */
  readonly #calls = new Map<RequestId, HttpCall>();
  /** Of these, those whose response has come on a stream that is still open. */
  readonly #answered: ExpiryList<HttpCall>;

  constructor(options: HttpCallsOptions) {
    this.#options = options;
    this.wire = options.wire;
    this.maxMessageBytes = options.maxMessageBytes;
    this.report = options.report;
    this.mayNotLeave = options.mayNotLeave;
    this.#answered = new ExpiryList(this.wire.clock, ANSWERED_GRACE_MS, (call) => call.cut());
  }

  /** How many are in flight, the answered ones with an open request included. */
  get size(): number {
    return this.#calls.size;
  }

  // Not async: the promise must be the call's own, so that its rejection is seen in one turn.
  send(message: JSONRPCRequest, options: CallOptions): Promise<void> {
    const { id } = message;
    const earlier = this.#calls.get(id);
    // Nobody could end a call any more whose place another takes.
    if (earlier?.isAnswered === false) return Promise.reject(inFlight(id));
    earlier?.cut();
    const call = new HttpCall(this, message, options);
    this.#calls.set(id, call);
    const sent = call.send(message);
    if (!this.#options.clearsFailedCalls) sent.catch(() => this.#clearLater(id));
    return sent;
  }

  /**
   * Ends the call that `message` cancels, and tells the server. Row 14c: a late abort of a signal
   * cancels calls that are over; the server must not hear of it.
   */
  cancel(message: JSONRPCNotification, headers: AskHeaders | undefined): Promise<void> {
    const call = this.#find(message.params?.['requestId'] as RequestId | undefined);
    if (call === undefined || call.isAnswered) return Promise.resolve();
    // `initialize` must not be cancelled (spec, utilities/cancellation); where there is no session,
    // the end of the stream says it all.
    const isTold = call.method !== 'initialize' && !call.standsAlone && call.wasWritten;
    // Order: the server is told before it is cut off.
    const told = isTold ? this.#options.posts.post(message, { headers }) : Promise.resolve();
    call.cut();
    return told;
  }

  /** Nothing new leaves: fails the calls that wait to resume their streams. */
  fence(reason: Error): void {
    for (const call of [...this.#calls.values()]) call.fence(reason);
  }

  /** Fails every call and frees its socket. */
  fail(reason: Error): void {
    for (const call of [...this.#calls.values()]) call.fail(reason);
    this.#answered.clear();
  }

  receive(message: JSONRPCMessage, via: HttpCall): void {
    const { deliver } = this.#options;
    if (!isResponse(message)) return deliver(message, via.id);
    // An error without an id, in answer to one request, can be for no other.
    const isForVia = message.id === undefined || via.isReplay;
    const response = isForVia ? { ...message, id: via.id } : message;
    this.noteResponse(response, via);
    deliver(response, via.id);
  }

  /** A response has come, on the stream of the call `via` or on none of a call. */
  noteResponse(response: JSONRPCMessage, via?: HttpCall): void {
    const call = isResponse(response) ? this.#find(response.id) : undefined;
    call?.answered();
    // Its own request may never end by itself.
    if (call !== undefined && call !== via) this.linger(call);
  }

  linger(call: HttpCall): void {
    this.#answered.add(call);
  }

  over(call: HttpCall): void {
    this.#answered.delete(call);
    if (this.#calls.get(call.id) === call) this.#calls.delete(call.id);
  }

  /** The call a peer means by `id`. Peers may send a number back as a string. */
  #find(id: RequestId | undefined): HttpCall | undefined {
    if (id === undefined) return undefined;
    return this.#calls.get(id) ?? this.#calls.get(Number(id));
  }

  /**
   * Row 14b: the SDK rejects a call whose send failed, but keeps its handlers. An answer that comes
   * after the rejection has been seen changes nothing but clears them.
   */
  #clearLater(id: RequestId): void {
    queueMicrotask(() => {
      const error = { code: CONNECTION_CLOSED, message: 'The call was not completed' };
      this.#options.deliver({ jsonrpc: '2.0', id, error }, id);
    });
  }
}

function inFlight(id: RequestId): Error {
  return new Error(`A request with the id ${JSON.stringify(id)} is in flight already`);
}
