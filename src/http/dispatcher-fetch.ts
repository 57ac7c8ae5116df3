// A fetch on the dispatchers of a session, for those who speak `fetch`: OAuth flows, which are the
// SDK's, and transports of others. Adds nothing to what it is given.

import '../host-fetch-guard.ts';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import { fetch as undiciFetch } from 'undici';
import type { DispatcherHold } from './dispatchers.ts';

/** A fetch on the dispatchers that `hold` keeps alive. */
export function fetchOn({ router: dispatcher }: Pick<DispatcherHold, 'router'>): FetchLike {
  return (url, init) =>
    // Undici declares types of its own for what is the same at run time.
    undiciFetch(url, { ...init, dispatcher } as Parameters<
      typeof undiciFetch
    >[1]) as unknown as Promise<Response>;
}
