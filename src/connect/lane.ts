// The two sides between a session's link and the transports of its leases, as types: what a lane
// offers the link, and what the link offers a lane. Neither file needs to know the other.

import type { TransportSendOptions } from '@modelcontextprotocol/sdk/shared/transport.js';
import type {
  JSONRPCErrorResponse,
  JSONRPCMessage,
  JSONRPCRequest,
  JSONRPCResultResponse,
  MessageExtraInfo,
  ProgressToken,
  RequestId,
} from '@modelcontextprotocol/sdk/types.js';
import type { AskHeaders, HeaderRecord } from '../target.ts';
import type { Question } from './sdk-line.ts';
import type { SessionEnd } from './session-loss.ts';

/** How a message of a lane is sent on. */
export interface LaneSendOptions extends TransportSendOptions {
  /** The lease's headers, for transports that carry any. */
  readonly headers?: AskHeaders;
  /** See `HttpSendOptions`. */
  readonly ownHeaders?: HeaderRecord;
  readonly standsAlone?: boolean;
}

/** One borrower's way through the link: a lease, or the session itself. */
export interface Lane {
  /** The lease's headers. `undefined`: traffic of the session itself. */
  readonly headers: AskHeaders | undefined;
  /** Hands a message to the borrower. Never throws: what a handler throws is reported. */
  deliver(message: JSONRPCMessage, extra?: MessageExtraInfo): void;
  /** A call is over, in whatever way: forget its local id. */
  forget(localId: RequestId): void;
  /** The session is gone; the lane's calls have been rejected. */
  closed(): void;
}

/** One request in flight. */
export interface Call {
  /** Its id upstream: unique within the session. Also its progress token upstream. */
  readonly id: number;
  /** Its id and progress token as the borrower knows them. */
  readonly localId: RequestId;
  readonly progressToken: ProgressToken | undefined;
  readonly method: string;
  readonly lane: Lane;
  /** Pending until the call is over. */
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** What a lane may ask of the link. */
export interface Link {
  readonly fate: {
    /** A request of a lane was given up, because no answer came in time. */
    timedOut(): void;
  };
  /** What the server is asked for a sign of life. */
  readonly question: Question;
  /** Why the session is gone; `undefined` while it lives. */
  gone(): SessionEnd | undefined;
  /** Sends a request. The returned call has been registered. */
  call(lane: Lane, request: JSONRPCRequest, options?: TransportSendOptions): Call;
  /** Ends a call locally and tells the server, unless it was `initialize` or is over already. */
  cancel(call: Call, reason: string | undefined, options?: TransportSendOptions): Promise<void>;
  /** Sends a message as it is. */
  send(lane: Lane, message: JSONRPCMessage, options?: TransportSendOptions): Promise<void>;
  /** Sends a response, if the lane was handed the request; drops it otherwise. */
  respond(
    lane: Lane,
    message: JSONRPCResultResponse | JSONRPCErrorResponse,
    options?: TransportSendOptions,
  ): Promise<void>;
  /** The lane is over: nothing of it stays behind. True: it owed the server answers. */
  detach(lane: Lane): boolean;
  /** Reports what a handler of a lane threw. */
  report(error: unknown): void;
}
