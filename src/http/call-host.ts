// What a call over HTTP is told: what it needs of its session, and how it is to be sent. Types
// only.

import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js';
import type { AskHeaders, HeaderRecord } from '../target.ts';
import type { HttpCall } from './http-call.ts';
import type { Wire } from './wire.ts';

/** What a call needs of its session. */
export interface CallHost {
  readonly wire: Wire;
  readonly maxMessageBytes: number;
  /** A message came on the call's own stream. */
  receive(message: JSONRPCMessage, call: HttpCall): void;
  /** The call's response has come, and its stream is still open. */
  linger(call: HttpCall): void;
  /** Nothing of the call is left. Told before its promise rejects. */
  over(call: HttpCall): void;
  /** Trouble that fails nothing. */
  report(error: unknown): void;
  mayNotLeave(): Error | undefined;
}

/** How a call is to be sent. */
export interface CallOptions {
  readonly headers: AskHeaders | undefined;
  /** Of its request alone. */
  readonly ownHeaders?: HeaderRecord | undefined;
  /** See `HttpSendOptions`. */
  readonly standsAlone?: boolean | undefined;
  /** Resumes an earlier call's stream after this event instead of sending the request. */
  readonly resumptionToken: string | undefined;
  readonly onResumptionToken: ((token: string) => void) | undefined;
}
