// The fetch for requests of OAuth flows: on the session's dispatcher, without its headers. Flows
// are the SDK's, which speaks `fetch`; nothing else of the transport does.

import '../host-fetch-guard.ts';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import { fetch as undiciFetch } from 'undici';
import type { DispatcherHold } from './dispatchers.ts';

/** A fetch on the dispatchers that `hold` keeps alive. */
export function oauthFetch({ router: dispatcher }: Pick<DispatcherHold, 'router'>): FetchLike {
  return (url, init) =>
    // Undici declares types of its own for what is the same at run time.
    undiciFetch(url, { ...init, dispatcher } as Parameters<
      typeof undiciFetch
    >[1]) as unknown as Promise<Response>;
}
