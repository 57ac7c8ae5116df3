// One scripted conversation between a client transport and a server: what the client does, step by
// step, and how the server answers. Plain data, so that two transports can be led through the same.

import type {
  JSONRPCMessage,
  JSONRPCNotification,
  JSONRPCRequest,
} from '@modelcontextprotocol/sdk/types.js';

/** One HTTP answer. */
export interface ScriptedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Written one after another; a number is a pause in ms. */
  readonly parts: readonly (Buffer | number)[];
  /** `cut`: the connection is. `open`: more may follow, or nothing ever. */
  readonly end: 'whole' | 'cut' | 'open';
}

/** What a client does in one step. */
export type ClientAct =
  /** Sends requests, all at once; the server answers when all have come, in its own order. */
  | { readonly do: 'call'; readonly calls: readonly JSONRPCRequest[] }
  /** Sends a notification, or the response to a request of the server. */
  | { readonly do: 'post'; readonly message: JSONRPCMessage }
  /** Sends a request, and cancels it once the server has done what it does. */
  | {
      readonly do: 'cancel';
      readonly call: JSONRPCRequest;
      readonly cancel: JSONRPCNotification;
      /** What the server writes after the cancel. */
      readonly late: ScriptedAnswer['parts'];
    }
  /** Sends a request with a resumption token. */
  | { readonly do: 'resume'; readonly call: JSONRPCRequest; readonly token: string }
  | { readonly do: 'resumeStream'; readonly token: string }
  /** The client does nothing: the server writes to the notification stream, and may end it. */
  | {
      readonly do: 'listen';
      readonly parts: ScriptedAnswer['parts'];
      readonly end: ScriptedAnswer['end'];
    }
  | { readonly do: 'terminate' };

/** One step, over when both sides have been quiet for a while. */
export interface Step {
  /** What is special about it; known differences are told by it. */
  readonly quirk: string;
  readonly act: ClientAct;
  /** Answers to POSTs, in the order in which they come; for several calls, by place. */
  readonly posts: readonly ScriptedAnswer[];
  /** Answers to GETs. Others get 405. */
  readonly gets: readonly ScriptedAnswer[];
  /** The answer to a DELETE. */
  readonly deletes: readonly ScriptedAnswer[];
  /** For how long nothing may happen before the step is over. */
  readonly quietMs: number;
  /** How long to wait for the requests that the answers are for. */
  readonly patienceMs: number;
}

/** A conversation. The first step is `initialize`. */
export interface Conversation {
  readonly number: number;
  readonly steps: readonly Step[];
}

/** What of a request is compared. */
export interface SeenRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly body: string;
  readonly accept: string | undefined;
  readonly contentType: string | undefined;
  readonly sessionId: string | undefined;
  readonly version: string | undefined;
  readonly lastEventId: string | undefined;
}

/** What came of a step with one transport. */
export interface StepRecord {
  /** What `onmessage` got, as canonical JSON. */
  readonly messages: string[];
  /** What the server got, as canonical JSON. */
  readonly requests: string[];
  /** Of each `send`: `resolved`, `rejected`, `rejected <status>` or `pending`. */
  outcomes: readonly string[];
}

/** JSON with the members of every object in order. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}
