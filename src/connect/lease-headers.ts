// Which headers go with which request of a transport that is given a fetch, but is not told whose
// messages it sends: notes each message while it is sent, and knows it again by its text. Wraps
// the fetch below the fence, so that the fence's bounds hold for the asking as well. Knows no
// transport.

import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import type { JSONRPCMessage, RequestId } from '@modelcontextprotocol/sdk/types.js';
import { asksForEvents, callersHeaders } from '../http/request-headers.ts';
import type { AskHeaders, HeaderRecord } from '../target.ts';
import { fetchWithinOrigin } from './fetch-within-origin.ts';
import { readPostedMessage } from './posted-message.ts';

/** A message without an id of ours, on its way. */
interface Errand {
  readonly message: JSONRPCMessage;
  readonly ask: AskHeaders;
  /** As it would be posted. Made when it is first looked for. */
  text: string | undefined;
}

/** See the file header. */
export class LeaseHeaders {
  /** For what is sent for no lease: the handshake, probes, event streams, DELETE. */
  readonly #own: AskHeaders;
  /** Requests on their way. Their ids are unique within the session. */
  readonly #requests = new Map<RequestId, AskHeaders>();
  /** Notifications and answers on their way: hardly ever more than one. */
  readonly #others = new Set<Errand>();
  /** Where the server is. Credentials go nowhere else, and OAuth uses the same fetch. */
  #origin: string | undefined;

  constructor(own: AskHeaders) {
    this.#own = own;
  }

  /**
   * Runs `send`, which sends `message` for whoever `ask` speaks for. Settles as it does; what it
   * throws is a rejection.
   */
  async carry(
    message: JSONRPCMessage,
    ask: AskHeaders | undefined,
    send: () => Promise<void>,
  ): Promise<void> {
    const forget = ask === undefined ? undefined : this.#note(message, ask);
    try {
      await send();
    } finally {
      forget?.();
    }
  }

  /**
   * `fetch`, with the headers of whoever it is asked for. Reserved ones are dropped. A request that
   * carries any is redirected within its origin alone.
   */
  over(fetch: FetchLike): FetchLike {
    return (url, init) => {
      const ask = this.#askFor(url, init);
      if (ask === undefined) return fetch(url, init);
      const given = ask();
      if (!isThenable(given)) return sendWith(fetch, url, init, given);
      return given.then((known) => {
        init?.signal?.throwIfAborted();
        return sendWith(fetch, url, init, known);
      });
    };
  }

  /** The session is over: nothing of its leases is kept. */
  clear(): void {
    this.#requests.clear();
    this.#others.clear();
  }

  #note(message: JSONRPCMessage, ask: AskHeaders): () => void {
    if ('method' in message && 'id' in message) {
      const { id } = message;
      this.#requests.set(id, ask);
      return () => this.#requests.delete(id);
    }
    const errand: Errand = { message, ask, text: undefined };
    this.#others.add(errand);
    return () => this.#others.delete(errand);
  }

  /** `undefined`: the request is none of the protocol's. */
  #askFor(url: string | URL, init: RequestInit | undefined): AskHeaders | undefined {
    const ask = this.#askOf(init);
    if (ask === undefined) return undefined;
    const { origin } = new URL(url);
    this.#origin ??= origin;
    return origin === this.#origin ? ask : undefined;
  }

  #askOf(init: RequestInit | undefined): AskHeaders | undefined {
    const { method = 'GET', body, headers } = init ?? {};
    switch (method.toUpperCase()) {
      case 'POST':
        return typeof body === 'string' ? this.#askOfPosted(body) : undefined;
      case 'GET':
        return asksForEvents(new Headers(headers)) ? this.#own : undefined;
      case 'DELETE':
        return new Headers(headers).has('mcp-session-id') ? this.#own : undefined;
      default:
        return undefined;
    }
  }

  #askOfPosted(body: string): AskHeaders | undefined {
    const { requestId } = readPostedMessage(body);
    if (requestId !== undefined) return this.#requests.get(requestId) ?? this.#own;
    for (const errand of this.#others) {
      errand.text ??= textOf(errand.message);
      if (errand.text !== body) continue;
      // Two leases may send the same text at once: each copy goes with the headers of one of them.
      this.#others.delete(errand);
      this.#others.add(errand);
      return errand.ask;
    }
    return isJsonRpc(body) ? this.#own : undefined;
  }
}

function sendWith(
  fetch: FetchLike,
  url: string | URL,
  init: RequestInit | undefined,
  given: HeaderRecord,
): Promise<Response> {
  const known = Object.entries(callersHeaders(given));
  if (known.length === 0) return fetch(url, init);
  const headers = new Headers(init?.headers);
  for (const [name, value] of known) headers.set(name, value);
  return fetchWithinOrigin(fetch, url, { ...init, headers });
}

/** What can't be written as JSON was not posted either. */
function textOf(message: JSONRPCMessage): string {
  try {
    return JSON.stringify(message);
  } catch {
    return '';
  }
}

/** OAuth posts JSON as well, to register a client. */
function isJsonRpc(body: string): boolean {
  try {
    return (JSON.parse(body) as { jsonrpc?: unknown } | null)?.jsonrpc === '2.0';
  } catch {
    return false;
  }
}

const isThenable = (value: unknown): value is Promise<HeaderRecord> =>
  typeof (value as { then?: unknown } | undefined)?.then === 'function';
