// A target whose key depends on nothing but its URL and its identity: what most targets are, and
// what keys can be looked up by without being made. Sits under the key maker.

import type { HttpTarget, SessionTarget } from './target.ts';

const PLAIN_MEMBERS = new Set([
  ...['url', 'identity', 'headers', 'authProvider', 'affinity', 'leasesPerSession'],
  ...['notifications', 'transport', 'clientInfo', 'capabilities'],
]);

/** Whether it has no member that would have to be refused. */
export function hasSoundMembers(target: PlainTarget): boolean {
  // The two or three that nearly all targets have are told first.
  for (const name in target) {
    if (name === 'url' || name === 'identity' || name === 'headers') continue;
    if (!PLAIN_MEMBERS.has(name)) return false;
  }
  const { authProvider } = target;
  return authProvider === undefined || (typeof authProvider === 'object' && authProvider !== null);
}

/** See the file header. */
export type PlainTarget = HttpTarget & { readonly url: string; readonly identity: string };

export function isPlain(target: SessionTarget): target is PlainTarget {
  if (typeof target !== 'object' || target === null || !('url' in target)) return false;
  return (
    typeof target.url === 'string' &&
    typeof target.identity === 'string' &&
    target.affinity === undefined &&
    target.leasesPerSession === undefined &&
    target.notifications === undefined &&
    target.transport === undefined &&
    target.clientInfo === undefined &&
    target.capabilities === undefined
  );
}
