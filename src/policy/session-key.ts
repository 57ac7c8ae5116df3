// Canonical text of what tells one key from another: equal meaning gives equal text, and no two
// different tuples share one, for it is JSON and never glued strings. Pure.

/** The canonical text of a key. Branded, so that no other string is taken for one. */
export type KeyId = string & { readonly __brand: 'KeyId' };

/** JSON with the members of every object in sorted order. `undefined` members are left out. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_name, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}

/** What makes two targets share sessions. Credentials are in it only as digests. */
export interface KeyParts {
  /** The kind of target and its address, without user info and query. */
  readonly endpoint: readonly string[];
  /**
   * What the caller said about who is calling, or a digest of all that could carry a credential.
   */
  readonly identity: readonly ['named' | 'digest', string];
  readonly affinity: string | undefined;
  /** Sessions lent exclusively and sessions that are shared do not mix, unless affinity says so. */
  readonly leasesPerSession: number | undefined;
  readonly clientInfo: unknown;
  readonly capabilities: unknown;
}

export function keyId(parts: KeyParts): KeyId {
  return canonicalJson([
    parts.endpoint,
    parts.identity,
    parts.affinity ?? null,
    parts.leasesPerSession ?? null,
    parts.clientInfo ?? null,
    parts.capabilities ?? null,
  ]) as KeyId;
}
