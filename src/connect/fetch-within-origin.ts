// Sends one request through a fetch that may be anybody's, and follows redirects as our own
// exchange does: those within the origin. `fetch` itself would take a lease's headers along to any
// other, but for a few that it knows to be secret.

import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import { MAX_REDIRECTS, redirectToFollow } from '../http/redirects.ts';
import { discardBody } from './fenced-body.ts';

/** As `fetch`. Where a redirect leads out of the origin, it is the answer. */
export async function fetchWithinOrigin(
  fetch: FetchLike,
  url: string | URL,
  init: RequestInit,
): Promise<Response> {
  const { redirect = 'follow', method = 'GET' } = init;
  // Who follows by itself comes here again with each of them.
  if (redirect !== 'follow') return fetch(url, init);
  const once = { ...init, redirect: 'manual' } as const;
  let at = url;
  for (let followed = 0; ; followed += 1) {
    const response = await fetch(at, once);
    const { status } = response;
    const head = { status, headers: { location: response.headers.get('location') ?? undefined } };
    const next = redirectToFollow(head, new URL(at), method.toUpperCase());
    if (next === undefined || followed === MAX_REDIRECTS) return response;
    discardBody(response.body);
    at = next;
  }
}
