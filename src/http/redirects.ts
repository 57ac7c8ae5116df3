// Which redirects a request follows: those that stay within its origin and keep its method, as the
// SDK's own transport does. Pure; who sends and how often is the exchange's.

import { type AnswerHead, headerOf } from './answer-reader.ts';

/** How many redirects in a row are followed. The answer after the last one is the answer. */
export const MAX_REDIRECTS = 5;

const REDIRECT_STATUSES: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** The ones after which a request keeps its method and its body, whatever they are. */
const METHOD_KEEPING_STATUSES: ReadonlySet<number> = new Set([307, 308]);

/** Where the request that got `head` is to be sent next; `undefined` if nowhere. */
export function redirectToFollow(
  head: AnswerHead,
  requestUrl: URL,
  method: string,
): URL | undefined {
  // The others turn a request with a body into a GET, and a DELETE must not become one either.
  if (method !== 'GET' && !METHOD_KEEPING_STATUSES.has(head.status)) return undefined;
  const target = redirectTarget(head, requestUrl);
  if (target === undefined || addsUserInfo(requestUrl, target)) return undefined;
  return isWithinOrigin(requestUrl, target) ? target : undefined;
}

/**
 * Says where a redirect that was not followed leads, without user info, query and fragment.
 * `undefined` if `head` is no redirect.
 */
export function describeRedirect(head: AnswerHead, requestUrl: URL): string | undefined {
  const target = redirectTarget(head, requestUrl);
  if (target === undefined) return undefined;
  target.username = '';
  target.password = '';
  target.search = '';
  target.hash = '';
  if (requestUrl.protocol === 'https:' && target.protocol === 'http:') {
    // The usual cause: a proxy that ends TLS in front of a server that does not know it.
    target.protocol = 'https:';
    return `Redirect to plain http not followed; try ${target.href} instead`;
  }
  return `Redirect to ${target.href} not followed`;
}

function redirectTarget(head: AnswerHead, requestUrl: URL): URL | undefined {
  if (!REDIRECT_STATUSES.has(head.status)) return undefined;
  const location = headerOf(head.headers, 'location');
  if (location === undefined || location === '') return undefined;
  try {
    return new URL(location, requestUrl);
  } catch {
    return undefined;
  }
}

/** Whether `to` has the scheme, host and port of `from`, or is its https form on default ports. */
function isWithinOrigin(from: URL, to: URL): boolean {
  if (from.hostname !== to.hostname) return false;
  if (from.protocol === to.protocol) return from.port === to.port;
  // From http, then: nothing else is sent. An empty port is the default one of its scheme.
  return to.protocol === 'https:' && from.port === '' && to.port === '';
}

function addsUserInfo(from: URL, to: URL): boolean {
  if (to.username === '' && to.password === '') return false;
  return to.username !== from.username || to.password !== from.password;
}
