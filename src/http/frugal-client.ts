// An undici client that opens no spare connections. When a request is aborted, undici drops its
// socket and at once connects again for the request that nobody wants any more (row 13b, undici
// #5845): ending sessions with hung streams would open as many connections as it closes.

import '../host-fetch-guard.ts';
import { type buildConnector, Client } from 'undici';

/** Makes a client for a `Pool`, which gives each of its clients one request at a time. */
export function frugalClient(
  origin: URL,
  options: Client.Options & { readonly connect: buildConnector.connector },
): Client {
  /** Set from the disconnect that an abort causes until the end of its turn. */
  let isAfterAbort = false;
  const connect: buildConnector.connector = (target, callback) => {
    if (!isAfterAbort) return options.connect(target, callback);
    queueMicrotask(() => {
      // The pool may have given the client another request in this very turn. Else the refusal
      // makes the pool drop it, for it holds nothing any more. It would fail whatever it holds.
      if (hasWantedRequest(client)) options.connect(target, callback);
      else callback(new Error('No request wants the connection'), null);
    });
    return undefined;
  };
  const client = new Client(origin, { ...options, connect });
  client.on('disconnect', (_origin, _targets, error: Error & { code?: string }) => {
    // What undici destroys the socket of an aborted request with. Other ends come with other words,
    // and a request that waits for those is wanted.
    if (error.code !== 'UND_ERR_INFO' || error.message !== 'aborted') return;
    isAfterAbort = true;
    queueMicrotask(() => {
      isAfterAbort = false;
    });
  });
  return client;
}

/**
 * Whether some request of `client` has been neither answered nor aborted. Nothing public tells: its
 * queue is looked up by the name of its symbol. If undici has it no more, the answer is yes, which
 * costs a spare connection, and a test.
 */
function hasWantedRequest(client: Client): boolean {
  const key = Object.getOwnPropertySymbols(client).find(
    ({ description }) => description === 'queue',
  );
  const queue: unknown = key && (client as unknown as Record<symbol, unknown>)[key];
  if (!Array.isArray(queue)) return true;
  // A place whose request is answered holds `null`.
  return queue.some((request) => request !== null && request.aborted !== true);
}
